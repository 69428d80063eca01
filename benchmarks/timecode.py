"""Write a frame's number into its pixels, so that a viewer can measure the latency of the frame.

A row of black and white squares along the bottom: ten bits and a checksum. No I/O.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BITS = 10
LIMIT = 1 << BITS
_CHECK_BITS = 4
_SQUARES = BITS + _CHECK_BITS
_DARK, _LIGHT, _THRESHOLD = 16, 235, 128


def write(frame: NDArray[np.uint8], number: int) -> None:
    """Draw `number` (0 ≤ number < LIMIT) into a frame `[height, width, 3]`, in place."""
    side = _side(frame.shape[1])
    for i, bit in enumerate(_code(number)):
        frame[-side:, i * side : (i + 1) * side] = _LIGHT if bit else _DARK


def read(frame: NDArray[np.uint8]) -> int | None:
    """Return the number in a frame `[height, width]` or `[height, width, 3]`; None if illegible."""
    side = _side(frame.shape[1])
    row = frame[-side // 2 - 2 : -side // 2 + 2]
    bits = [
        float(row[:, i * side + side // 4 : (i + 1) * side - side // 4].mean()) > _THRESHOLD
        for i in range(_SQUARES)
    ]
    number = sum(bit << i for i, bit in enumerate(bits[:BITS]))
    return number if _code(number) == bits else None


def _side(width: int) -> int:
    return max(8, width // 48)


def _code(number: int) -> list[bool]:
    check = (number * 7 + 5) % (1 << _CHECK_BITS)
    return [bool(number >> i & 1) for i in range(BITS)] + [
        bool(check >> i & 1) for i in range(_CHECK_BITS)
    ]
