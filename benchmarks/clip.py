"""The clips that the benchmark plays, at 15 pictures a second.

Any video, scaled and with each picture's number in it; an empty scene; and one in which somebody
is there from one picture to the next. Encoded as a phone does: H.264, no B-frames, a key picture
each second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from facestream.common.core.errors import ImageError
from facestream.common.core.paths import SAMPLES_DIR
from numpy.typing import NDArray

from benchmarks import timecode

FPS = 15
APPEARS_AT = 3 * FPS  # the number of the first picture with the face
_QUALITY = "24"  # x264 CRF
_SCENE_PX = (720, 1280)
_SCENE_S = 6
_WALL_BGR = (168, 176, 180)
_SENSOR_NOISE = 1.5  # grey levels, standard deviation
_FACE = SAMPLES_DIR / "grace_hopper.jpg"

Picture = NDArray[np.uint8]


def numbered_clip(source: Path, height_px: int, longest_s: float, target: Path) -> int:
    """Write `source`, scaled to `height_px` and numbered, to `target`; returns its pictures.

    Of a longer one, `longest_s` from a third of its length on are taken.

    Raises:
        ImageError: the source cannot be read or is empty.
    """
    try:
        with av.open(str(source)) as container:
            length_s = (container.duration or 0) / av.time_base
        skipped = round(length_s / 3 * FPS) if length_s > longest_s else 0
        wanted = islice(_pictures(source, height_px), skipped, skipped + round(longest_s * FPS))
        count = _encode(_numbered(wanted), target)
    except av.error.FFmpegError as error:
        raise ImageError(f"{source}: cannot be read as a video: {error.strerror}") from None
    if not count:
        raise ImageError(f"{source}: holds no picture")
    return count


def empty_clip(target: Path, length_s: float = _SCENE_S) -> None:
    """Write a wall with the noise of a sensor."""
    _encode(islice(_scene(None), round(length_s * FPS)), target)


def appearing_clip(target: Path) -> None:
    """Write the same wall, with somebody before it from picture `APPEARS_AT` on."""
    face = cv2.imread(str(_FACE))
    if face is None:
        raise ImageError(f"{_FACE}: cannot be read")
    height = _SCENE_PX[0] // 2
    width = round(face.shape[1] * height / face.shape[0])
    _encode(_scene(cv2.resize(face, (width, height), interpolation=cv2.INTER_AREA)), target)


def _encode(pictures: Iterable[Picture], target: Path) -> int:
    count = 0
    with av.open(str(target), "w") as output:
        stream = None
        for count, picture in enumerate(pictures, start=1):
            if stream is None:
                stream = output.add_stream("libx264", rate=FPS)
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = Fraction(1, FPS)
                stream.options = {
                    "preset": "veryfast",
                    "tune": "zerolatency",
                    "crf": _QUALITY,
                    "g": str(FPS),
                }
            frame = av.VideoFrame.from_ndarray(picture, "bgr24")
            frame.pts = count - 1
            output.mux(stream.encode(frame))
        if stream is not None:
            output.mux(stream.encode(None))
    return count


def _numbered(pictures: Iterator[Picture]) -> Iterator[Picture]:
    for number, picture in enumerate(islice(pictures, timecode.LIMIT)):
        timecode.write(picture, number)
        yield picture


def _scene(face: Picture | None) -> Iterator[Picture]:
    chance = np.random.default_rng(1)
    height, width = _SCENE_PX
    # One field, seen through a window that jumps: noise anew for each picture takes longer.
    grain = chance.normal(0, _SENSOR_NOISE, (2 * height, width, 1)).round().astype(np.int16)
    for number in range(_SCENE_S * FPS):
        picture = np.full((height, width, 3), _WALL_BGR, np.int16)
        if face is not None and number >= APPEARS_AT:
            top, left = (height - face.shape[0]) // 2, (width - face.shape[1]) // 2
            picture[top : top + face.shape[0], left : left + face.shape[1]] = face
        row = int(chance.integers(height))
        picture += grain[row : row + height]
        yield picture.clip(0, 255).astype(np.uint8)


def _pictures(source: Path, height_px: int) -> Iterator[Picture]:
    """Pictures at `FPS`, scaled; repeated or left out where the source has another rate."""
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        due = 0
        for frame in container.decode(stream):
            picture = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
            width = round(picture.shape[1] * height_px / picture.shape[0] / 2) * 2
            if picture.shape[0] != height_px:
                picture = cv2.resize(picture, (width, height_px), interpolation=cv2.INTER_AREA)
            while due <= (frame.time or 0.0) * FPS + 1e-6:
                yield picture.copy()
                due += 1
