"""Text rendering with OpenCV's built-in TrueType font (Rubik, SIL OFL), antialiased at any size."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Bgr = tuple[int, int, int]


def text_box(text: str, px: int, weight: int) -> tuple[int, int, int, int]:
    """Return left, top, width and height in pixels of text drawn at the origin; top is negative.

    Args:
        text: one line.
        px: font size.
        weight: 300 (light) to 900 (black).
    """
    left, top, width, height = cv2.getTextSize((0, 0), text, (0, 0), _font(), px, weight)
    return int(left), int(top), int(width), int(height)


def put_text(
    image: NDArray[np.uint8], text: str, origin: tuple[int, int], bgr: Bgr, px: int, weight: int
) -> None:
    """Draw text in place on a BGR image `[h, w, 3]`; `origin` is the left end of its baseline."""
    cv2.putText(image, text, origin, bgr, _font(), px, weight)


@lru_cache(maxsize=1)
def _font() -> cv2.FontFace:
    cv2.setNumThreads(1)
    return cv2.FontFace("sans")
