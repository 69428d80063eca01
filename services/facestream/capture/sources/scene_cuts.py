"""Scene-cut detection: distinguish a hard cut from all other changes of a frame. No I/O.

After a scene cut no track is valid, because other people stand at the same positions. Only edges
are compared: light changes brightness but not edges. Edges may move a little, because cameras shake
and people walk. A cut needs a stable scene before it: a person who steps in front of the camera
covers it over several frames, each less similar to the last one.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

ACROSS, DOWN = 64, 36  # blocks of the thumbnails that are compared
_SAMPLES = 2  # pixels sampled per block and direction
_SURROUNDINGS = 7  # blocks whose local mean is subtracted, which leaves the edges
_MAX_SHIFT = (3, 4)  # blocks by which the scene may move between two frames: down, across
MIN_EDGES = 2.0  # gray levels, RMS; black, overexposed or foggy frames have less and are ignored
CUT_SIMILARITY = 0.35  # correlation of the edges; unrelated frames reach about 0.1
STABLE_SIMILARITY = 0.7  # of the two frames before the cut
MAX_GAP_S = 0.5  # frames further apart are not compared

Edges = NDArray[np.float32]


class SceneCutDetector:
    """Scene-cut detector for the successive frames of one camera. Not thread-safe."""

    def __init__(self) -> None:
        self._last_edges: Edges | None = None
        self._last_power = self._last_at = 0.0
        self._is_stable = False

    def is_cut(self, luma: NDArray[np.uint8], now: float) -> bool:
        """Return whether this frame shows another scene than the last one, and remember it.

        Args:
            luma: uint8 `[height, width]`.
            now: time of the frame, monotonic seconds.
        """
        edges = _edges(luma)
        power = float(np.vdot(edges, edges))
        if power < MIN_EDGES**2 * edges.size:
            return False
        last_edges, gap_s = self._last_edges, now - self._last_at
        norm = (power * self._last_power) ** 0.5
        self._last_edges, self._last_power, self._last_at = edges, power, now
        if last_edges is None or not 0 <= gap_s <= MAX_GAP_S:
            self._is_stable = False
            return False
        similarity = _similarity(last_edges, edges, norm)
        was_stable, self._is_stable = self._is_stable, similarity >= STABLE_SIMILARITY
        return was_stable and similarity < CUT_SIMILARITY


def _edges(luma: NDArray[np.uint8]) -> Edges:
    # Averaging all pixels would take three times as long without a better result.
    samples = cv2.resize(
        luma, (ACROSS * _SAMPLES, DOWN * _SAMPLES), interpolation=cv2.INTER_NEAREST
    )
    blocks = cv2.resize(samples, (ACROSS, DOWN), interpolation=cv2.INTER_AREA)
    local_mean = cv2.blur(blocks, (_SURROUNDINGS, _SURROUNDINGS))
    return np.asarray(cv2.subtract(blocks, local_mean, dtype=cv2.CV_32F), np.float32)


def _similarity(one: Edges, other: Edges, norm: float) -> float:
    """Return the correlation of the edges of two frames at their best alignment, at most 1.

    Args:
        one, other: edges of the two frames.
        norm: product of the lengths of both as vectors.
    """
    unshifted = float(np.vdot(one, other)) / norm
    if unshifted >= STABLE_SIMILARITY:
        return unshifted  # nearly always: 1 µs instead of 40
    down, across = _MAX_SHIFT
    center = np.ascontiguousarray(other[down:-down, across:-across])
    return float(cv2.matchTemplate(one, center, cv2.TM_CCORR_NORMED).max())
