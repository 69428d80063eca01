"""Tests of reading the files, folders, globs and videos that a user names."""

import errno
import io
import os
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import pillow_heif
import pytest
from facestream.common.core.errors import ImageError
from facestream.predict.image_decoder import read_image
from facestream.predict.input_files import (
    InputFile,
    InputImage,
    SkippedFiles,
    find_files,
    frame_name,
    read_all_images,
)
from facestream.predict.video_reader import MediaClock, NotMediaError, VideoReader
from PIL import Image

_ONE = 1 << 16
# The upper left 2x2 of the display matrix of ISO/IEC 14496-12, 8.3.2, as phones write it.
MATRICES = {
    0: (_ONE, 0, 0, _ONE),
    90: (0, _ONE, -_ONE, 0),
    180: (-_ONE, 0, 0, -_ONE),
    270: (0, -_ONE, _ONE, 0),
}


class Recorder:
    """Report that records everything."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.damaged: list[int] = []

    def unreadable(self, file: InputFile, error: ImageError) -> None:
        self.errors.append(str(error))

    def damage(self, file: InputFile, frames: int) -> None:
        self.damaged.append(frames)


def read_images(path: Path, interval_s: float) -> list[InputImage]:
    report = Recorder()
    images = list(read_all_images([InputFile(path)], interval_s, report))
    assert not report.errors
    return images


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


def test_undecodable_video_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\0" * 5000)
    make_video(tmp_path / "b.mp4")
    report = Recorder()
    files = [InputFile(tmp_path / "a.mp4"), InputFile(tmp_path / "b.mp4")]
    assert len(list(read_all_images(files, 1.0, report))) == 1
    assert len(report.errors) == 1
    assert "a.mp4: neither an image nor a video: Invalid data" in report.errors[0]


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
    assert find_files(["closed", str(good)], skipped.append) == [InputFile(good)]
    assert [str(e) for e in skipped] == [f"closed: {os.strerror(reason)}"]


@pytest.mark.parametrize(
    ("container", "codec", "suffix"),
    [
        ("3gp", "libx264", ".3gp"),
        ("mpegts", "libx264", ".MTS"),
        ("mpeg", "mpeg1video", ".mpg"),
        ("mpegts", "mpeg2video", ".named_wrongly.mp4"),
        ("avi", "mpeg4", ".jpg"),
        ("matroska", "libx264", ""),
        ("flv", "libx264", ".flv"),
        ("nut", "mpeg4", ".nut"),
    ],
)
def test_video_of_any_container_and_name_is_read(
    tmp_path: Path, container: str, codec: str, suffix: str
) -> None:
    path = tmp_path / f"clip{suffix}"
    write_frames(path, container, codec, [i / 25 for i in range(50)])
    assert len(read_images(path, 1.0)) == 2


def write_frames(path: Path, container: str, codec: str, times: list[float]) -> None:
    """Write a gray video with a frame at each time."""
    with av.open(str(path), "w", format=container) as output:
        stream = cast(av.VideoStream, output.add_stream(codec, rate=25))
        stream.width, stream.height = 96, 64
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 10
        for i, _ in enumerate(times):
            image = np.full((64, 96, 3), 40 + i % 100, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        output.mux(stream.encode(None))


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
@pytest.mark.parametrize("suffix", [".jpg", ".jfif", ""])
def test_still_image_is_read_by_content_and_upright(
    tmp_path: Path, format_name: str, suffix: str
) -> None:
    pillow_heif.register_heif_opener()
    image = Image.new("RGB", (96, 64))
    image.paste((255, 255, 255), (0, 0, 40, 24))
    exif = Image.Exif()
    exif[0x112] = 6  # turn 90 degrees clockwise
    path = tmp_path / f"image{suffix}"
    with path.open("wb") as file:
        if format_name == "HEIF":  # its encoder writes the rotation as a property of the image
            pillow_heif.from_pillow(image).save(file, exif=exif.tobytes())
        else:
            image.save(file, format_name, exif=exif)
    upright = read_image(path)
    assert upright.shape == (96, 64, 3)
    corners = {(y, x): int(upright[y, x].mean()) for y in (4, -4) for x in (4, -4)}
    assert max(corners, key=lambda at: corners[at]) == (4, -4)
    assert len(read_images(path, 1.0)) == 1


def test_gif_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (96, 64)).save(tmp_path / "x", "GIF")
    assert read_image(tmp_path / "x").shape == (64, 96, 3)


def test_folder_counts_other_files_and_ignores_those_of_macos(tmp_path: Path) -> None:
    Image.new("RGB", (96, 64)).save(tmp_path / "x.jfif", "JPEG")
    for name in ("a.txt", "b.txt", "c.pdf", "._x.jpg", ".DS_Store"):
        (tmp_path / name).write_bytes(b"not an image " * 50)
    report, skipped = Recorder(), SkippedFiles()
    files = find_files([str(tmp_path)], lambda error: pytest.fail(str(error)))
    assert len(list(read_all_images(files, 1.0, report))) == 1
    assert len(report.errors) == 3
    for file in files:
        if file.may_be_no_media:
            skipped.add(file)
    assert skipped.summary() == [
        f"{tmp_path}: 3 files skipped: neither image nor video (2 .txt, 1 .pdf)"
    ]


def test_play_list_opens_no_other_file(tmp_path: Path) -> None:
    make_video(tmp_path / "secret.mp4")
    for text in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/secret.mp4\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{tmp_path}/secret.mp4'\n",
    ):
        (tmp_path / "list.mp4").write_text(text)
        with (tmp_path / "list.mp4").open("rb") as file, pytest.raises(NotMediaError):
            VideoReader(file, "list.mp4")


@pytest.mark.parametrize("is_video", [True, False])
def test_standard_input_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_video: bool
) -> None:
    if is_video:
        write_frames(tmp_path / "x", "mpegts", "libx264", [0.0] * 30)
    else:
        Image.new("RGB", (96, 64)).save(tmp_path / "x", "PNG")
    reader, writer = os.pipe()
    data = (tmp_path / "x").read_bytes()
    thread = threading.Thread(target=write_all, args=(writer, data))
    thread.start()
    with os.fdopen(reader, "rb") as pipe:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(pipe))
        assert len(read_images(Path("-"), 1.0)) == (2 if is_video else 1)
    thread.join()


def write_all(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as pipe:
        pipe.write(data)


@pytest.mark.parametrize(
    "stamps",
    [
        [5.0, 5.1, 5.2, 0.0, 0.1],  # start over
        [0.0, 0.1, 0.2, 3600.3, 3600.4],  # jump by an hour
        [-9e6, -9e6 + 0.1, -9e6 + 0.2, -9e6 + 0.3, -9e6 + 0.4],
        [0.0, None, 0.2, None, 0.4],
        [1.0, 1.0, 1.0, 1.0, 1.0],
    ],
)
def test_time_advances_whatever_the_timestamps(stamps: list[float | None]) -> None:
    clock = MediaClock(Fraction(1, 10))
    times = [clock.advance(None if s is None else Fraction(s)) for s in stamps]
    assert [round(float(t), 3) for t in times] == [0.0, 0.1, 0.2, 0.3, 0.4]


def test_pause_in_a_recording_stays_a_pause() -> None:
    clock = MediaClock(Fraction(1, 10))
    assert [clock.advance(Fraction(s)) for s in (0, 30)] == [0, 30]


def test_timestamps_that_start_over_lose_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "half"
    write_frames(path, "mpegts", "libx264", [0.0] * 100)
    path.write_bytes(path.read_bytes() * 2)
    assert len(read_images(path, 1.0)) == 8


def test_damage_costs_only_the_frames_concerned(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_frames(path, "mp4", "libx264", [0.0] * 200)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 3
    data[start : start + len(data) // 20] = bytes(len(data) // 20)
    path.write_bytes(data)
    report = Recorder()
    images = list(read_all_images([InputFile(path)], 0.0, report))
    assert not report.errors
    assert 150 <= len(images) < 200
    assert len(images) + report.damaged[0] == pytest.approx(200, abs=3)
    assert images[-1].name == frame_name(path, 199 / 25)


def test_pixels_become_square(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=10)
        stream.width, stream.height = 96, 64
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        image = np.zeros((64, 96, 3), np.uint8)
        output.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        output.mux(stream.encode(None))
    (source,) = read_images(path, 1.0)
    assert source.image.shape == (64, 192, 3)
