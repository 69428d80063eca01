"""JPEG in, planes to draw on, JPEG out: the cheapest way from one to the other.

Capture sends pictures in strips (`services/facestream/common/vision/strip_jpeg.py`). Only strips that are drawn on are
decoded and encoded again; the others go out as they came, so that a picture without faces costs
next to nothing. A JPEG of another make is decoded and encoded whole. Either way the planes (Y, and
U and V at half size) are drawn on as they are: through BGR it would be two conversions more.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from itertools import groupby
from typing import cast

import av
import numpy as np
import simplejpeg
from av.video.codeccontext import VideoCodecContext
from av.video.plane import VideoPlane
from numpy.typing import NDArray

from facestream.common.core.errors import ImageError
from facestream.common.vision.strip_jpeg import Strips, split, tables_of

Plane = NDArray[np.uint8]
_FORMAT = "yuvj420p"
_MAX_PIXELS = str(8192 * 8192)

_decoders = threading.local()


@dataclass(frozen=True)
class Planes:
    """A picture: full-range BT.601 planes, uint8; `y` is `[h, w]`, `u`, `v` `[⌈h/2⌉, ⌈w/2⌉]`."""

    y: Plane
    u: Plane
    v: Plane

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.y.shape[1])

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.y.shape[0])

    def ensure_decoded(self, top: int, bottom: int) -> None:
        """Have these rows ready; to be called before they are read or drawn on."""


@dataclass(frozen=True)
class _StripPlanes(Planes):
    """Planes that hold only what was reached of a JPEG in strips."""

    strips: Strips
    reached: set[int] = field(default_factory=set)

    def ensure_decoded(self, top: int, bottom: int) -> None:
        """Decode those strips of these rows that are not decoded yet."""
        strip_px = self.strips.strip_px
        rows = range(max(0, top) // strip_px, -(-min(bottom, self.height) // strip_px))
        new = [i for i in rows if i not in self.reached]
        self.reached.update(new)
        # Neighbours are decoded together; each number less its place is the same within a run.
        for _, run in groupby(enumerate(new), lambda pair: pair[1] - pair[0]):
            numbers = [number for _, number in run]
            first, last = numbers[0], numbers[-1] + 1
            part = _decoded(self.strips.jpeg(first, last))
            for whole, plane, scale in zip(
                (self.y, self.u, self.v), (part.y, part.u, part.v), (1, 2, 2), strict=True
            ):
                start = first * strip_px // scale
                whole[start : start + len(plane)] = plane


def solid(width: int, height: int, yuv: tuple[int, int, int]) -> Planes:
    """A picture of one colour."""
    half = ((height + 1) // 2, (width + 1) // 2)
    return Planes(
        np.full((height, width), yuv[0], np.uint8),
        np.full(half, yuv[1], np.uint8),
        np.full(half, yuv[2], np.uint8),
    )


def decode(jpeg: bytes) -> Planes:
    """The planes of a JPEG, writable, once they are reached. Any thread.

    Raises:
        ImageError: corrupt or truncated; of a JPEG in strips `reach` may raise it too.
    """
    strips = split(jpeg)
    if strips is None:
        return _decoded(jpeg)
    half = ((strips.height + 1) // 2, (strips.width + 1) // 2)
    return _StripPlanes(
        np.empty((strips.height, strips.width), np.uint8),
        np.empty(half, np.uint8),
        np.empty(half, np.uint8),
        strips,
    )


def encode(picture: Planes, quality: int) -> bytes:
    """The picture as a JPEG of this quality, 1-100."""
    if isinstance(picture, _StripPlanes) and picture.strips.tables == tables_of(
        picture.width, quality
    ):
        planes = (picture.y, picture.u, picture.v)
        return picture.strips.with_strips(picture.reached, *planes, quality).jpeg()
    picture.ensure_decoded(0, picture.height)
    return cast(
        bytes,
        simplejpeg.encode_jpeg_yuv_planes(picture.y, picture.u, picture.v, quality=quality),
    )


def _decoded(jpeg: bytes) -> Planes:
    try:
        frame = _decoder().decode(av.Packet(jpeg))[0]
        if frame.format.name != _FORMAT:
            frame = frame.reformat(format=_FORMAT)
    except (av.FFmpegError, ValueError, IndexError) as error:
        _decoders.__dict__.clear()  # nothing of a bad picture may show in the next one
        raise ImageError(f"a frame's picture cannot be decoded: {error}") from None
    y, u, v = (_writable(plane) for plane in frame.planes)
    return Planes(y, u, v)


def _writable(plane: VideoPlane) -> Plane:
    lines = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return lines[: plane.height, : plane.width]


def _decoder() -> VideoCodecContext:
    decoder: VideoCodecContext | None = getattr(_decoders, "decoder", None)
    if decoder is None:
        decoder = av.CodecContext.create("mjpeg", "r")
        decoder.thread_count = 1
        decoder.options = {"err_detect": "explode", "max_pixels": _MAX_PIXELS}
        _decoders.decoder = decoder
    return decoder
