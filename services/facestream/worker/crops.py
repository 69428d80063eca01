"""Turns a face's JPEG crop into the model's input.

`decode_crop` writes one row of a uint8 `[n, side, side, 3]` RGB batch.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from facestream.common.core.errors import ImageError

# A header of 20 bytes can promise gigabytes; no crop of ours is near this.
_MAX_SIDE_PX = 1024


def decode_crop(jpeg: bytes, row: NDArray[np.uint8]) -> None:
    """Decode a crop into `row`, uint8 `[side, side, 3]` RGB, resized where it has another size.

    Raises:
        ImageError: truncated, corrupt or unreasonably large.
    """
    side = row.shape[0]
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
        if max(height, width) > _MAX_SIDE_PX:
            raise ImageError(f"crop of {width}x{height} pixels is larger than any of ours")
        if (height, width) == (side, side):
            simplejpeg.decode_jpeg(jpeg, "RGB", buffer=row)
            return
        picture = simplejpeg.decode_jpeg(jpeg, "RGB")
    except ValueError as error:
        raise ImageError(f"crop is not a whole JPEG: {error}") from None
    lines = picture.reshape(height, width * 3).astype(np.float32)
    squeezed = (_weights(height, side) @ lines).reshape(side, width, 3)
    columns = squeezed.transpose(1, 0, 2).reshape(width, side * 3)
    resized = (_weights(width, side) @ columns).reshape(side, side, 3)
    row[:] = np.rint(resized.transpose(1, 0, 2))


@lru_cache(maxsize=16)
def _weights(length: int, side: int) -> NDArray[np.float32]:
    """How much each of `length` pixels counts for each of `side`: float32 `[side, length]`.

    Linear interpolation, widened when it shrinks, so that no pixel is passed over. OpenCV would do
    it too, and make the worker's image twice as large; capture sends crops of the right size.
    """
    scale = length / side
    centres = (np.arange(side, dtype=np.float32)[:, None] + 0.5) * scale - 0.5
    distance = np.abs(np.arange(length, dtype=np.float32) - centres) / max(1.0, scale)
    weights = np.maximum(0.0, 1.0 - distance)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
