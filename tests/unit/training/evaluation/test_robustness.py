"""Harms do what they say, and the table has a row for each."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.common.vision.exported_model import ExportedModel
from facestream.common.vision.face_detector import FaceDetector

from tests.fixtures.serving import TINY_MODELS
from tests.fixtures.utkface import write_utkface
from training.data.face_crops import decode
from training.data.utkface import LabelledImage, load
from training.evaluation.report import plot_robustness, robustness_table
from training.evaluation.robustness import (
    HARMS,
    Corruption,
    downscale,
    in_frame,
    relight,
    robustness,
)

MODEL = TINY_MODELS / "age_gender" / "1"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledImage]:
    return load(write_utkface(tmp_path_factory.mktemp("utkface"), 8))[0]


def test_a_face_of_32_pixels_is_32_pixels_wide(pictures: list[LabelledImage]) -> None:
    frame = in_frame(downscale(32)(decode(pictures[0])))
    faces = FaceDetector(640, 384).detect(frame[:, :, ::-1].copy())
    assert faces.boxes[0, 2] == pytest.approx(32, rel=0.2)


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: f"{harm.kind} {harm.strength}")
def test_a_harm_changes_the_picture_the_same_way_twice(
    harm: Corruption, pictures: list[LabelledImage]
) -> None:
    rgb = decode(pictures[0])
    before = rgb.copy()
    spoilt = harm.apply(rgb)
    assert spoilt.dtype == np.uint8
    assert spoilt.shape != rgb.shape or (spoilt != rgb).any()
    np.testing.assert_array_equal(spoilt, harm.apply(rgb))
    np.testing.assert_array_equal(rgb, before)


def test_the_table_starts_with_the_unharmed_pictures(
    pictures: list[LabelledImage], tmp_path: Path
) -> None:
    black = Corruption("brightness", "×0", relight(0.0))
    rows = robustness(
        ExportedModel(MODEL), pictures, [Corruption("x", "half", relight(0.5)), black]
    )
    assert [row["kind"] for row in rows] == ["none", "x", "brightness"]
    assert rows[0]["missed"] == 0
    assert {row["faces"] for row in rows} == {len(pictures)}
    assert rows[1]["age_bias"] < rows[0]["age_bias"]
    assert rows[2]["missed"] == 1
    assert "half" in robustness_table(rows)
    plot_robustness(rows, tmp_path / "plot.png")
    assert cv2.imread(str(tmp_path / "plot.png")) is not None
