"""Tells a hard cut from everything else that changes a whole picture. Pure: luma and time go in.

After a cut nothing that was known holds: who was at a place is no longer there. Only edges are
compared, since light changes brightness and leaves edges where they were; and they may have moved a
little, since a camera shakes and people walk. A cut comes out of calm: somebody who steps before
the camera covers it in several pictures, each less like the last one.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

ACROSS, DOWN = 64, 36  # blocks of the thumbnails compared
_SAMPLES = 2  # pixels taken of a block, each way
_SURROUNDINGS = 7  # blocks whose mean is taken off: what is left are edges
_MOVED = (3, 4)  # blocks by which all may have moved from one picture to the next: down, across
MIN_EDGES = 2.0  # grey levels, RMS; black, blown out or foggy pictures have less and tell nothing
CUT_SIMILARITY = 0.35  # correlation of the edges; pictures with nothing in common have 0.1
STABLE_SIMILARITY = 0.7  # of the two pictures before it
MAX_GAP_S = 0.5  # pictures further apart are not compared

Edges = NDArray[np.float32]


class SceneCutDetector:
    """For one camera's pictures, each in its turn."""

    def __init__(self) -> None:
        self._last: Edges | None = None
        self._last_power = self._last_at = 0.0
        self._is_calm = False

    def is_cut(self, luma: NDArray[np.uint8], now: float) -> bool:
        """Whether this picture shows another scene than the last one.

        Args:
            luma: uint8 `[height, width]`.
            now: time of the picture, seconds.
        """
        edges = _edges(luma)
        power = float(np.vdot(edges, edges))
        if power < MIN_EDGES**2 * edges.size:
            return False
        last, gap_s, both = self._last, now - self._last_at, power * self._last_power
        self._last, self._last_power, self._last_at = edges, power, now
        if last is None or not 0 <= gap_s <= MAX_GAP_S:
            self._is_calm = False
            return False
        likeness = _likeness(last, edges, both**0.5)
        was_calm, self._is_calm = self._is_calm, likeness >= STABLE_SIMILARITY
        return was_calm and likeness < CUT_SIMILARITY


def _edges(luma: NDArray[np.uint8]) -> Edges:
    # Means of all pixels would take three times as long, and tell no more.
    samples = cv2.resize(
        luma, (ACROSS * _SAMPLES, DOWN * _SAMPLES), interpolation=cv2.INTER_NEAREST
    )
    blocks = cv2.resize(samples, (ACROSS, DOWN), interpolation=cv2.INTER_AREA)
    around = cv2.blur(blocks, (_SURROUNDINGS, _SURROUNDINGS))
    return np.asarray(cv2.subtract(blocks, around, dtype=cv2.CV_32F), np.float32)


def _likeness(one: Edges, other: Edges, lengths: float) -> float:
    """The correlation of two pictures' edges, at most 1, where they fit best.

    Args:
        lengths: of both as vectors, multiplied.
    """
    unmoved = float(np.vdot(one, other)) / lengths
    if unmoved >= STABLE_SIMILARITY:
        return unmoved  # as nearly always: 1 µs against 40
    down, across = _MOVED
    middle = np.ascontiguousarray(other[down:-down, across:-across])
    return float(cv2.matchTemplate(one, middle, cv2.TM_CCORR_NORMED).max())
