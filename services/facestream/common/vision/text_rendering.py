"""Text in pictures: smooth at any size, in the font that OpenCV carries (Rubik, SIL OFL)."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Bgr = tuple[int, int, int]


def text_box(text: str, px: int, weight: int) -> tuple[int, int, int, int]:
    """Left, top, width and height in pixels of a text drawn at the origin; top is negative.

    Args:
        px: font size.
        weight: 300 (light) to 900 (black).
    """
    left, top, width, height = cv2.getTextSize((0, 0), text, (0, 0), _font(), px, weight)
    return int(left), int(top), int(width), int(height)


def put_text(
    picture: NDArray[np.uint8], text: str, origin: tuple[int, int], bgr: Bgr, px: int, weight: int
) -> None:
    """Draw text in place on a BGR picture `[h, w, 3]`; `origin` is the left of its baseline."""
    cv2.putText(picture, text, origin, bgr, _font(), px, weight)


@lru_cache(maxsize=1)
def _font() -> cv2.FontFace:
    cv2.setNumThreads(1)
    return cv2.FontFace("sans")
