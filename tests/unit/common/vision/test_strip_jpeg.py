"""A JPEG in strips is one picture to any decoder, and comes apart and together again."""

import cv2
import numpy as np
import pytest
import simplejpeg
from facestream.common.vision.strip_jpeg import STRIP_PX, encode, split, tables_of
from numpy.typing import NDArray

SIZES = [(1280, 720), (640, 360), (302, 333), (16, 16), (320, 65), (2, 64)]
Planes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


def planes(width: int, height: int, seed: int = 1) -> Planes:
    noise = np.random.default_rng(seed)
    half = ((height + 1) // 2, (width + 1) // 2)
    y = cv2.GaussianBlur(noise.integers(0, 255, (height, width), dtype=np.uint8), (5, 5), 0)
    u, v = (noise.integers(90, 160, half, dtype=np.uint8) for _ in range(2))
    return np.asarray(y, np.uint8).reshape(height, width), u, v


@pytest.mark.parametrize("size", SIZES)
def test_in_strips_or_in_one_piece_it_is_the_same_picture(size: tuple[int, int]) -> None:
    y, u, v = planes(*size)
    jpeg = encode(y, u, v, 80).jpeg()
    even = np.vstack([y, y[-1:]]) if len(y) % 2 else y
    whole = simplejpeg.decode_jpeg(simplejpeg.encode_jpeg_yuv_planes(even, u, v, 80))
    np.testing.assert_array_equal(simplejpeg.decode_jpeg(jpeg), whole[: len(y)])


@pytest.mark.parametrize("size", SIZES)
def test_split_finds_what_was_encoded(size: tuple[int, int]) -> None:
    strips = encode(*planes(*size), 80)
    assert split(strips.jpeg()) == strips
    assert strips.tables == tables_of(size[0], 80)
    assert strips.tables != tables_of(size[0], 81)


def test_a_part_is_the_picture_of_those_rows() -> None:
    strips = encode(*planes(320, 200), 80)
    whole = simplejpeg.decode_jpeg(strips.jpeg(), "GRAY")
    part = simplejpeg.decode_jpeg(strips.jpeg(2, 5), "GRAY")
    np.testing.assert_array_equal(part, whole[2 * STRIP_PX : 5 * STRIP_PX])
    last = simplejpeg.decode_jpeg(strips.jpeg(6), "GRAY")
    np.testing.assert_array_equal(last, whole[6 * STRIP_PX :])


def test_a_changed_strip_changes_its_rows_and_no_others() -> None:
    old, new = planes(320, 200), planes(320, 200, seed=2)
    before = encode(*old, 80)
    changed = before.with_strips([0, 3], *new, 80)
    picture = simplejpeg.decode_jpeg(changed.jpeg(), "GRAY")
    for source, numbers in ((new, (0, 3)), (old, (1, 2, 4, 5, 6))):
        expected = simplejpeg.decode_jpeg(encode(*source, 80).jpeg(), "GRAY")
        for number in numbers:
            rows = np.s_[number * STRIP_PX : (number + 1) * STRIP_PX]
            np.testing.assert_array_equal(picture[rows], expected[rows])


def test_other_jpegs_and_broken_ones_have_no_strips() -> None:
    y, u, v = planes(320, 200)
    assert split(simplejpeg.encode_jpeg_yuv_planes(y, u, v, 80)) is None
    assert split(b"\xff\xd8") is None
    assert split(b"\xff\xd8" + bytes(1000)) is None
    jpeg = encode(y, u, v, 80).jpeg()
    for cut in (100, 500, len(jpeg) // 2, len(jpeg) - 1):
        assert split(jpeg[:cut]) is None
    without_a_strip = jpeg[: jpeg.index(b"\xff\xd4")] + b"\xff\xd9"
    assert split(without_a_strip) is None
    taller = bytearray(jpeg)
    at = taller.index(b"\xff\xc0") + 5
    taller[at : at + 2] = (8000).to_bytes(2, "big")
    assert split(bytes(taller)) is None
