"""JPEG encoder and decoder of face crops: the image format between capture and worker.

Capture encodes an RGB crop with 4:2:0 chroma subsampling, as cameras do. The worker decodes it into
one row of a uint8 `[n, side, side, 3]` RGB batch.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from facestream.common.core.errors import ImageError

# A JPEG header of 20 bytes can promise gigabytes. No crop that capture sends is near this size.
_MAX_SIDE_PX = 1024


def encode_crop(crop: NDArray[np.uint8], quality: int) -> bytes:
    """Encode an RGB crop, uint8 `[side, side, 3]`, as JPEG of this quality, 1-100.

    Raises:
        ValueError: the array is not an RGB image.
    """
    jpeg: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(crop), quality, "RGB", "420")
    return jpeg


def decode_crop(jpeg: bytes, row: NDArray[np.uint8]) -> None:
    """Decode a crop into `row`, uint8 `[side, side, 3]` RGB; resize it if its size differs.

    Raises:
        ImageError: the JPEG is truncated, corrupt or larger than 1024 pixels.
    """
    side = row.shape[0]
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
        if max(height, width) > _MAX_SIDE_PX:
            raise ImageError(f"crop of {width}x{height} pixels exceeds the limit of {_MAX_SIDE_PX}")
        if (height, width) == (side, side):
            simplejpeg.decode_jpeg(jpeg, "RGB", buffer=row)
            return
        image = simplejpeg.decode_jpeg(jpeg, "RGB")
    except ValueError as error:
        raise ImageError(f"crop is not a whole JPEG: {error}") from None
    lines = image.reshape(height, width * 3).astype(np.float32)
    squeezed = (_weights(height, side) @ lines).reshape(side, width, 3)
    columns = squeezed.transpose(1, 0, 2).reshape(width, side * 3)
    resized = (_weights(width, side) @ columns).reshape(side, side, 3)
    row[:] = np.rint(resized.transpose(1, 0, 2))


@lru_cache(maxsize=16)
def _weights(length: int, side: int) -> NDArray[np.float32]:
    """Return linear interpolation weights from `length` to `side` pixels, float32 `[side, length]`.

    The kernel widens when the image shrinks, so that every pixel counts. OpenCV can resize too, but
    it would double the size of the worker's container image; capture sends crops of the right size.
    """
    scale = length / side
    centers = (np.arange(side, dtype=np.float32)[:, None] + 0.5) * scale - 0.5
    distance = np.abs(np.arange(length, dtype=np.float32) - centers) / max(1.0, scale)
    weights = np.maximum(0.0, 1.0 - distance)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
