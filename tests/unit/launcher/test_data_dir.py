"""The user's data folder, and who uses it."""

from __future__ import annotations

from pathlib import Path

from facestream.launcher.data_dir import exclusive_lock


def test_one_at_a_time_has_the_folder_for_itself(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    with exclusive_lock(folder) as first:
        assert first
        with exclusive_lock(folder) as second:
            assert not second
    with exclusive_lock(folder) as third:
        assert third


def test_a_folder_that_cannot_be_made_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with exclusive_lock(tmp_path / "file" / "folder") as alone:
        assert alone
