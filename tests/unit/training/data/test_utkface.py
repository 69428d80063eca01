"""Names, folds, duplicates and invalid files of UTKFace."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from facestream.common.core.errors import DataError

from training.data.utkface import load, load_raw, parse_folds, parse_name


def _put(folder: Path, **files: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / f"{name}.jpg.chip.jpg").write_bytes(data)
    return folder


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("26_1_2_20170116184024662.jpg.chip.jpg", (26, 1, 2)),
        ("26_1_2_20170116184024662.jpg", (26, 1, 2)),
        ("24_0_1_20170116220224657 .jpg.chip.jpg", (24, 0, 1)),
        ("55_0_0_20170116232725357jpg.chip.jpg", (55, 0, 0)),
        ("61_1_20170109150557335.jpg.chip.jpg", None),
        ("26_2_2_20170116184024662.jpg", None),
        ("260_1_2_20170116184024662.jpg", None),
        ("holiday.jpg", None),
    ],
)
def test_a_name_has_a_label_or_is_invalid(name: str, label: tuple[int, int, int] | None) -> None:
    assert parse_name(name) == label


def test_the_fold_is_that_of_the_bytes(tmp_path: Path) -> None:
    images, report = load(_put(tmp_path, **{f"{i}_0_0_{i}": bytes([i]) for i in range(1, 30)}))
    for image in images:
        assert image.fold == int(hashlib.md5(image.data).hexdigest()[:8], 16) % 10
        assert 0 <= image.share < 1
    assert sum(report.per_fold.values()) == 29


def test_copies_are_merged_and_contradictions_dropped_and_both_counted(tmp_path: Path) -> None:
    _put(
        tmp_path,
        **{
            "20_0_0_1": b"same label",
            "20_0_0_2": b"same label",
            "30_1_0_1": b"ages near",
            "33_1_0_2": b"ages near",
            "34_1_0_3": b"ages near",
            "30_0_0_1": b"ages far",
            "60_0_0_2": b"ages far",
            "40_0_0_1": b"gender differs",
            "40_1_0_2": b"gender differs",
            "61_1_1": b"race missing",
        },
    )
    images, report = load(tmp_path)
    assert sorted(p.age for p in images) == [20, 33]
    assert report.duplicate_groups == 4
    assert report.duplicates_merged == 3
    assert report.conflicting_groups == 3
    assert report.conflicts_dropped == 4
    assert report.invalid_names == ["61_1_1.jpg.chip.jpg"]
    assert len(load_raw(tmp_path)[0]) == 9


def test_a_tar_and_its_folder_are_the_same_data(tmp_path: Path) -> None:
    folder = _put(tmp_path / "folder", **{f"{i}_0_0_{i}": bytes([i]) for i in range(1, 9)})
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        for path in sorted(folder.iterdir(), reverse=True):
            archive.add(path, f"UTKFace/{path.name}")
    assert load(tmp_path / "set.tar")[1].digest == load(folder)[1].digest


def test_the_digest_changes_with_a_label(tmp_path: Path) -> None:
    one = load(_put(tmp_path / "one", **{"20_0_0_1": b"x"}))[1]
    other = load(_put(tmp_path / "other", **{"21_0_0_1": b"x"}))[1]
    assert one.digest != other.digest


def test_missing_empty_foreign_and_damaged_data_have_distinct_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a folder or tar"):
        load(tmp_path / "nothing")
    with pytest.raises(DataError, match="no images found"):
        load(tmp_path)
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="none of 1 images has a UTKFace name"):
        load(tmp_path)
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        entry = tarfile.TarInfo("20_0_0_1.jpg")
        entry.size = 50_000
        archive.addfile(entry, io.BytesIO(bytes(range(250)) * 200))
    truncated = tmp_path / "cut.tar.gz"
    truncated.write_bytes(whole.getvalue()[:300])
    with pytest.raises(DataError, match="truncated or damaged"):
        load(truncated)


@pytest.mark.parametrize(
    ("text", "folds"), [("9", (9,)), ("1-3,8", (1, 2, 3, 8)), ("0 - 2, 2", (0, 1, 2))]
)
def test_folds_are_written_as_ranges(text: str, folds: tuple[int, ...]) -> None:
    assert parse_folds(text) == folds


@pytest.mark.parametrize("text", ["", "10", "a", "3-1", "1;2"])
def test_wrong_folds_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="folds"):
        parse_folds(text)
