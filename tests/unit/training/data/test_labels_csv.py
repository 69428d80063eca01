"""Loading a collection by its labels.csv."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.common.core.errors import DataError

from training.data.labeled_faces import load_collection
from training.data.labels_csv import has_labels, labels_digest, load_labels
from training.data.utkface import fold_of


def image_bytes(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def write_collection(folder: Path, rows: list[str], header: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(6):
        (folder / f"{i}.png").write_bytes(image_bytes(i))
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


RANGES = "path,age_low,age_high,gender,race"


def test_ranges_genders_and_groups_are_read(tmp_path: Path) -> None:
    folder = write_collection(tmp_path / "a", ["0.png,20,29,female,Black", "1.png,3,9,M,"], RANGES)
    images, report = load_labels(folder)
    by_name = {image.name: image for image in images}
    first = by_name["0.png"]
    assert (first.age_low, first.age_high, first.female, first.group) == (20, 29, 1, "Black")
    assert by_name["1.png"].female == 0
    assert report.used == 2
    assert first.fold == fold_of(first.digest)


def test_an_exact_age_is_a_range_of_one_year(tmp_path: Path) -> None:
    folder = write_collection(tmp_path / "a", ["2.png,41,female"], "path,age,gender")
    image = load_labels(folder)[0][0]
    assert (image.age_low, image.age_high) == (41, 41)


@pytest.mark.parametrize(
    "row", ["0.png,29,20,female,", "0.png,20,29,unknown,", "0.png,x,29,male,", "0.png,-1,2,male,"]
)
def test_faulty_rows_are_counted(tmp_path: Path, row: str) -> None:
    folder = write_collection(tmp_path / "a", [row, "1.png,3,9,male,"], RANGES)
    images, report = load_labels(folder)
    assert [image.name for image in images] == ["1.png"]
    assert report.faulty_rows == ["line 2"]


def test_missing_images_are_counted(tmp_path: Path) -> None:
    rows = ["nowhere.png,3,9,male,", "1.png,3,9,male,"]
    report = load_labels(write_collection(tmp_path / "a", rows, RANGES))[1]
    assert report.missing_images == ["nowhere.png"]


def test_identical_images_are_merged_or_dropped(tmp_path: Path) -> None:
    folder = write_collection(
        tmp_path / "a",
        ["0.png,20,29,male,", "same.png,25,35,male,", "1.png,3,9,male,", "other.png,20,29,male,"],
        RANGES,
    )
    (folder / "same.png").write_bytes(image_bytes(0))
    (folder / "other.png").write_bytes(image_bytes(1))
    images, report = load_labels(folder)
    assert [(image.age_low, image.age_high) for image in images] == [(25, 29)]
    assert (report.duplicates_merged, report.conflicts_dropped) == (1, 2)


def test_a_tar_gives_the_same_images_as_the_folder(tmp_path: Path) -> None:
    folder = write_collection(tmp_path / "a", ["0.png,20,29,male,", "1.png,3,9,male,"], RANGES)
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        for path in sorted(folder.iterdir()):
            info = tarfile.TarInfo(f"./{path.name}")
            data = path.read_bytes()
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    assert has_labels(archive)
    assert labels_digest(load_labels(archive)[0]) == labels_digest(load_labels(folder)[0])
    assert load_collection(archive).name == "a"


def test_no_usable_row_is_an_error(tmp_path: Path) -> None:
    folder = write_collection(tmp_path / "a", ["0.png,9,3,male,"], RANGES)
    with pytest.raises(DataError, match="none of 1 rows"):
        load_labels(folder)


def test_a_missing_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        load_collection(tmp_path / "nowhere")
