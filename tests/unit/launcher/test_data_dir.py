"""Tests of the lock on the user's data folder."""

from __future__ import annotations

from pathlib import Path

from facestream.launcher.data_dir import exclusive_lock


def test_lock_is_exclusive(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    with exclusive_lock(folder) as first:
        assert first
        with exclusive_lock(folder) as second:
            assert not second
    with exclusive_lock(folder) as third:
        assert third


def test_folder_that_cannot_be_created_counts_as_locked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with exclusive_lock(tmp_path / "file" / "folder") as is_exclusive:
        assert is_exclusive
