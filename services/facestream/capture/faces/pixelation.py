"""Pixelation: make faces in a frame unrecognizable, irreversibly. No I/O.

A face with a margin becomes `BLOCKS` × `BLOCKS` blocks of one value each, in few levels, so about
four numbers per plane remain of the face itself. Even over many frames that is too little to
reconstruct a face. A Gaussian blur, or smaller blocks, could be undone in part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from facestream.capture.faces.yuv_frame import Plane, YuvFrame
from facestream.common.vision.tracker import Box

BLOCKS = 3
MARGIN = 0.35  # on each side, as a fraction of the face's width and height
LEVEL_STEP = 16  # of 256


def pixelate_faces(frame: YuvFrame, boxes: Sequence[Box]) -> YuvFrame:
    """Return a copy of the frame with these faces pixelated; the frame itself without boxes.

    Args:
        frame: left unchanged.
        boxes: x, y, width, height in pixels of the upright frame; may reach beyond its edges.
    """
    if not boxes:
        return frame
    planes = [plane.copy() for plane in (frame.y, frame.u, frame.v)]
    # Upright views into the copies: writing to a view changes the plane.
    upright = [np.rot90(plane, -frame.rotate // 90) for plane in planes]
    for x, y, w, h in boxes:
        left = _clip_to_even(x - MARGIN * w, frame.width)
        top = _clip_to_even(y - MARGIN * h, frame.height)
        right = _clip_to_even(x + (1 + MARGIN) * w + 2, frame.width)
        bottom = _clip_to_even(y + (1 + MARGIN) * h + 2, frame.height)
        for plane, scale in zip(upright, (1, 2, 2), strict=True):
            # The last row and column of a frame of odd size belong to the last chroma sample.
            ends = -(-bottom // scale), -(-right // scale)
            _pixelate(plane[top // scale : ends[0], left // scale : ends[1]])
    return replace(frame, y=planes[0], u=planes[1], v=planes[2])


def _pixelate(region: Plane) -> None:
    height, width = region.shape
    if not height or not width:
        return
    blocks = (min(BLOCKS, width), min(BLOCKS, height))
    means = cv2.resize(np.ascontiguousarray(region), blocks, interpolation=cv2.INTER_AREA)
    means = means // LEVEL_STEP * LEVEL_STEP + LEVEL_STEP // 2
    region[:] = cv2.resize(means, (width, height), interpolation=cv2.INTER_NEAREST)


def _clip_to_even(length: float, limit: int) -> int:
    """Return the length clipped to 0-`limit` and rounded down to an even number below the limit."""
    pixels = int(min(max(length, 0.0), float(limit)))
    return pixels if pixels == limit else pixels // 2 * 2
