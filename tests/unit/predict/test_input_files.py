"""Tests of reading the files, folders, globs and videos that a user names."""

import errno
import os
from pathlib import Path

import av
import numpy as np
import pytest
from facestream.common.core.errors import ImageError
from facestream.predict.input_files import find_files, read_all_images, read_images

_ONE = 1 << 16
# The upper left 2x2 of the display matrix of ISO/IEC 14496-12, 8.3.2, as phones write it.
MATRICES = {
    0: (_ONE, 0, 0, _ONE),
    90: (0, _ONE, -_ONE, 0),
    180: (-_ONE, 0, 0, -_ONE),
    270: (0, -_ONE, _ONE, 0),
}


def make_video(path: Path, clockwise: int = 0, *, frames: int = 1, rate: int = 10) -> Path:
    """Write a 96x64 video, white in the top left corner, with a rotation and a title."""
    image = np.zeros((64, 96, 3), np.uint8)
    image[:24, :24] = 255
    with av.open(str(path), "w") as output:
        output.metadata["title"] = "a title"
        stream = output.add_stream("libx264", rate=rate)
        stream.width, stream.height = 96, 64
        for _ in range(frames):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        output.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    a, b, c, d = MATRICES[clockwise]
    for offset, value in ((0, a), (4, b), (12, c), (16, d)):
        data[matrix + offset : matrix + offset + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("clockwise", "size", "corner"),
    [
        (0, (64, 96), (0, 0)),
        (90, (96, 64), (0, -1)),
        (180, (64, 96), (-1, -1)),
        (270, (96, 64), (-1, 0)),
    ],
)
def test_video_of_a_rotated_phone_is_read_upright(
    tmp_path: Path, clockwise: int, size: tuple[int, int], corner: tuple[int, int]
) -> None:
    (source,) = read_images(make_video(tmp_path / "clip.mp4", clockwise), 1.0)
    assert source.image.shape[:2] == size
    corners = {(y, x): int(source.image[y, x].mean()) for y in (0, -1) for x in (0, -1)}
    assert max(corners, key=lambda at: corners[at]) == corner


def test_pattern_that_matches_only_folders_matches_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    skipped: list[ImageError] = []
    assert find_files([str(tmp_path / "fold*")], skipped.append) == []
    assert [str(e) for e in skipped] == [f"{tmp_path}/fold*: no such file, folder or pattern"]


def test_title_that_is_not_utf8_does_not_matter(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4")
    clip.write_bytes(clip.read_bytes().replace(b"a title", b"caf\xe9 \xff!"))
    assert len(list(read_images(clip, 1.0))) == 1


def test_undecodable_video_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undecodable(*_: object, **__: object) -> None:
        b"\xff".decode()

    monkeypatch.setattr(av, "open", undecodable)
    skipped: list[ImageError] = []
    assert (
        list(read_all_images([tmp_path / "a.mp4", tmp_path / "b.mp4"], 1.0, skipped.append)) == []
    )
    assert ["cannot be read as a video: 'utf-8' codec" in str(e) for e in skipped] == [True, True]


def test_frames_of_a_fast_video_have_distinct_names(tmp_path: Path) -> None:
    names = [
        g.name for g in read_images(make_video(tmp_path / "clip.mp4", frames=12, rate=240), 0.0)
    ]
    assert len(set(names)) == 12
    assert names[1].endswith("clip.mp4@0.004s")


@pytest.mark.parametrize("reason", [errno.EACCES, errno.ENAMETOOLONG])
def test_inaccessible_name_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    good = tmp_path / "good.jpg"
    good.touch()
    is_dir = Path.is_dir

    def refused(path: Path) -> bool:
        if path.name == "closed":
            raise OSError(reason, os.strerror(reason))
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", refused)
    skipped: list[ImageError] = []
    assert find_files(["closed", str(good)], skipped.append) == [good]
    assert [str(e) for e in skipped] == [f"closed: {os.strerror(reason)}"]
