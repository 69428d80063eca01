"""A face's crop as it travels: JPEG with its colour at half size, as cameras have it anyway."""

from __future__ import annotations

import numpy as np
import simplejpeg
from numpy.typing import NDArray


def crop_jpeg(crop: NDArray[np.uint8], quality: int) -> bytes:
    """An RGB crop uint8 `[side, side, 3]` as JPEG of this quality, 1-100.

    Raises:
        ValueError: it is no picture.
    """
    jpeg: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(crop), quality, "RGB", "420")
    return jpeg
