"""Encode the clips that the benchmark plays, at 15 fps.

Any video, scaled and with each frame's number in it; an empty scene; and a scene in which a person
appears from one frame to the next. Encoded as a phone does: H.264, no B-frames, one keyframe per
second.
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
APPEARS_AT = 3 * FPS  # number of the first frame with the face
_QUALITY = "24"  # x264 CRF
_SCENE_PX = (720, 1280)
_SCENE_S = 6
_WALL_BGR = (168, 176, 180)
_SENSOR_NOISE = 1.5  # gray levels, standard deviation
_FACE = SAMPLES_DIR / "grace_hopper.jpg"

Image = NDArray[np.uint8]


def numbered_clip(source: Path, height_px: int, longest_s: float, target: Path) -> int:
    """Write `source`, scaled to `height_px` and numbered, to `target`; return the frame count.

    From a longer video, take `longest_s` starting at a third of its length.

    Raises:
        ImageError: the source cannot be read or is empty.
    """
    try:
        with av.open(str(source)) as container:
            length_s = (container.duration or 0) / av.time_base
        skipped = round(length_s / 3 * FPS) if length_s > longest_s else 0
        wanted = islice(_read_frames(source, height_px), skipped, skipped + round(longest_s * FPS))
        count = _encode(_numbered(wanted), target)
    except av.error.FFmpegError as error:
        raise ImageError(f"{source}: cannot be read as a video: {error.strerror}") from None
    if not count:
        raise ImageError(f"{source}: contains no frame")
    return count


def empty_clip(target: Path, length_s: float = _SCENE_S) -> None:
    """Write an empty wall with sensor noise."""
    _encode(islice(_scene(None), round(length_s * FPS)), target)


def appearing_clip(target: Path) -> None:
    """Write the same wall with a person in front of it from frame `APPEARS_AT` on."""
    face = cv2.imread(str(_FACE))
    if face is None:
        raise ImageError(f"{_FACE}: cannot be read")
    height = _SCENE_PX[0] // 2
    width = round(face.shape[1] * height / face.shape[0])
    _encode(_scene(cv2.resize(face, (width, height), interpolation=cv2.INTER_AREA)), target)


def _encode(frames: Iterable[Image], target: Path) -> int:
    count = 0
    with av.open(str(target), "w") as output:
        stream = None
        for count, frame in enumerate(frames, start=1):
            if stream is None:
                stream = output.add_stream("libx264", rate=FPS)
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = Fraction(1, FPS)
                stream.options = {
                    "preset": "veryfast",
                    "tune": "zerolatency",
                    "crf": _QUALITY,
                    "g": str(FPS),
                }
            encoded = av.VideoFrame.from_ndarray(frame, "bgr24")
            encoded.pts = count - 1
            output.mux(stream.encode(encoded))
        if stream is not None:
            output.mux(stream.encode(None))
    return count


def _numbered(frames: Iterator[Image]) -> Iterator[Image]:
    for number, frame in enumerate(islice(frames, timecode.LIMIT)):
        timecode.write(frame, number)
        yield frame


def _scene(face: Image | None) -> Iterator[Image]:
    rng = np.random.default_rng(1)
    height, width = _SCENE_PX
    # Cut each frame from one large noise field: new noise per frame would be slower.
    grain = rng.normal(0, _SENSOR_NOISE, (2 * height, width, 1)).round().astype(np.int16)
    for number in range(_SCENE_S * FPS):
        frame = np.full((height, width, 3), _WALL_BGR, np.int16)
        if face is not None and number >= APPEARS_AT:
            top, left = (height - face.shape[0]) // 2, (width - face.shape[1]) // 2
            frame[top : top + face.shape[0], left : left + face.shape[1]] = face
        row = int(rng.integers(height))
        frame += grain[row : row + height]
        yield frame.clip(0, 255).astype(np.uint8)


def _read_frames(source: Path, height_px: int) -> Iterator[Image]:
    """Yield scaled frames at `FPS`; repeat or skip frames of a source with another rate."""
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        due = 0
        for decoded in container.decode(stream):
            frame = np.asarray(decoded.to_ndarray(format="bgr24"), np.uint8)
            width = round(frame.shape[1] * height_px / frame.shape[0] / 2) * 2
            if frame.shape[0] != height_px:
                frame = cv2.resize(frame, (width, height_px), interpolation=cv2.INTER_AREA)
            while due <= (decoded.time or 0.0) * FPS + 1e-6:
                yield frame.copy()
                due += 1
