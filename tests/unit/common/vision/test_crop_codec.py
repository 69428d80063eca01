"""Face crops: JPEG encoder, decoder and resizing."""

import numpy as np
import pytest
import simplejpeg
from facestream.common.core.errors import ImageError
from facestream.common.vision.crop_codec import decode_crop


def gradient(side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A red-green gradient."""
    ramp = np.linspace(0, 255, side, dtype=np.uint8)
    return np.dstack(
        [
            np.tile(ramp, (side, 1)),
            np.tile(ramp[:, None], (1, side)),
            np.zeros((side, side), np.uint8),
        ]
    )


@pytest.mark.parametrize("side", [160, 100, 400])
def test_a_crop_of_any_size_fills_its_row_and_no_other(side: int) -> None:
    rows = np.full((3, 160, 160, 3), 77, np.uint8)
    decode_crop(simplejpeg.encode_jpeg(gradient(side), 95, "RGB", "444"), rows[1])
    difference = np.abs(rows[1].astype(int) - gradient(160))
    assert difference.mean() < 2
    assert (rows[0] == 77).all()
    assert (rows[2] == 77).all()


def test_a_gray_jpeg_is_three_equal_channels() -> None:
    row = np.zeros((160, 160, 3), np.uint8)
    gray = np.full((160, 160, 1), 90, np.uint8)
    decode_crop(simplejpeg.encode_jpeg(gray, 95, "GRAY"), row)
    assert np.abs(row.astype(int) - 90).max() <= 1


@pytest.mark.parametrize("cut", [2, 3, 100, 300, -20])
def test_a_truncated_jpeg_is_rejected(cut: int) -> None:
    whole = simplejpeg.encode_jpeg(gradient(160), 90, "RGB", "420")
    with pytest.raises(ImageError, match="not a whole JPEG"):
        decode_crop(whole[:cut], np.zeros((160, 160, 3), np.uint8))


def test_an_oversized_jpeg_is_rejected_before_decoding() -> None:
    large = simplejpeg.encode_jpeg(np.zeros((16, 2000, 3), np.uint8), 50, "RGB", "420")
    with pytest.raises(ImageError, match="2000x16"):
        decode_crop(large, np.zeros((160, 160, 3), np.uint8))
