"""From images to aligned crops, found once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from facestream.common.core.errors import DataError

from tests.fixtures.utkface import write_utkface
from training.data import face_crops
from training.data.face_crops import STORE_PX, crop_faces, decode
from training.data.utkface import LabeledImage, load


def test_faces_are_found_once_and_then_read_from_the_cache(tmp_path: Path) -> None:
    images = load(write_utkface(tmp_path / "data", 4))[0]
    first = crop_faces(images, tmp_path / "cache")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    second = crop_faces(images, tmp_path / "cache")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == kept
    assert first.crops.shape == (4, STORE_PX, STORE_PX, 3)
    assert first.found.all()
    np.testing.assert_array_equal(first.crops, second.crops)


def test_an_unreadable_picture_is_named() -> None:
    with pytest.raises(DataError, match=r"20_0_0_1\.jpg: cannot decode image"):
        decode(LabeledImage("20_0_0_1.jpg", "0" * 32, 20, 0, 0, b"no image"))


def test_two_runs_on_a_fresh_cache_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = load(write_utkface(tmp_path / "data", 2))[0]
    processes = iter((1, 2))
    others: list[face_crops.FaceSet] = []
    monkeypatch.setattr(os, "getpid", lambda: next(processes))

    def with_another_run(image: LabeledImage) -> np.ndarray:
        if not others:
            monkeypatch.setattr(face_crops, "decode", decode)
            others.append(crop_faces(images, tmp_path / "cache"))
        return decode(image)

    monkeypatch.setattr(face_crops, "decode", with_another_run)
    mine = crop_faces(images, tmp_path / "cache")
    np.testing.assert_array_equal(mine.crops, others[0].crops)
    assert not list((tmp_path / "cache").glob("*partial*"))


def test_a_failed_run_leaves_no_part_of_a_cache(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        crop_faces([LabeledImage("20_0_0_1.jpg", "0" * 32, 20, 0, 0, b"no image")], tmp_path)
    assert not list(tmp_path.iterdir())
