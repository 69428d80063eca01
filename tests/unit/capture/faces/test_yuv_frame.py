"""Colors and geometry of crops and JPEGs cut from YUV planes."""

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
from facestream.common.core.frame_limits import Rotation
from facestream.common.core.paths import SAMPLES_DIR
from facestream.common.vision.face_alignment import align
from numpy.typing import NDArray

SAMPLE = SAMPLES_DIR / "astronaut.jpg"
LANDMARKS = np.array([[202, 108], [244, 105], [222, 135], [210, 152], [240, 150]], np.float32)
Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def rgb() -> Image:
    image = simplejpeg.decode_jpeg(SAMPLE.read_bytes())
    return np.ascontiguousarray(image[:384, :512])


def _frame(rgb: Image, pixel_format: str, matrix: str, color_range: str) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
    if pixel_format == "rgb24":
        return frame
    return frame.reformat(format=pixel_format, dst_colorspace=matrix, dst_color_range=color_range)


def _error(image: Image, expected: Image) -> float:
    """Return the largest mean deviation of a channel, visible as a wrong tint."""
    return float(np.abs((image.astype(float) - expected).mean(axis=(0, 1))).max())


@pytest.mark.parametrize(
    ("pixel_format", "color_range"),
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
def test_colors_are_right_whatever_the_camera_sends(
    rgb: Image, pixel_format: str, color_range: str, matrix: str
) -> None:
    frame = from_av_frame(_frame(rgb, pixel_format, matrix, color_range), 0)
    crop = face_crop(frame, LANDMARKS, 160)
    assert _error(crop, align(rgb, LANDMARKS, 160)) < 1.5
    assert _error(simplejpeg.decode_jpeg(to_jpeg(frame, 95)), rgb) < 1.5
    canvas = fit_to_input(frame, 512, 384).bgr
    assert _error(canvas[:, :, ::-1], rgb) < 5.0  # the detector may see BT.709 as BT.601


@pytest.mark.parametrize("rotate", get_args(Rotation))
def test_crops_and_jpegs_are_upright(rgb: Image, rotate: Rotation) -> None:
    rotated = np.ascontiguousarray(np.rot90(rgb, rotate // 90))  # counter-clockwise
    frame = from_av_frame(_frame(rotated, "yuv420p", "ITU601", "MPEG"), rotate)
    assert (frame.width, frame.height) == (512, 384)
    fitted = fit_to_input(frame, 256, 192)
    assert (fitted.scale.tolist(), fitted.origin.tolist()) == ([2, 2], [0, 0])
    small = cv2.resize(rgb, (256, 192), interpolation=cv2.INTER_AREA)
    assert np.abs(fitted.bgr[:, :, ::-1].astype(float) - small).mean() < 3.0
    jpeg = simplejpeg.decode_jpeg(to_jpeg(frame, 95))
    assert np.abs(jpeg.astype(float) - rgb).mean() < 3.0
    crop = face_crop(frame, LANDMARKS, 160)
    assert np.abs(crop.astype(float) - align(rgb, LANDMARKS, 160)).mean() < 3.0
    luma = face_luma(frame, (200.0, 90.0, 50.0, 70.0))
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[90:160, 200:250]
    assert luma.size == gray.size
    assert abs(float(luma.mean()) - (16 + float(gray.mean()) * 219 / 255)) < 1.0


def test_odd_sizes_are_supported(rgb: Image) -> None:
    frame = from_av_frame(_frame(rgb[:301, :333], "yuv420p", "ITU601", "MPEG"), 90)
    assert (frame.width, frame.height) == (301, 333)
    assert simplejpeg.decode_jpeg(to_jpeg(frame, 80)).shape == (333, 301, 3)
    assert face_crop(frame, LANDMARKS, 160).shape == (160, 160, 3)
    assert fit_to_input(frame, 384, 640).bgr.shape == (640, 384, 3)


@pytest.mark.parametrize("rotate", get_args(Rotation))
@pytest.mark.parametrize("shift", [(0, 0), (-150, -90), (170, 101)])  # inside, over two corners
def test_a_copied_region_yields_the_same_crop_as_the_frame(
    rgb: Image, rotate: Rotation, shift: tuple[int, int]
) -> None:
    frame = from_av_frame(_frame(rgb, "yuv420p", "ITU601", "MPEG"), rotate)
    landmarks = LANDMARKS + np.array(shift, np.float32)
    region, region_landmarks = copy_face_region(frame, landmarks)
    assert region.y.base is None  # a copy, not a view
    assert region.y.size < frame.y.size / 2
    np.testing.assert_array_equal(
        face_crop(region, region_landmarks, 160), face_crop(frame, landmarks, 160)
    )


def test_a_face_outside_the_frame_is_rejected(rgb: Image) -> None:
    frame = from_av_frame(_frame(rgb, "yuv420p", "ITU601", "MPEG"), 0)
    with pytest.raises(ValueError, match="outside"):
        face_crop(frame, LANDMARKS + 5000, 160)
    assert face_luma(frame, (9000.0, 9000.0, 10.0, 10.0)).size == 0
