"""Choose the detector's input size, and resize, crop or letterbox a frame to it. No I/O.

The detector's cost grows with its pixels. Its input therefore has the frame's aspect ratio, as near
as strides of 32 pixels allow: 640×352 for 1280×720, where a few rows at the top and bottom are
cropped, 512×384 for 640×480.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facestream.capture.faces.yuv_frame import CV2_ROTATIONS, LIMITED, NEUTRAL, Plane, YuvFrame
from facestream.common.vision.face_detector import STEP_PX

_MAX_CROP_FACTOR = 1.025  # a side may lose 1.25 % at either end
_MAX_UPSCALE = 2.0


@dataclass(frozen=True, slots=True)
class DetectorInput:
    """Input of the detector, and the transform back to frame coordinates.

    bgr: uint8 `[height, width, 3]`, upright, padded with black.
    scale, origin: float32 `[2]`, x and y. A position in the input times `scale` plus `origin` is
    the position in the upright frame.
    """

    bgr: Plane
    scale: NDArray[np.float32]
    origin: NDArray[np.float32]


def choose_input_size(
    width: int, height: int, max_long_side_px: int, max_short_side_px: int
) -> tuple[int, int]:
    """Return width and height of the detector input for a frame size, multiples of `STEP_PX`.

    Args:
        width, height: of the upright frame.
        max_long_side_px, max_short_side_px: limits of the input, multiples of `STEP_PX`.
    """
    is_landscape = width >= height
    limits = (max_long_side_px, max_short_side_px)
    max_width, max_height = limits if is_landscape else limits[::-1]
    scale = min(max_width / width, max_height / height, _MAX_UPSCALE)
    return _round_to_stride(width * scale), _round_to_stride(height * scale)


def fit_to_input(frame: YuvFrame, width: int, height: int) -> DetectorInput:
    """Scale a frame to the input size.

    It is cropped where little is lost, else padded at the right and bottom.
    """
    ratios = (width / frame.width, height / frame.height)
    can_crop = max(ratios) <= _MAX_CROP_FACTOR * min(ratios)
    scale = min(max(ratios) if can_crop else min(ratios), _MAX_UPSCALE)
    size = (_round_to_even(frame.width * scale), _round_to_even(frame.height * scale))
    scaled = _resize_to_bgr(frame, *(size[::-1] if frame.rotate in (90, 270) else size))
    if frame.rotate:
        scaled = cv2.rotate(scaled, CV2_ROTATIONS[frame.rotate])
    left, top = (
        max(0, (side - limit) // 2) for side, limit in zip(size, (width, height), strict=True)
    )
    bgr = scaled[top : top + height, left : left + width]
    if bgr.shape[:2] != (height, width):
        canvas = np.zeros((height, width, 3), np.uint8)
        canvas[: bgr.shape[0], : bgr.shape[1]] = bgr
        bgr = canvas
    to_frame = np.array([frame.width / size[0], frame.height / size[1]], np.float32)
    return DetectorInput(bgr, to_frame, to_frame * np.array([left, top], np.float32))


def _round_to_stride(length: float) -> int:
    """Return the next lower multiple of `STEP_PX` where little is cropped, else the next higher."""
    lower = int(length) // STEP_PX * STEP_PX
    return lower if length <= _MAX_CROP_FACTOR * lower else lower + STEP_PX


def _round_to_even(length: float) -> int:
    """Return an even length: the chroma planes have half the size."""
    return max(2, round(length / 2) * 2)


def _resize_to_bgr(frame: YuvFrame, width: int, height: int) -> Plane:
    half = (width // 2, height // 2)
    i420 = np.empty((height * 3 // 2, width), np.uint8)
    luma = i420[:height]
    _resize(frame.y, (width, height), luma)
    chroma = i420[height:].reshape(-1)
    size = half[0] * half[1]
    _resize(frame.u, half, chroma[:size].reshape(half[1], half[0]))
    _resize(frame.v, half, chroma[size:].reshape(half[1], half[0]))
    if frame.is_full_range:
        # The conversion below expects limited range. The detector does not need the lost precision.
        low, luma_steps, chroma_steps = LIMITED
        cv2.addWeighted(luma, luma_steps / 255, luma, 0, low, dst=luma)
        factor = chroma_steps / 255
        cv2.addWeighted(chroma, factor, chroma, 0, NEUTRAL * (1 - factor), dst=chroma)
    bgr: Plane = cv2.cvtColor(i420, cv2.COLOR_YUV2BGR_I420)
    return bgr


def _resize(plane: Plane, size: tuple[int, int], target: Plane) -> None:
    """Resize a plane into `target`.

    It is halved as often as possible, which OpenCV does fast: by area, any other factor takes ten
    times as long.
    """
    while plane.shape[1] >= 2 * size[0] and plane.shape[0] >= 2 * size[1]:
        half = (plane.shape[1] // 2, plane.shape[0] // 2)
        if half == size:
            cv2.resize(plane, size, dst=target, interpolation=cv2.INTER_AREA)
            return
        plane = cv2.resize(plane, half, interpolation=cv2.INTER_AREA)
    cv2.resize(plane, size, dst=target, interpolation=cv2.INTER_LINEAR)
