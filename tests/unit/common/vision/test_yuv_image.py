"""JPEG decoding into YUV planes, and encoding."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import simplejpeg
from facestream.common.core.errors import ImageError
from facestream.common.vision import strip_jpeg
from facestream.common.vision.yuv_image import decode_jpeg, encode_jpeg, solid_color
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
def test_decoding_and_encoding_preserve_the_image(size: tuple[int, int], subsampling: str) -> None:
    image = decode_jpeg(jpeg_of(*size, subsampling))
    assert (image.width, image.height) == size
    back = simplejpeg.decode_jpeg(encode_jpeg(image, 95), "RGB")
    assert back.shape == (size[1], size[0], 3)
    inner = np.s_[4:-4, 4:-4]
    assert np.abs(back.astype(int) - scene(*size))[inner].mean() < 6


def test_a_gray_jpeg_is_decoded() -> None:
    gray = np.ascontiguousarray(scene(64, 48)[:, :, :1])
    image = decode_jpeg(
        simplejpeg.encode_jpeg(gray, 95, colorspace="GRAY", colorsubsampling="Gray")
    )
    assert image.u.shape == (24, 32)
    assert np.abs(image.u.astype(int) - 128).max() <= 2


@pytest.mark.parametrize("cut", [3, 200, 2000, -2])
def test_a_truncated_jpeg_is_rejected_or_decoded_whole(cut: int) -> None:
    jpeg = jpeg_of(320, 240)
    if cut == -2:  # only the end marker is missing
        assert decode_jpeg(jpeg[:cut]).width == 320
        return
    with pytest.raises(ImageError, match="cannot decode JPEG"):
        decode_jpeg(jpeg[:cut])


def test_garbage_is_rejected_and_the_next_image_decodes() -> None:
    with pytest.raises(ImageError):
        decode_jpeg(b"\xff\xd8" + bytes(1000))
    assert decode_jpeg(jpeg_of(320, 240)).width == 320


def test_each_thread_has_its_own_decoder() -> None:
    found: list[bool] = []

    def work(width: int) -> None:
        jpeg = jpeg_of(width, 64)
        found.append(all(decode_jpeg(jpeg).width == width for _ in range(20)))

    threads = [threading.Thread(target=work, args=(64 + 16 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


def test_only_decoded_strips_are_encoded_again() -> None:
    planes = solid_color(320, 200, (90, 110, 140))
    planes.y[:] = np.random.default_rng(1).integers(60, 180, planes.y.shape)
    sent = strip_jpeg.encode_strips(planes.y, planes.u, planes.v, 80)
    image = decode_jpeg(sent.to_jpeg())
    assert encode_jpeg(image, 80) == sent.to_jpeg(), "an unchanged image keeps its bytes"

    image.ensure_decoded(70, 90)
    image.y[70:90] = 255
    back = strip_jpeg.split_strips(encode_jpeg(image, 80))
    assert back is not None
    assert [i for i in range(7) if back.data[i] != sent.data[i]] == [2]
    shown = simplejpeg.decode_jpeg(encode_jpeg(image, 80), "GRAY")[:, :, 0]
    assert shown[72:88].min() > 230
    rest = simplejpeg.decode_jpeg(sent.to_jpeg(), "GRAY")[:, :, 0]
    assert (shown[:64] == rest[:64]).all()
    assert (shown[96:] == rest[96:]).all()


def test_a_strip_jpeg_of_another_quality_is_encoded_whole() -> None:
    planes = solid_color(320, 200, (90, 110, 140))
    image = decode_jpeg(strip_jpeg.encode_strips(planes.y, planes.u, planes.v, 80).to_jpeg())
    back = simplejpeg.decode_jpeg(encode_jpeg(image, 60), "GRAY")
    assert back.shape[:2] == (200, 320)
    assert np.abs(back.astype(int) - 90).max() <= 2


def test_a_damaged_strip_is_rejected_when_it_is_decoded() -> None:
    planes = solid_color(320, 200, (90, 110, 140))
    planes.y[:] = np.random.default_rng(1).integers(60, 180, planes.y.shape)
    sent = strip_jpeg.encode_strips(planes.y, planes.u, planes.v, 80)
    damaged = replace(sent, data=(*sent.data[:3], sent.data[3][:20], *sent.data[4:]))
    image = decode_jpeg(damaged.to_jpeg())
    image.ensure_decoded(0, 64)
    with pytest.raises(ImageError):
        image.ensure_decoded(0, 128)
    assert decode_jpeg(sent.to_jpeg()).width == 320
