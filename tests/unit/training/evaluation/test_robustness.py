"""Corruptions are deterministic, and the table has a row for each."""

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
from training.data.utkface import LabeledImage, load
from training.evaluation.report import plot_robustness, robustness_table
from training.evaluation.robustness import (
    CORRUPTIONS,
    Corruption,
    downscale,
    measure_robustness,
    place_in_frame,
    relight,
)

MODEL = TINY_MODELS / "age_gender" / "1"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[LabeledImage]:
    return load(write_utkface(tmp_path_factory.mktemp("utkface"), 8))[0]


def test_a_face_of_32_pixels_is_32_pixels_wide(images: list[LabeledImage]) -> None:
    frame = place_in_frame(downscale(32)(decode(images[0])))
    faces = FaceDetector(640, 384).detect(frame[:, :, ::-1].copy())
    assert faces.boxes[0, 2] == pytest.approx(32, rel=0.2)


@pytest.mark.parametrize(
    "corruption", CORRUPTIONS, ids=lambda corruption: f"{corruption.kind} {corruption.strength}"
)
def test_a_corruption_is_deterministic(corruption: Corruption, images: list[LabeledImage]) -> None:
    rgb = decode(images[0])
    before = rgb.copy()
    corrupted = corruption.apply(rgb)
    assert corrupted.dtype == np.uint8
    assert corrupted.shape != rgb.shape or (corrupted != rgb).any()
    np.testing.assert_array_equal(corrupted, corruption.apply(rgb))
    np.testing.assert_array_equal(rgb, before)


def test_the_table_starts_with_the_clean_images(images: list[LabeledImage], tmp_path: Path) -> None:
    black = Corruption("brightness", "×0", relight(0.0))
    rows = measure_robustness(
        ExportedModel(MODEL), images, [Corruption("x", "half", relight(0.5)), black]
    )
    assert [row["kind"] for row in rows] == ["none", "x", "brightness"]
    assert rows[0]["missed"] == 0
    assert {row["faces"] for row in rows} == {len(images)}
    assert rows[1]["age_bias"] < rows[0]["age_bias"]
    assert rows[2]["missed"] == 1
    assert "half" in robustness_table(rows)
    plot_robustness(rows, tmp_path / "plot.png")
    assert cv2.imread(str(tmp_path / "plot.png")) is not None
