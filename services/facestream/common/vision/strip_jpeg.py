"""JPEGs in strips, so that a part of a picture can be drawn on and the rest be left as it is.

A strip is a few rows of 16×16 blocks over the whole width, encoded by itself; a picture is its
strips one after the other with a restart marker between (ITU-T T.81, B.2.1: after each restart
interval the coder begins anew). Any decoder reads it as the one picture that it is, while `split`
takes it apart without decoding anything: a strip can be decoded, changed, encoded and put back.
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

from facestream.common.broker.messages import MAX_SIDE_PX

Plane = NDArray[np.uint8]

STRIP_PX = 32  # encoding is 9 % dearer than in one piece; with half of it, 17 %
_BLOCK_PX = 16  # of luma, with chroma at half size
_START, _END = b"\xff\xd8", b"\xff\xd9"
_SIZE, _SCAN, _INTERVAL = 0xC0, 0xDA, 0xDD  # SOF0 (baseline), SOS, DRI
_HALF_CHROMA = (0x22, 0x11, 0x11)
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")


@dataclass(frozen=True, slots=True)
class Strips:
    """A picture: what its strips have in common, and their coded data from top to bottom.

    tables: the head of the JPEG without height and restart interval; the same of all pictures of a
    width and quality. frame_at: where in it the frame header's fields are.
    """

    tables: bytes
    frame_at: int
    width: int
    height: int
    strip_px: int
    data: tuple[bytes, ...]

    def jpeg(self, first: int = 0, last: int | None = None) -> bytes:
        """The strips `first` to `last` (exclusive; None is all) as one JPEG."""
        data = self.data[first:last]
        top = first * self.strip_px
        height = min(self.height, top + len(data) * self.strip_px) - top
        blocks = -(-self.width // _BLOCK_PX) * (self.strip_px // _BLOCK_PX)
        head = bytearray(self.tables)
        _set_height(head, self.frame_at, height)
        head[len(_START) : len(_START)] = struct.pack(">BBHH", 0xFF, _INTERVAL, 4, blocks)
        parts = [bytes(head), data[0]]
        for i, strip in enumerate(data[1:]):
            parts += (bytes((0xFF, 0xD0 + i % 8)), strip)
        parts.append(_END)
        return b"".join(parts)

    def with_strips(
        self, numbers: Iterable[int], y: Plane, u: Plane, v: Plane, quality: int
    ) -> Strips:
        """The same picture, with these strips taken from planes of its size.

        `tables_of` this width and quality must be the picture's.
        """
        data = list(self.data)
        for number in numbers:
            top = number * self.strip_px
            data[number] = self._data(_encoded(y, u, v, top, self.strip_px, quality))
        return replace(self, data=tuple(data))

    def _data(self, jpeg: bytes) -> bytes:
        return jpeg[len(self.tables) : -len(_END)]


def encode(y: Plane, u: Plane, v: Plane, quality: int) -> Strips:
    """A picture in strips.

    Args:
        y: uint8 `[height, width]`, two pixels wide at least; full range, BT.601.
        u, v: uint8 `[⌈height/2⌉, ⌈width/2⌉]`.
        quality: 1-100.
    """
    height, width = y.shape
    jpegs = [_encoded(y, u, v, top, STRIP_PX, quality) for top in range(0, height, STRIP_PX)]
    tables, frame_at = _tables(jpegs[0])
    data = tuple(jpeg[len(tables) : -len(_END)] for jpeg in jpegs)
    return Strips(tables, frame_at, width, height, STRIP_PX, data)


@lru_cache(maxsize=64)
def tables_of(width: int, quality: int) -> bytes:
    """The `tables` of pictures that `encode` makes of this width and quality."""
    half = np.zeros((_BLOCK_PX // 2, -(-width // 2)), np.uint8)
    return encode(np.zeros((_BLOCK_PX, width), np.uint8), half, half, quality).tables


def split(jpeg: bytes) -> Strips | None:
    """A JPEG's strips; None if it is not one in strips of 4:2:0, or not a whole one."""
    try:
        segments = _segments(jpeg)
        frame_at, scan_at = segments[_SIZE], segments[_SCAN]
        interval_at = segments[_INTERVAL]
        height, width, components = struct.unpack_from(">HHB", jpeg, frame_at + 3)
        (blocks,) = struct.unpack_from(">H", jpeg, interval_at + 2)
    except (KeyError, IndexError, struct.error):
        return None
    sampling = tuple(jpeg[frame_at + 9 : frame_at + 17 : 3])
    across = -(-width // _BLOCK_PX)
    if components != 3 or sampling != _HALF_CHROMA or not jpeg.endswith(_END):
        return None
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX and blocks) or blocks % across:
        return None
    strip_px = blocks // across * _BLOCK_PX
    (scan_length,) = struct.unpack_from(">H", jpeg, scan_at)
    data = _RESTART.split(jpeg[scan_at + scan_length : -len(_END)])
    if len(data) != -(-height // strip_px):
        return None
    head = bytearray(jpeg[: scan_at + scan_length])
    _set_height(head, frame_at, 0)
    del head[interval_at - 2 : interval_at + 4]
    frame_at -= 6 if interval_at < frame_at else 0
    return Strips(bytes(head), frame_at, width, height, strip_px, tuple(data))


def _encoded(y: Plane, u: Plane, v: Plane, top: int, rows: int, quality: int) -> bytes:
    half = np.s_[top // 2 : (top + rows) // 2]
    luma = y[top : top + rows]
    if len(luma) % 2:  # the encoder would read another row, or take a single one for 4:2:2
        luma = np.vstack((luma, luma[-1:]))
    jpeg: bytes = simplejpeg.encode_jpeg_yuv_planes(luma, u[half], v[half], quality)
    return jpeg


def _tables(jpeg: bytes) -> tuple[bytes, int]:
    """The head of a JPEG without its height, and where its frame header's fields are."""
    segments = _segments(jpeg)
    scan_at = segments[_SCAN]
    (scan_length,) = struct.unpack_from(">H", jpeg, scan_at)
    head = bytearray(jpeg[: scan_at + scan_length])
    _set_height(head, segments[_SIZE], 0)
    return bytes(head), segments[_SIZE]


def _segments(jpeg: bytes) -> dict[int, int]:
    """Where the fields of each kind of segment begin, up to the scan's; IndexError if cut off."""
    found: dict[int, int] = {}
    at = len(_START)
    while _SCAN not in found:
        if jpeg[at] != 0xFF:
            raise IndexError
        found[jpeg[at + 1]] = at + 2
        at += 2 + (jpeg[at + 2] << 8 | jpeg[at + 3])
    return found


def _set_height(head: bytearray, frame_at: int, height: int) -> None:
    struct.pack_into(">H", head, frame_at + 3, height)
