"""How a picture is made to fit the detector: what size its input should have, and what goes in.

The detector's cost grows with its pixels, so its input has the picture's shape, as near as steps of
32 pixels allow: 640×352 of 1280×720, where a few rows above and below are left out, 512×384 of
640×480. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facestream.capture.faces.yuv_frame import CV2_ROTATIONS, LIMITED, NEUTRAL, Plane, YuvFrame
from facestream.common.vision.face_detector import STEP_PX

_MAX_CUT = 1.025  # what may be left out of a side, half of it at either end: 1.25 %
_MAX_ENLARGEMENT = 2.0  # of a small picture


@dataclass(frozen=True, slots=True)
class DetectorInput:
    """A picture as the detector sees it.

    bgr: uint8 `[height, width, 3]`, upright, black where there is no picture. scale, origin:
    float32 `[2]`, x and y: a place in it times `scale` plus `origin` is one in the upright picture.
    """

    bgr: Plane
    scale: NDArray[np.float32]
    origin: NDArray[np.float32]


def choose_input_size(width: int, height: int, longer_px: int, shorter_px: int) -> tuple[int, int]:
    """Width and height of the input for upright pictures of a size, multiples of `STEP_PX`.

    Args:
        width, height: of the pictures.
        longer_px, shorter_px: sides that it may have at most, multiples of `STEP_PX`.
    """
    lies = width >= height
    most = (longer_px, shorter_px) if lies else (shorter_px, longer_px)
    scale = min(most[0] / width, most[1] / height, _MAX_ENLARGEMENT)
    return _in_steps(width * scale), _in_steps(height * scale)


def fit_to_input(picture: YuvFrame, width: int, height: int) -> DetectorInput:
    """A picture for an input of this size: filled where that leaves out hardly anything, else
    wholly inside, at the top left.
    """
    fits = (width / picture.width, height / picture.height)
    scale = min(max(fits) if max(fits) <= _MAX_CUT * min(fits) else min(fits), _MAX_ENLARGEMENT)
    size = (_even(picture.width * scale), _even(picture.height * scale))
    small = _small_bgr(picture, *(size[::-1] if picture.rotate in (90, 270) else size))
    if picture.rotate:
        small = cv2.rotate(small, CV2_ROTATIONS[picture.rotate])
    left, top = (max(0, (has - room) // 2) for has, room in zip(size, (width, height), strict=True))
    seen = small[top : top + height, left : left + width]
    if seen.shape[:2] != (height, width):
        canvas = np.zeros((height, width, 3), np.uint8)
        canvas[: seen.shape[0], : seen.shape[1]] = seen
        seen = canvas
    back = np.array([picture.width / size[0], picture.height / size[1]], np.float32)
    return DetectorInput(seen, back, back * np.array([left, top], np.float32))


def _in_steps(length: float) -> int:
    """The multiple of `STEP_PX` below where that leaves out hardly anything, else the one above."""
    below = int(length) // STEP_PX * STEP_PX
    return below if length <= _MAX_CUT * below else below + STEP_PX


def _even(length: float) -> int:
    """The chroma planes have half of it."""
    return max(2, round(length / 2) * 2)


def _small_bgr(picture: YuvFrame, width: int, height: int) -> Plane:
    half = (width // 2, height // 2)
    stacked = np.empty((height * 3 // 2, width), np.uint8)
    _resize(picture.y, (width, height), stacked[:height])
    chroma = stacked[height:].reshape(-1)
    size = half[0] * half[1]
    _resize(picture.u, half, chroma[:size].reshape(half[1], half[0]))
    _resize(picture.v, half, chroma[size:].reshape(half[1], half[0]))
    if picture.is_full_range:
        # The conversion below takes limited range; the detector does not mind the last bit.
        low, luma, chroma_steps = LIMITED
        cv2.addWeighted(
            stacked[:height], luma / 255, stacked[:height], 0, low, dst=stacked[:height]
        )
        factor = chroma_steps / 255
        cv2.addWeighted(chroma, factor, chroma, 0, NEUTRAL * (1 - factor), dst=chroma)
    small: Plane = cv2.cvtColor(stacked, cv2.COLOR_YUV2BGR_I420)
    return small


def _resize(plane: Plane, size: tuple[int, int], target: Plane) -> None:
    """Halves as often as it can, which OpenCV does fast: by area, any other factor takes ten times
    as long.
    """
    while plane.shape[1] >= 2 * size[0] and plane.shape[0] >= 2 * size[1]:
        half = (plane.shape[1] // 2, plane.shape[0] // 2)
        if half == size:
            cv2.resize(plane, size, dst=target, interpolation=cv2.INTER_AREA)
            return
        plane = cv2.resize(plane, half, interpolation=cv2.INTER_AREA)
    cv2.resize(plane, size, dst=target, interpolation=cv2.INTER_LINEAR)
