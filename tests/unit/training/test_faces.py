"""From pictures to aligned crops, found once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.common.errors import DataError
from tests.fixtures.utkface import write_utkface
from training.dataset import Picture, load
from training.faces import STORE_PX, collect, decode


def test_faces_are_found_once_and_then_read_from_the_cache(tmp_path: Path) -> None:
    pictures = load(write_utkface(tmp_path / "data", 4))[0]
    first = collect(pictures, tmp_path / "cache")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    second = collect(pictures, tmp_path / "cache")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == kept
    assert first.crops.shape == (4, STORE_PX, STORE_PX, 3)
    assert first.found.all()
    np.testing.assert_array_equal(first.crops, second.crops)


def test_an_unreadable_picture_is_named() -> None:
    with pytest.raises(DataError, match=r"20_0_0_1\.jpg: not a readable picture"):
        decode(Picture("20_0_0_1.jpg", "0" * 32, 20, 0, 0, b"no picture"))
