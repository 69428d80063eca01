"""JPEG to planes and back."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import simplejpeg
from facestream.common.core.errors import ImageError
from facestream.common.vision import strip_jpeg
from facestream.common.vision.yuv_image import decode, encode, solid
from numpy.typing import NDArray


def scene(width: int, height: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256 // 2 + 60], -1).astype(
        np.uint8
    )


def jpeg_of(width: int, height: int, subsampling: str = "420") -> bytes:
    data: bytes = simplejpeg.encode_jpeg(
        scene(width, height), 95, colorspace="RGB", colorsubsampling=subsampling
    )
    return data


@pytest.mark.parametrize("size", [(1280, 720), (641, 361), (16, 16), (100, 37)])
@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
def test_a_picture_comes_through_as_it_was(size: tuple[int, int], subsampling: str) -> None:
    picture = decode(jpeg_of(*size, subsampling))
    assert (picture.width, picture.height) == size
    back = simplejpeg.decode_jpeg(encode(picture, 95), "RGB")
    assert back.shape == (size[1], size[0], 3)
    inner = np.s_[4:-4, 4:-4]
    assert np.abs(back.astype(int) - scene(*size))[inner].mean() < 6


def test_a_grey_picture_is_a_picture_too() -> None:
    grey = np.ascontiguousarray(scene(64, 48)[:, :, :1])
    picture = decode(simplejpeg.encode_jpeg(grey, 95, colorspace="GRAY", colorsubsampling="Gray"))
    assert picture.u.shape == (24, 32)
    assert np.abs(picture.u.astype(int) - 128).max() <= 2


@pytest.mark.parametrize("cut", [3, 200, 2000, -2])
def test_a_truncated_picture_is_refused_or_whole_but_never_half(cut: int) -> None:
    jpeg = jpeg_of(320, 240)
    if cut == -2:  # only the end marker is missing
        assert decode(jpeg[:cut]).width == 320
        return
    with pytest.raises(ImageError, match="cannot be decoded"):
        decode(jpeg[:cut])


def test_rubbish_is_refused_and_the_next_picture_is_fine() -> None:
    with pytest.raises(ImageError):
        decode(b"\xff\xd8" + bytes(1000))
    assert decode(jpeg_of(320, 240)).width == 320


def test_each_thread_has_a_decoder_of_its_own() -> None:
    found: list[bool] = []

    def work(width: int) -> None:
        jpeg = jpeg_of(width, 64)
        found.append(all(decode(jpeg).width == width for _ in range(20)))

    threads = [threading.Thread(target=work, args=(64 + 16 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


def test_of_a_picture_in_strips_only_what_was_reached_is_encoded_anew() -> None:
    planes = solid(320, 200, (90, 110, 140))
    planes.y[:] = np.random.default_rng(1).integers(60, 180, planes.y.shape)
    sent = strip_jpeg.encode(planes.y, planes.u, planes.v, 80)
    picture = decode(sent.jpeg())
    assert encode(picture, 80) == sent.jpeg(), "untouched it goes out as it came"

    picture.ensure_decoded(70, 90)
    picture.y[70:90] = 255
    back = strip_jpeg.split(encode(picture, 80))
    assert back is not None
    assert [i for i in range(7) if back.data[i] != sent.data[i]] == [2]
    shown = simplejpeg.decode_jpeg(encode(picture, 80), "GRAY")[:, :, 0]
    assert shown[72:88].min() > 230
    rest = simplejpeg.decode_jpeg(sent.jpeg(), "GRAY")[:, :, 0]
    assert (shown[:64] == rest[:64]).all()
    assert (shown[96:] == rest[96:]).all()


def test_of_another_quality_a_picture_in_strips_is_encoded_whole() -> None:
    planes = solid(320, 200, (90, 110, 140))
    picture = decode(strip_jpeg.encode(planes.y, planes.u, planes.v, 80).jpeg())
    back = simplejpeg.decode_jpeg(encode(picture, 60), "GRAY")
    assert back.shape[:2] == (200, 320)
    assert np.abs(back.astype(int) - 90).max() <= 2


def test_a_damaged_strip_is_refused_when_it_is_reached() -> None:
    planes = solid(320, 200, (90, 110, 140))
    planes.y[:] = np.random.default_rng(1).integers(60, 180, planes.y.shape)
    sent = strip_jpeg.encode(planes.y, planes.u, planes.v, 80)
    damaged = replace(sent, data=(*sent.data[:3], sent.data[3][:20], *sent.data[4:]))
    picture = decode(damaged.jpeg())
    picture.ensure_decoded(0, 64)
    with pytest.raises(ImageError):
        picture.ensure_decoded(0, 128)
    assert decode(sent.jpeg()).width == 320
