"""Pictures of every shape, as the detector sees them."""

from __future__ import annotations

from typing import get_args

import av
import cv2
import numpy as np
import pytest
import simplejpeg
from facestream.capture.faces.detector_input import choose_input_size, fit_to_input
from facestream.capture.faces.yuv_frame import from_av_frame
from facestream.common.cameras.models import Rotation
from facestream.common.core.paths import SAMPLES_DIR
from facestream.common.vision.face_detector import STEP_PX
from numpy.typing import NDArray

SAMPLE = SAMPLES_DIR / "astronaut.jpg"
Rgb = NDArray[np.uint8]


@pytest.fixture(scope="module")
def rgb() -> Rgb:
    return simplejpeg.decode_jpeg(SAMPLE.read_bytes())


def frame_of(rgb: Rgb) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24").reformat(format="yuv420p")


@pytest.mark.parametrize(
    ("picture", "size"),
    [
        ((1280, 720), (640, 352)),
        ((1920, 1080), (640, 352)),
        ((720, 1280), (352, 640)),
        ((640, 480), (512, 384)),
        ((480, 640), (384, 512)),
        ((1024, 1024), (384, 384)),
        ((1600, 1000), (608, 384)),
        ((160, 120), (320, 256)),
        ((2000, 20), (640, 32)),
    ],
)
def test_the_input_has_the_pictures_shape(picture: tuple[int, int], size: tuple[int, int]) -> None:
    assert choose_input_size(*picture, 640, 384) == size


@pytest.mark.parametrize("height", range(300, 1300, 101))
def test_hardly_anything_of_a_picture_is_left_out(height: int) -> None:
    for width in range(300, 1300, 37):
        size = choose_input_size(width, height, 640, 384)
        assert max(size) <= 640
        assert min(size) <= 384
        assert [side % STEP_PX for side in size] == [0, 0]
        seen = fit_to_input(
            from_av_frame(frame_of(np.zeros((height, width, 3), np.uint8)), 0), *size
        )
        assert max(seen.origin / (width, height)) < 0.017  # 1.25 %, and what rounding adds
        assert seen.scale[0] == pytest.approx(seen.scale[1], rel=0.02)


@pytest.mark.parametrize("rotate", get_args(Rotation))
@pytest.mark.parametrize("size", [(640, 360), (1280, 720), (1920, 1080)])
def test_places_in_it_are_places_in_the_picture(
    rgb: Rgb, rotate: Rotation, size: tuple[int, int]
) -> None:
    upright = cv2.resize(rgb[:288, :512], size)
    picture = from_av_frame(frame_of(np.rot90(upright, rotate // 90)), rotate)
    cut, padded = fit_to_input(picture, 640, 352), fit_to_input(picture, 640, 384)
    assert cut.origin.tolist() == [0, 4 * size[0] / 640]
    assert padded.origin.tolist() == [0, 0]
    assert not padded.bgr[360:].any()
    for seen in (cut, padded):
        (x, y), (w, h) = np.array([220, 50]) * seen.scale + seen.origin, 100 * seen.scale
        there = upright[round(y) : round(y + h), round(x) : round(x + w)]
        expected = cv2.resize(there, (100, 100), interpolation=cv2.INTER_AREA)
        found = seen.bgr[50:150, 220:320, ::-1].astype(float)
        assert np.abs(found - expected).mean() < 6
        moved = seen.bgr[54:154, 220:320, ::-1].astype(float)
        assert np.abs(moved - expected).mean() > 12


def test_a_picture_of_another_shape_is_padded_not_bent(rgb: Rgb) -> None:
    seen = fit_to_input(from_av_frame(frame_of(rgb[:384, :200]), 0), 640, 384)
    assert seen.scale[0] == pytest.approx(seen.scale[1], rel=0.02)
    assert seen.bgr[:, 210:].max() == 0
    assert seen.bgr[:, :190].max() > 100
