"""Planar YUV images: decode a JPEG, draw on its planes, encode it again at the least cost.

Capture sends strip JPEGs (`strip_jpeg`). Only the strips that are drawn on are decoded and encoded
again; the others keep their bytes, so an image without faces costs almost nothing. Any other JPEG
is decoded and encoded whole. Overlays are drawn on the Y, U and V planes directly, which saves two
conversions to and from BGR.
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
from facestream.common.vision.strip_jpeg import StripJpeg, header_for, split_strips

Plane = NDArray[np.uint8]
_FORMAT = "yuvj420p"
_MAX_PIXELS = str(8192 * 8192)

_decoders = threading.local()


@dataclass(frozen=True)
class YuvImage:
    """Image as full-range BT.601 planes, uint8: `y` is `[h, w]`, `u` and `v` `[⌈h/2⌉, ⌈w/2⌉]`."""

    y: Plane
    u: Plane
    v: Plane

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.y.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.y.shape[0])

    def ensure_decoded(self, top: int, bottom: int) -> None:
        """Decode these rows if they are not; call it before reading or drawing on them."""


@dataclass(frozen=True)
class _StripImage(YuvImage):
    """Image of a strip JPEG; only the strips whose index is in `decoded` have valid pixels."""

    strips: StripJpeg
    decoded: set[int] = field(default_factory=set)

    def ensure_decoded(self, top: int, bottom: int) -> None:
        """Decode the strips of these rows that are not decoded yet."""
        strip_px = self.strips.strip_px
        rows = range(max(0, top) // strip_px, -(-min(bottom, self.height) // strip_px))
        new = [i for i in rows if i not in self.decoded]
        self.decoded.update(new)
        # Adjacent strips are decoded together: within such a run, index minus position is constant.
        for _, run in groupby(enumerate(new), lambda pair: pair[1] - pair[0]):
            indices = [index for _, index in run]
            first, last = indices[0], indices[-1] + 1
            part = _decode_whole(self.strips.to_jpeg(first, last))
            for target, plane, scale in zip(
                (self.y, self.u, self.v), (part.y, part.u, part.v), (1, 2, 2), strict=True
            ):
                start = first * strip_px // scale
                target[start : start + len(plane)] = plane


def solid_color(width: int, height: int, yuv: tuple[int, int, int]) -> YuvImage:
    """Return an image of one color."""
    half = ((height + 1) // 2, (width + 1) // 2)
    return YuvImage(
        np.full((height, width), yuv[0], np.uint8),
        np.full(half, yuv[1], np.uint8),
        np.full(half, yuv[2], np.uint8),
    )


def decode_jpeg(jpeg: bytes) -> YuvImage:
    """Return a JPEG as writable planes; a strip JPEG is decoded by `ensure_decoded`. Any thread.

    Raises:
        ImageError: the JPEG is corrupt or truncated; of a strip JPEG `ensure_decoded` raises it.
    """
    strips = split_strips(jpeg)
    if strips is None:
        return _decode_whole(jpeg)
    half = ((strips.height + 1) // 2, (strips.width + 1) // 2)
    return _StripImage(
        np.empty((strips.height, strips.width), np.uint8),
        np.empty(half, np.uint8),
        np.empty(half, np.uint8),
        strips,
    )


def encode_jpeg(image: YuvImage, quality: int) -> bytes:
    """Return the image as a JPEG of this quality, 1-100."""
    if isinstance(image, _StripImage) and image.strips.header == header_for(image.width, quality):
        planes = (image.y, image.u, image.v)
        return image.strips.with_strips(image.decoded, *planes, quality).to_jpeg()
    image.ensure_decoded(0, image.height)
    return cast(
        bytes, simplejpeg.encode_jpeg_yuv_planes(image.y, image.u, image.v, quality=quality)
    )


def _decode_whole(jpeg: bytes) -> YuvImage:
    try:
        frame = _decoder().decode(av.Packet(jpeg))[0]
        if frame.format.name != _FORMAT:
            frame = frame.reformat(format=_FORMAT)
    except (av.FFmpegError, ValueError, IndexError) as error:
        _decoders.__dict__.clear()  # the decoder may keep parts of a bad frame
        raise ImageError(f"cannot decode JPEG: {error}") from None
    y, u, v = (_writable(plane) for plane in frame.planes)
    return YuvImage(y, u, v)


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
