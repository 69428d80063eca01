"""Makes faces in a picture unrecognisable, for good. Pure.

A face with a margin around it becomes `BLOCKS` × `BLOCKS` squares of one colour each, and of few
shades: of the face itself remain about four numbers in each plane. Even over many pictures that is
too little to get a face back; a blur by convolution, or finer squares, could be undone in part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from facestream.capture.faces.tracker import Box
from facestream.capture.faces.yuv_frame import Plane, YuvFrame

BLOCKS = 3
MARGIN = 0.35  # on each side, of the face's width and height
SHADE_STEP = 16  # of 256


def pixelate_faces(picture: YuvFrame, boxes: Sequence[Box]) -> YuvFrame:
    """A copy without these faces.

    Args:
        boxes: x, y, width, height in pixels of the upright picture; may reach out of it.
    """
    if not boxes:
        return picture
    planes = [plane.copy() for plane in (picture.y, picture.u, picture.v)]
    # Views that stand upright: what is written to them goes into the planes.
    upright = [np.rot90(plane, -picture.rotate // 90) for plane in planes]
    for x, y, w, h in boxes:
        left, top = _even(x - MARGIN * w, picture.width), _even(y - MARGIN * h, picture.height)
        right = _even(x + (1 + MARGIN) * w + 2, picture.width)
        bottom = _even(y + (1 + MARGIN) * h + 2, picture.height)
        for plane, scale in zip(upright, (1, 2, 2), strict=True):
            # The last row and column of an odd picture belong to the last chroma sample.
            ends = -(-bottom // scale), -(-right // scale)
            _coarsen(plane[top // scale : ends[0], left // scale : ends[1]])
    return replace(picture, y=planes[0], u=planes[1], v=planes[2])


def _coarsen(region: Plane) -> None:
    height, width = region.shape
    if not height or not width:
        return
    blocks = (min(BLOCKS, width), min(BLOCKS, height))
    small = cv2.resize(np.ascontiguousarray(region), blocks, interpolation=cv2.INTER_AREA)
    small = small // SHADE_STEP * SHADE_STEP + SHADE_STEP // 2
    region[:] = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)


def _even(length: float, limit: int) -> int:
    whole = int(min(max(length, 0.0), float(limit)))
    return whole if whole == limit else whole // 2 * 2
