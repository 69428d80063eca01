"""Where annotated copies go."""

from pathlib import Path

import numpy as np
import pytest
from facestream.common.vision.displayed_estimate import DisplayedEstimate
from facestream.common.vision.overlay import Label, build_label
from facestream.predict import annotated_copies
from facestream.predict.annotated_copies import common_parent, copy_path
from facestream.predict.input_files import Input
from facestream.predict.predictor import FacePrediction

PICTURE = np.zeros((2, 2, 3), np.uint8)


def places(*files: str) -> list[str]:
    paths = [Path(file) for file in files]
    shared = common_parent(paths)
    inputs = [Input(path, str(path), PICTURE) for path in paths]
    return [str(copy_path(Path("out"), shared, given)) for given in inputs]


def test_one_picture_keeps_its_name() -> None:
    assert places("somewhere/x.jpg") == ["out/x.jpg"]


@pytest.mark.parametrize(
    "files",
    [
        ("a/x.jpg", "b/x.jpg"),
        ("x.jpg", "x.png", "x.jpeg", "x.JPG"),
        ("/data/x.jpg", "a/x.jpg", "../x.jpg"),
        ("clip.mp4", "clip.mov"),
    ],
)
def test_no_two_copies_are_one_file(files: tuple[str, ...]) -> None:
    copies = places(*files)
    assert len({copy.lower() for copy in copies}) == len(files)
    assert all(copy.startswith("out/") and ".." not in copy for copy in copies)


def test_a_frame_has_its_time() -> None:
    given = Input(Path("a/clip.mp4"), "a/clip.mp4@1.500s", PICTURE)
    shared = common_parent([given.path, Path("b/y.jpg")])
    assert copy_path(Path("out"), shared, given) == Path("out/a/clip.mp4_1.500s.jpg")


@pytest.mark.parametrize(("female", "shown"), [(0.95, 0.95), (0.04, 0.04), (0.6, None)])
def test_a_copy_says_a_gender_only_where_the_live_picture_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, female: float, shown: float | None
) -> None:
    said: list[float | None] = []

    def noted(box: object, estimate: DisplayedEstimate) -> Label:
        said.append(estimate.female_probability)
        return build_label((0, 0, 8, 8), estimate)

    monkeypatch.setattr(annotated_copies, "build_label", noted)
    face = FacePrediction((0, 0, 8, 8), 0.9, 30.0, 25.0, 35.0, female)
    picture = np.zeros((64, 64, 3), np.uint8)
    annotated_copies.write_annotated(
        tmp_path / "x.jpg", Input(Path("x.jpg"), "x.jpg", picture), [face]
    )
    assert said == [shown]
    assert (tmp_path / "x.jpg").exists()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (7, 9)])
def test_a_picture_of_any_size_has_a_copy(tmp_path: Path, size: tuple[int, int]) -> None:
    picture = np.zeros((*size, 3), np.uint8)
    annotated_copies.write_annotated(tmp_path / "x.jpg", Input(Path("x.jpg"), "x.jpg", picture), [])
    assert (tmp_path / "x.jpg").read_bytes()[:2] == b"\xff\xd8"
