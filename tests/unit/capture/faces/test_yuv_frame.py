"""Colours and geometry of what is made from a frame's planes."""

from typing import get_args

import av
import cv2
import numpy as np
import pytest
import simplejpeg
from facestream.capture.faces.detector_input import fit_to_input
from facestream.capture.faces.yuv_frame import (
    copy_face_region,
    face_crop,
    face_luma,
    from_av_frame,
    to_jpeg,
)
from facestream.common.cameras.models import Rotation
from facestream.common.core.paths import SAMPLES_DIR
from facestream.common.vision.face_alignment import align
from numpy.typing import NDArray

SAMPLE = SAMPLES_DIR / "astronaut.jpg"
LANDMARKS = np.array([[202, 108], [244, 105], [222, 135], [210, 152], [240, 150]], np.float32)
Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def rgb() -> Picture:
    picture = simplejpeg.decode_jpeg(SAMPLE.read_bytes())
    return np.ascontiguousarray(picture[:384, :512])


def _frame(rgb: Picture, pixel_format: str, matrix: str, colour_range: str) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
    if pixel_format == "rgb24":
        return frame
    return frame.reformat(format=pixel_format, dst_colorspace=matrix, dst_color_range=colour_range)


def _error(picture: Picture, expected: Picture) -> float:
    """Largest mean deviation of a channel: what one would see as a wrong tint."""
    return float(np.abs((picture.astype(float) - expected).mean(axis=(0, 1))).max())


@pytest.mark.parametrize(
    ("pixel_format", "colour_range"),
    [
        ("yuv420p", "MPEG"),
        ("yuv420p", "JPEG"),
        ("yuvj420p", "JPEG"),
        ("yuvj422p", "JPEG"),
        ("nv12", "MPEG"),
        ("yuv444p", "MPEG"),
        ("yuv420p10le", "MPEG"),
        ("rgb24", "JPEG"),
    ],
)
@pytest.mark.parametrize("matrix", ["ITU601", "ITU709"])
def test_colours_are_right_whatever_the_camera_sends(
    rgb: Picture, pixel_format: str, colour_range: str, matrix: str
) -> None:
    picture = from_av_frame(_frame(rgb, pixel_format, matrix, colour_range), 0)
    crop = face_crop(picture, LANDMARKS, 160)
    assert _error(crop, align(rgb, LANDMARKS, 160)) < 1.5
    assert _error(simplejpeg.decode_jpeg(to_jpeg(picture, 95)), rgb) < 1.5
    canvas = fit_to_input(picture, 512, 384).bgr
    assert _error(canvas[:, :, ::-1], rgb) < 5.0  # the detector may see BT.709 as BT.601


@pytest.mark.parametrize("rotate", get_args(Rotation))
def test_everything_comes_out_upright(rgb: Picture, rotate: Rotation) -> None:
    lying = np.ascontiguousarray(np.rot90(rgb, rotate // 90))  # counter-clockwise
    picture = from_av_frame(_frame(lying, "yuv420p", "ITU601", "MPEG"), rotate)
    assert (picture.width, picture.height) == (512, 384)
    seen = fit_to_input(picture, 256, 192)
    assert (seen.scale.tolist(), seen.origin.tolist()) == ([2, 2], [0, 0])
    small = cv2.resize(rgb, (256, 192), interpolation=cv2.INTER_AREA)
    assert np.abs(seen.bgr[:, :, ::-1].astype(float) - small).mean() < 3.0
    jpeg = simplejpeg.decode_jpeg(to_jpeg(picture, 95))
    assert np.abs(jpeg.astype(float) - rgb).mean() < 3.0
    crop = face_crop(picture, LANDMARKS, 160)
    assert np.abs(crop.astype(float) - align(rgb, LANDMARKS, 160)).mean() < 3.0
    luma = face_luma(picture, (200.0, 90.0, 50.0, 70.0))
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[90:160, 200:250]
    assert luma.size == grey.size
    assert abs(float(luma.mean()) - (16 + float(grey.mean()) * 219 / 255)) < 1.0


def test_odd_sizes_are_no_trouble(rgb: Picture) -> None:
    picture = from_av_frame(_frame(rgb[:301, :333], "yuv420p", "ITU601", "MPEG"), 90)
    assert (picture.width, picture.height) == (301, 333)
    assert simplejpeg.decode_jpeg(to_jpeg(picture, 80)).shape == (333, 301, 3)
    assert face_crop(picture, LANDMARKS, 160).shape == (160, 160, 3)
    assert fit_to_input(picture, 384, 640).bgr.shape == (640, 384, 3)


@pytest.mark.parametrize("rotate", get_args(Rotation))
@pytest.mark.parametrize("shift", [(0, 0), (-150, -90), (170, 101)])  # inside, over two corners
def test_a_face_apart_is_cut_as_from_the_whole_picture(
    rgb: Picture, rotate: Rotation, shift: tuple[int, int]
) -> None:
    picture = from_av_frame(_frame(rgb, "yuv420p", "ITU601", "MPEG"), rotate)
    landmarks = LANDMARKS + np.array(shift, np.float32)
    apart, there = copy_face_region(picture, landmarks)
    assert apart.y.base is None  # nothing of the frame is held
    assert apart.y.size < picture.y.size / 2
    np.testing.assert_array_equal(face_crop(apart, there, 160), face_crop(picture, landmarks, 160))


def test_a_face_outside_the_picture_is_refused(rgb: Picture) -> None:
    picture = from_av_frame(_frame(rgb, "yuv420p", "ITU601", "MPEG"), 0)
    with pytest.raises(ValueError, match="outside"):
        face_crop(picture, LANDMARKS + 5000, 160)
    assert face_luma(picture, (9000.0, 9000.0, 10.0, 10.0)).size == 0
