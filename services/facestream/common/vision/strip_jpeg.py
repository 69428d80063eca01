"""JPEGs made of strips, so that some rows can be replaced while the others keep their bytes.

A strip is one restart interval: a few rows of 16×16 blocks over the full width, coded independently
of the others. A strip JPEG is its strips in order, separated by restart markers (ITU-T T.81, B.2.1:
the coder resets after each restart interval). Every decoder reads it as one image. `split_strips`
separates the strips without decoding them. A single strip can be decoded, changed, encoded and
put back.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from facestream.common.core.frame_limits import MAX_SIDE_PX

Plane = NDArray[np.uint8]

STRIP_PX = 32  # costs 9 % more encoding time than a JPEG in one piece; 16 px would cost 17 %
_BLOCK_PX = 16  # of luma; chroma has half the resolution
_START, _END = b"\xff\xd8", b"\xff\xd9"
_SIZE, _SCAN, _INTERVAL = 0xC0, 0xDA, 0xDD  # SOF0 (baseline), SOS, DRI
_HALF_CHROMA = (0x22, 0x11, 0x11)
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")


@dataclass(frozen=True, slots=True)
class StripJpeg:
    """An image as a JPEG header and the coded data of its strips.

    Attributes:
        header: start of the JPEG with height 0 and without the restart interval. It is the same for
            all images of one width and quality.
        size_offset: offset in `header` of the fields of the frame header (SOF0).
        width: in pixels.
        height: in pixels.
        strip_px: rows of each strip; the last one may have fewer.
        data: coded data of the strips, top to bottom.
    """

    header: bytes
    size_offset: int
    width: int
    height: int
    strip_px: int
    data: tuple[bytes, ...]

    def to_jpeg(self, first: int = 0, last: int | None = None) -> bytes:
        """Return the strips from `first` up to, not including, `last` as one JPEG."""
        data = self.data[first:last]
        top = first * self.strip_px
        height = min(self.height, top + len(data) * self.strip_px) - top
        blocks = -(-self.width // _BLOCK_PX) * (self.strip_px // _BLOCK_PX)
        head = bytearray(self.header)
        _set_height(head, self.size_offset, height)
        head[len(_START) : len(_START)] = struct.pack(">BBHH", 0xFF, _INTERVAL, 4, blocks)
        parts = [bytes(head), data[0]]
        for i, strip in enumerate(data[1:]):
            parts += (bytes((0xFF, 0xD0 + i % 8)), strip)
        parts.append(_END)
        return b"".join(parts)

    def with_strips(
        self, indices: Iterable[int], y: Plane, u: Plane, v: Plane, quality: int
    ) -> StripJpeg:
        """Return a copy whose strips with these indices are encoded from the given planes.

        The planes have the size of the whole image. `header_for` this width and quality must equal
        `header`.
        """
        data = list(self.data)
        for index in indices:
            top = index * self.strip_px
            data[index] = self._coded_data(_encode_rows(y, u, v, top, self.strip_px, quality))
        return replace(self, data=tuple(data))

    def _coded_data(self, jpeg: bytes) -> bytes:
        return jpeg[len(self.header) : -len(_END)]


def encode_strips(y: Plane, u: Plane, v: Plane, quality: int) -> StripJpeg:
    """Encode an image strip by strip.

    Args:
        y: uint8 `[height, width]`, at least two pixels wide; full range, BT.601.
        u: uint8 `[⌈height/2⌉, ⌈width/2⌉]`.
        v: as `u`.
        quality: JPEG quality, 1-100.
    """
    height, width = y.shape
    jpegs = [_encode_rows(y, u, v, top, STRIP_PX, quality) for top in range(0, height, STRIP_PX)]
    header, size_offset = _split_header(jpegs[0])
    data = tuple(jpeg[len(header) : -len(_END)] for jpeg in jpegs)
    return StripJpeg(header, size_offset, width, height, STRIP_PX, data)


@lru_cache(maxsize=64)
def header_for(width: int, quality: int) -> bytes:
    """Return the `header` that `encode_strips` produces for this width and quality."""
    half = np.zeros((_BLOCK_PX // 2, -(-width // 2)), np.uint8)
    return encode_strips(np.zeros((_BLOCK_PX, width), np.uint8), half, half, quality).header


def split_strips(jpeg: bytes) -> StripJpeg | None:
    """Return the strips of a JPEG; None if it is truncated, not 4:2:0 or not made of strips."""
    try:
        segments = _find_segments(jpeg)
        size_offset, scan_offset = segments[_SIZE], segments[_SCAN]
        interval_offset = segments[_INTERVAL]
        height, width, components = struct.unpack_from(">HHB", jpeg, size_offset + 3)
        (blocks,) = struct.unpack_from(">H", jpeg, interval_offset + 2)
    except (KeyError, IndexError, struct.error):
        return None
    sampling = tuple(jpeg[size_offset + 9 : size_offset + 17 : 3])
    blocks_per_row = -(-width // _BLOCK_PX)
    if components != 3 or sampling != _HALF_CHROMA or not jpeg.endswith(_END):
        return None
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX and blocks):
        return None
    if blocks % blocks_per_row:
        return None
    strip_px = blocks // blocks_per_row * _BLOCK_PX
    (scan_length,) = struct.unpack_from(">H", jpeg, scan_offset)
    data = _RESTART.split(jpeg[scan_offset + scan_length : -len(_END)])
    if len(data) != -(-height // strip_px):
        return None
    head = bytearray(jpeg[: scan_offset + scan_length])
    _set_height(head, size_offset, 0)
    del head[interval_offset - 2 : interval_offset + 4]
    size_offset -= 6 if interval_offset < size_offset else 0
    return StripJpeg(bytes(head), size_offset, width, height, strip_px, tuple(data))


def _encode_rows(y: Plane, u: Plane, v: Plane, top: int, rows: int, quality: int) -> bytes:
    half = np.s_[top // 2 : (top + rows) // 2]
    luma = y[top : top + rows]
    # With an odd height the encoder would read one row too many, and a single row as 4:2:2.
    if len(luma) % 2:
        luma = np.vstack((luma, luma[-1:]))
    jpeg: bytes = simplejpeg.encode_jpeg_yuv_planes(luma, u[half], v[half], quality)
    return jpeg


def _split_header(jpeg: bytes) -> tuple[bytes, int]:
    """Return the header of a JPEG with height 0, and the offset of its frame header's fields."""
    segments = _find_segments(jpeg)
    scan_offset = segments[_SCAN]
    (scan_length,) = struct.unpack_from(">H", jpeg, scan_offset)
    head = bytearray(jpeg[: scan_offset + scan_length])
    _set_height(head, segments[_SIZE], 0)
    return bytes(head), segments[_SIZE]


def _find_segments(jpeg: bytes) -> dict[int, int]:
    """Return the offset of each segment's fields, up to the scan; raise IndexError if truncated."""
    offsets: dict[int, int] = {}
    at = len(_START)
    while _SCAN not in offsets:
        if jpeg[at] != 0xFF:
            raise IndexError
        offsets[jpeg[at + 1]] = at + 2
        at += 2 + (jpeg[at + 2] << 8 | jpeg[at + 3])
    return offsets


def _set_height(head: bytearray, size_offset: int, height: int) -> None:
    struct.pack_into(">H", head, size_offset + 3, height)
