"""Turns a face's JPEG crop into the model's input.

`decode_crop` writes one row of a uint8 `[n, side, side, 3]` RGB batch.
"""

from __future__ import annotations

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from services.common.errors import PictureError

cv2.setNumThreads(1)

# A header of 20 bytes can promise gigabytes; no crop of ours is near this.
_MAX_SIDE_PX = 1024


def decode_crop(jpeg: bytes, row: NDArray[np.uint8]) -> None:
    """Decode a crop into `row`, uint8 `[side, side, 3]` RGB, resized where it has another size.

    Raises:
        PictureError: truncated, corrupt or unreasonably large.
    """
    side = row.shape[0]
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
        if max(height, width) > _MAX_SIDE_PX:
            raise PictureError(f"crop of {width}x{height} pixels is larger than any of ours")
        if (height, width) == (side, side):
            simplejpeg.decode_jpeg(jpeg, "RGB", buffer=row)
            return
        picture = simplejpeg.decode_jpeg(jpeg, "RGB")
    except ValueError as error:
        raise PictureError(f"crop is not a whole JPEG: {error}") from None
    shrinks = min(height, width) > side
    cv2.resize(
        picture,
        (side, side),
        dst=row,
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
    )
