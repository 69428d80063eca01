"""Decode still images by their content: JPEG, PNG, WebP, GIF, TIFF, HEIC/HEIF, AVIF and others.

The name of a file plays no part: phones and mail programs write HEIC files named `.jpg`. OpenCV
decodes most formats, Pillow those that OpenCV does not decode or does not turn upright.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facestream.common.core.errors import ImageError

MAX_SIDE_PX = 16_384
HEAD_BYTES = 4096  # enough for `is_still_image` and `is_apple_double`

_SIGNATURES = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0*",
)
# Major brands of ISO/IEC 23008-12 files (HEIF) and of AVIF.
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}
# Pillow has decoders that run programs (EPS), so only these are allowed.
_PILLOW_FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "TIFF", "WEBP")


def is_still_image(head: bytes) -> bool:
    """Return whether a file that starts with these bytes is a still image."""
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith(_SIGNATURES) or is_webp or _is_heif(head)


def is_apple_double(head: bytes) -> bool:
    """Return whether a file holds attributes that macOS stores next to a file (`._x.jpg`)."""
    return head.startswith((b"\0\x05\x16\x07", b"\0\x05\x16\0"))


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file as BGR uint8 `[height, width, 3]`, rotated upright as its EXIF says.

    Raises:
        ImageError: missing, unreadable, not an image, or a side larger than `MAX_SIDE_PX`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}") from None
    return decode_image(data, str(path))


def decode_image(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode an image as BGR uint8 `[height, width, 3]`, upright. The first frame of a GIF.

    Raises:
        ImageError: not an image, damaged, or a side larger than `MAX_SIDE_PX`; names `name`.
    """
    image = None
    if data and not _is_heif(data):  # OpenCV decodes AVIF, but ignores its orientation
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:
            image = None
    if image is None and data:
        image = _decode_with_pillow(data, name)
    if image is None:
        raise ImageError(f"{name}: not an image, or damaged")
    _check_size(image.shape[1], image.shape[0], name)
    return np.asarray(image, np.uint8)


def _decode_with_pillow(data: bytes, name: str) -> NDArray[np.uint8] | None:
    import pillow_heif
    from PIL import Image, ImageOps

    pillow_heif.register_heif_opener()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS) as image:
                _check_size(*image.size, name)
                upright = ImageOps.exif_transpose(image).convert("RGB")
    except ImageError:
        raise
    # Decoders report damaged data with many kinds of errors.
    except (OSError, ValueError, SyntaxError, RuntimeError, EOFError, Image.DecompressionBombError):
        return None
    return np.ascontiguousarray(np.asarray(upright, np.uint8)[..., ::-1])


def _is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS | _AVIF_BRANDS


def _check_size(width: int, height: int, name: str) -> None:
    if max(width, height) > MAX_SIDE_PX:
        raise ImageError(f"{name}: a side is larger than {MAX_SIDE_PX} pixels")
