"""Detector input for frames of every size and aspect ratio."""

from __future__ import annotations

from typing import get_args

import av
import cv2
import numpy as np
import pytest
import simplejpeg
from facestream.capture.faces.detector_input import choose_input_size, fit_to_input
from facestream.capture.faces.yuv_frame import from_av_frame
from facestream.common.core.frame_limits import Rotation
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
    ("frame_size", "size"),
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
def test_the_input_has_the_aspect_ratio_of_the_frame(
    frame_size: tuple[int, int], size: tuple[int, int]
) -> None:
    assert choose_input_size(*frame_size, 640, 384) == size


@pytest.mark.parametrize("height", range(300, 1300, 101))
def test_hardly_anything_of_a_frame_is_cropped(height: int) -> None:
    for width in range(300, 1300, 37):
        size = choose_input_size(width, height, 640, 384)
        assert max(size) <= 640
        assert min(size) <= 384
        assert [side % STEP_PX for side in size] == [0, 0]
        fitted = fit_to_input(
            from_av_frame(frame_of(np.zeros((height, width, 3), np.uint8)), 0), *size
        )
        assert max(fitted.origin / (width, height)) < 0.017  # 1.25 %, and what rounding adds
        assert fitted.scale[0] == pytest.approx(fitted.scale[1], rel=0.02)


@pytest.mark.parametrize("rotate", get_args(Rotation))
@pytest.mark.parametrize("size", [(640, 360), (1280, 720), (1920, 1080)])
def test_input_coordinates_map_to_frame_coordinates(
    rgb: Rgb, rotate: Rotation, size: tuple[int, int]
) -> None:
    upright = cv2.resize(rgb[:288, :512], size)
    frame = from_av_frame(frame_of(np.rot90(upright, rotate // 90)), rotate)
    cropped, padded = fit_to_input(frame, 640, 352), fit_to_input(frame, 640, 384)
    assert cropped.origin.tolist() == [0, 4 * size[0] / 640]
    assert padded.origin.tolist() == [0, 0]
    assert not padded.bgr[360:].any()
    for fitted in (cropped, padded):
        (x, y), (w, h) = np.array([220, 50]) * fitted.scale + fitted.origin, 100 * fitted.scale
        region = upright[round(y) : round(y + h), round(x) : round(x + w)]
        expected = cv2.resize(region, (100, 100), interpolation=cv2.INTER_AREA)
        actual = fitted.bgr[50:150, 220:320, ::-1].astype(float)
        assert np.abs(actual - expected).mean() < 6
        shifted = fitted.bgr[54:154, 220:320, ::-1].astype(float)
        assert np.abs(shifted - expected).mean() > 12


def test_a_frame_of_another_aspect_ratio_is_padded_not_distorted(rgb: Rgb) -> None:
    fitted = fit_to_input(from_av_frame(frame_of(rgb[:384, :200]), 0), 640, 384)
    assert fitted.scale[0] == pytest.approx(fitted.scale[1], rel=0.02)
    assert fitted.bgr[:, 210:].max() == 0
    assert fitted.bgr[:, :190].max() > 100
