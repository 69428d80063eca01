"""Token files and other private files: mode 0600 from creation, whatever the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from facestream.annotator.counting.sqlite_store import SqliteCountStore
from facestream.capture.ownership.camera_store import CameraStore
from facestream.common.cameras.models import Camera
from facestream.common.security.token_files import read_token, write_token


def _write_counts(file: Path) -> None:
    SqliteCountStore(file).close()


def _write_cameras(file: Path) -> None:
    CameraStore(file, []).save({"door": Camera.parse("door=rtsp://h/1")})


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277])
@pytest.mark.parametrize("write", [write_token, _write_counts, _write_cameras])
def test_private_files_have_mode_0600(
    tmp_path: Path, write: Callable[[Path], object], umask: int
) -> None:
    file = tmp_path / "file"
    before = os.umask(umask)
    try:
        write(file)
    finally:
        os.umask(before)
    for path in tmp_path.iterdir():  # the database's further files too
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_a_token_file_is_never_overwritten(tmp_path: Path) -> None:
    token = write_token(tmp_path / "token")
    with pytest.raises(FileExistsError):
        write_token(tmp_path / "token")
    assert read_token(tmp_path / "token") == token
