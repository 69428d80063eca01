"""Face crops of collections with a labels.csv."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from facestream.common.core.errors import DataError
from facestream.common.vision.face_detector import Detections, FaceDetector

from tests.fixtures.utkface import write_utkface
from training.data.face_crops import STORE_PX
from training.data.labeled_faces import (
    UTKFACE,
    concatenate,
    crop_labeled_faces,
    decode_rgb,
    load_collection,
    middle_landmarks,
)
from training.data.labels_csv import RangeLabeledImage


def labeled_collection(folder: Path) -> Path:
    write_utkface(folder, 4)
    names = sorted(path.name for path in folder.iterdir())
    rows = [f"{name},20,29,female,a" for name in names]
    (folder / "labels.csv").write_text("\n".join(["path,age_low,age_high,gender,race", *rows]))
    return folder


def detector_of(*boxes: tuple[float, float, float, float]) -> FaceDetector:
    """Return a detector of 100 px that finds these boxes; landmarks hold the box's index."""
    landmarks = np.repeat(np.arange(len(boxes), dtype=np.float32), 10).reshape(-1, 5, 2)
    found = Detections(
        np.array(boxes, np.float32).reshape(-1, 4), landmarks, np.ones(len(boxes), np.float32)
    )
    return cast(FaceDetector, SimpleNamespace(width=100, height=100, detect=lambda _image: found))


def test_faces_of_a_collection_are_cropped_once_with_their_ranges(tmp_path: Path) -> None:
    collection = load_collection(labeled_collection(tmp_path / "data"), "ranges")
    faces = crop_labeled_faces(collection, tmp_path / "cache")
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    again = crop_labeled_faces(collection, tmp_path / "cache")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == written
    assert faces.crops.shape == (4, STORE_PX, STORE_PX, 3)
    assert set(zip(faces.age_low, faces.age_high, strict=True)) == {(20, 29)}
    assert set(faces.collection) == {"ranges"}
    np.testing.assert_array_equal(faces.crops, again.crops)


def test_utkface_has_ranges_of_one_year_and_joins_other_collections(tmp_path: Path) -> None:
    exact = load_collection(write_utkface(tmp_path / "utkface", 3))
    assert exact.name == UTKFACE
    ranges = load_collection(labeled_collection(tmp_path / "data"))
    parts = [crop_labeled_faces(one, tmp_path / "cache") for one in (exact, ranges)]
    np.testing.assert_array_equal(parts[0].age_low, parts[0].age_high)
    both = concatenate(parts)
    assert len(both) == 7
    assert both.collection.tolist() == [UTKFACE] * 3 + ["data"] * 4


def test_the_label_belongs_to_the_largest_face_over_the_center() -> None:
    rgb = np.zeros((100, 100, 3), np.uint8)
    detector = detector_of((0, 0, 45, 45), (45, 45, 10, 10), (30, 30, 40, 40))
    landmarks = middle_landmarks(detector, rgb)
    assert landmarks is not None
    assert landmarks[0, 0] == 2


def test_without_a_face_over_the_center_the_nearest_counts() -> None:
    rgb = np.zeros((100, 100, 3), np.uint8)
    landmarks = middle_landmarks(detector_of((0, 0, 45, 45), (55, 40, 20, 20)), rgb)
    assert landmarks is not None
    assert landmarks[0, 0] == 1
    assert middle_landmarks(detector_of(), rgb) is None


def test_an_unreadable_image_is_named() -> None:
    image = RangeLabeledImage("a.jpg", "0" * 32, 20, 29, 0, "", b"no image")
    with pytest.raises(DataError, match=r"a\.jpg: cannot decode image"):
        decode_rgb(image)
