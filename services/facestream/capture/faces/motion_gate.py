"""Motion gate: skip the detector for frames in which nothing has changed. No I/O.

A frame's luma is averaged over blocks and compared with the reference: the last frame that the
detector ran on. Noise and compression hardly change a block's mean, but a face that appears,
disappears or turns changes several blocks at once. A slow change adds up against the reference
until it exceeds the threshold.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

BLOCK_PX = 16  # in a frame of 720 lines; other sizes have the same number of blocks
_BLOCKS_ACROSS = 1280 // BLOCK_PX
MIN_CHANGE = 5.0  # gray levels of one block's mean; noise and keyframes stay below
MAX_SKIP_S = 1.0  # a frame with faces is not skipped for longer, whatever it shows
MAX_EMPTY_SKIP_S = 3.0  # nor a frame without faces for longer than this


class MotionGate:
    """Motion gate of one camera session. Holds the block means of the reference frame."""

    def __init__(self) -> None:
        self._reference: NDArray[np.int16] | None = None
        self._reference_at = -math.inf

    def is_unchanged(self, luma: NDArray[np.uint8], now: float, *, is_empty: bool = False) -> bool:
        """Return whether the detector would find the same faces again.

        A frame that has changed becomes the new reference.

        Args:
            luma: uint8 `[height, width]`; the same size in every call.
            now: time of the frame, monotonic seconds.
            is_empty: whether the last detection found no face.
        """
        height, width = luma.shape
        across = min(_BLOCKS_ACROSS, width)
        down = max(1, round(height * across / width))
        blocks = _block_means(luma, across, down).astype(np.int16)
        reference = self._reference
        if (
            reference is not None
            and 0 <= now - self._reference_at < (MAX_EMPTY_SKIP_S if is_empty else MAX_SKIP_S)
            and float(np.abs(blocks - reference).max()) < MIN_CHANGE
        ):
            return True
        self._reference, self._reference_at = blocks, now
        return False


def _block_means(luma: NDArray[np.uint8], across: int, down: int) -> NDArray[np.uint8]:
    """Return the means of `across` × `down` blocks.

    The luma is halved first, which OpenCV does fast: 0.07 ms instead of 0.30 ms.
    """
    height, width = luma.shape
    while width >= 4 * across and height >= 4 * down:
        width, height = width // 2, height // 2
        luma = cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.resize(luma, (across, down), interpolation=cv2.INTER_AREA)
