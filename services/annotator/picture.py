"""JPEG in, planes to draw on, JPEG out: the cheapest way from one to the other.

The planes of the JPEG (Y, and U and V at half size) are decoded, drawn on and encoded as they are.
Going through BGR costs two colour conversions more: 3.9 ms against 3.0 ms for a 1280×720 frame.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import cast

import av
import numpy as np
import simplejpeg
from av.video.codeccontext import VideoCodecContext
from av.video.plane import VideoPlane
from numpy.typing import NDArray

from services.common.errors import PictureError

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


def blank(width: int, height: int, yuv: tuple[int, int, int]) -> Planes:
    """A picture of one colour."""
    half = ((height + 1) // 2, (width + 1) // 2)
    return Planes(
        np.full((height, width), yuv[0], np.uint8),
        np.full(half, yuv[1], np.uint8),
        np.full(half, yuv[2], np.uint8),
    )


def decode(jpeg: bytes) -> Planes:
    """The planes of a JPEG, writable. Any thread.

    Raises:
        PictureError: corrupt or truncated.
    """
    try:
        frame = _decoder().decode(av.Packet(jpeg))[0]
        if frame.format.name != _FORMAT:
            frame = frame.reformat(format=_FORMAT)
    except (av.FFmpegError, ValueError, IndexError) as error:
        _decoders.__dict__.clear()  # nothing of a bad picture may show in the next one
        raise PictureError(f"a frame's picture cannot be decoded: {error}") from None
    y, u, v = (_writable(plane) for plane in frame.planes)
    return Planes(y, u, v)


def encode(picture: Planes, quality: int) -> bytes:
    """The picture as a JPEG of this quality, 1-100."""
    return cast(
        bytes,
        simplejpeg.encode_jpeg_yuv_planes(
            picture.y, picture.u, picture.v, quality=quality, fastdct=True
        ),
    )


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
