"""Tests of the paths and the contents of annotated copies."""

from pathlib import Path

import numpy as np
import pytest
from facestream.common.vision.displayed_estimate import DisplayedEstimate
from facestream.common.vision.overlay import Label, build_label
from facestream.predict import annotated_copies
from facestream.predict.annotated_copies import common_parent, copy_path
from facestream.predict.input_files import InputImage
from facestream.predict.predictor import FacePrediction

IMAGE = np.zeros((2, 2, 3), np.uint8)


def copy_paths(*files: str) -> list[str]:
    paths = [Path(file) for file in files]
    parent = common_parent(paths)
    inputs = [InputImage(path, str(path), IMAGE) for path in paths]
    return [str(copy_path(Path("out"), parent, source)) for source in inputs]


def test_a_single_image_keeps_its_name() -> None:
    assert copy_paths("somewhere/x.jpg") == ["out/x.jpg"]


@pytest.mark.parametrize(
    "files",
    [
        ("a/x.jpg", "b/x.jpg"),
        ("x.jpg", "x.png", "x.jpeg", "x.JPG"),
        ("/data/x.jpg", "a/x.jpg", "../x.jpg"),
        ("clip.mp4", "clip.mov"),
    ],
)
def test_copies_never_share_a_path(files: tuple[str, ...]) -> None:
    copies = copy_paths(*files)
    assert len({copy.lower() for copy in copies}) == len(files)
    assert all(copy.startswith("out/") and ".." not in copy for copy in copies)


def test_copy_of_a_video_frame_has_its_time() -> None:
    source = InputImage(Path("a/clip.mp4"), "a/clip.mp4@1.500s", IMAGE)
    parent = common_parent([source.path, Path("b/y.jpg")])
    assert copy_path(Path("out"), parent, source) == Path("out/a/clip.mp4_1.500s.jpg")


@pytest.mark.parametrize(("female", "shown"), [(0.95, 0.95), (0.04, 0.04), (0.6, None)])
def test_copy_shows_a_gender_only_where_the_live_view_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, female: float, shown: float | None
) -> None:
    labeled: list[float | None] = []

    def record(box: object, estimate: DisplayedEstimate) -> Label:
        labeled.append(estimate.female_probability)
        return build_label((0, 0, 8, 8), estimate)

    monkeypatch.setattr(annotated_copies, "build_label", record)
    face = FacePrediction((0, 0, 8, 8), 0.9, 30.0, 25.0, 35.0, female)
    image = np.zeros((64, 64, 3), np.uint8)
    annotated_copies.write_annotated(
        tmp_path / "x.jpg", InputImage(Path("x.jpg"), "x.jpg", image), [face]
    )
    assert labeled == [shown]
    assert (tmp_path / "x.jpg").exists()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (7, 9)])
def test_images_of_any_size_get_a_copy(tmp_path: Path, size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    annotated_copies.write_annotated(
        tmp_path / "x.jpg", InputImage(Path("x.jpg"), "x.jpg", image), []
    )
    assert (tmp_path / "x.jpg").read_bytes()[:2] == b"\xff\xd8"
