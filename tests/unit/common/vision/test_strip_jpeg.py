"""Strip JPEGs: any decoder reads one image, and strips can be split and replaced."""

import cv2
import numpy as np
import pytest
import simplejpeg
from facestream.common.vision.strip_jpeg import STRIP_PX, encode_strips, header_for, split_strips
from numpy.typing import NDArray

SIZES = [(1280, 720), (640, 360), (302, 333), (16, 16), (320, 65), (2, 64)]
YuvPlanes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


def planes(width: int, height: int, seed: int = 1) -> YuvPlanes:
    noise = np.random.default_rng(seed)
    half = ((height + 1) // 2, (width + 1) // 2)
    y = cv2.GaussianBlur(noise.integers(0, 255, (height, width), dtype=np.uint8), (5, 5), 0)
    u, v = (noise.integers(90, 160, half, dtype=np.uint8) for _ in range(2))
    return np.asarray(y, np.uint8).reshape(height, width), u, v


@pytest.mark.parametrize("size", SIZES)
def test_a_strip_jpeg_decodes_to_the_same_image_as_one_piece(size: tuple[int, int]) -> None:
    y, u, v = planes(*size)
    jpeg = encode_strips(y, u, v, 80).to_jpeg()
    even = np.vstack([y, y[-1:]]) if len(y) % 2 else y
    whole = simplejpeg.decode_jpeg(simplejpeg.encode_jpeg_yuv_planes(even, u, v, 80))
    np.testing.assert_array_equal(simplejpeg.decode_jpeg(jpeg), whole[: len(y)])


@pytest.mark.parametrize("size", SIZES)
def test_split_restores_the_encoded_strips(size: tuple[int, int]) -> None:
    strips = encode_strips(*planes(*size), 80)
    assert split_strips(strips.to_jpeg()) == strips
    assert strips.header == header_for(size[0], 80)
    assert strips.header != header_for(size[0], 81)


def test_a_range_of_strips_decodes_to_those_rows() -> None:
    strips = encode_strips(*planes(320, 200), 80)
    whole = simplejpeg.decode_jpeg(strips.to_jpeg(), "GRAY")
    part = simplejpeg.decode_jpeg(strips.to_jpeg(2, 5), "GRAY")
    np.testing.assert_array_equal(part, whole[2 * STRIP_PX : 5 * STRIP_PX])
    last = simplejpeg.decode_jpeg(strips.to_jpeg(6), "GRAY")
    np.testing.assert_array_equal(last, whole[6 * STRIP_PX :])


def test_a_replaced_strip_changes_only_its_own_rows() -> None:
    old, new = planes(320, 200), planes(320, 200, seed=2)
    before = encode_strips(*old, 80)
    changed = before.with_strips([0, 3], *new, 80)
    image = simplejpeg.decode_jpeg(changed.to_jpeg(), "GRAY")
    for source, indices in ((new, (0, 3)), (old, (1, 2, 4, 5, 6))):
        expected = simplejpeg.decode_jpeg(encode_strips(*source, 80).to_jpeg(), "GRAY")
        for index in indices:
            rows = np.s_[index * STRIP_PX : (index + 1) * STRIP_PX]
            np.testing.assert_array_equal(image[rows], expected[rows])


def test_other_and_broken_jpegs_have_no_strips() -> None:
    y, u, v = planes(320, 200)
    assert split_strips(simplejpeg.encode_jpeg_yuv_planes(y, u, v, 80)) is None
    assert split_strips(b"\xff\xd8") is None
    assert split_strips(b"\xff\xd8" + bytes(1000)) is None
    jpeg = encode_strips(y, u, v, 80).to_jpeg()
    for cut in (100, 500, len(jpeg) // 2, len(jpeg) - 1):
        assert split_strips(jpeg[:cut]) is None
    without_a_strip = jpeg[: jpeg.index(b"\xff\xd4")] + b"\xff\xd9"
    assert split_strips(without_a_strip) is None
    taller = bytearray(jpeg)
    at = taller.index(b"\xff\xc0") + 5
    taller[at : at + 2] = (8000).to_bytes(2, "big")
    assert split_strips(bytes(taller)) is None
