"""Data augmentation: degrade a stored face crop to the quality of phone video.

No I/O and no global state: the same crop and seed give the same view on every machine. Geometry is
one warp; every other augmentation is applied with its own probability.
"""

from __future__ import annotations

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from training.data.face_crops import STORE_MARGIN

_FLIP, _COLOR, _GRAY, _LOW_LIGHT = 0.5, 0.7, 0.05, 0.05
_LOW_RESOLUTION, _BLUR, _NOISE, _JPEG, _HIDE = 0.22, 0.12, 0.15, 0.25, 0.15
_LIGHT_FACTOR = 0.3  # factor on the probabilities of grayscale and corruptions if light


def center_view(crop: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Return the stored crop without its context, unaugmented: `[size_px, size_px, 3]`."""
    return _warp(crop, size_px, 0.0, 1.0, (0.0, 0.0), 1.0, False, cv2.BORDER_REPLICATE)


def augment(
    crop: NDArray[np.uint8], size_px: int, random: np.random.Generator, light: bool = False
) -> NDArray[np.uint8]:
    """Return one augmented view of a stored RGB crop: uint8 `[size_px, size_px, 3]`.

    Args:
        crop: from `FaceSet.crops`.
        size_px: side of the view.
        random: source of every random choice.
        light: apply grayscale and corruptions at 0.3 of their usual probability.
    """
    factor = _LIGHT_FACTOR if light else 1.0
    scale = float(np.exp(random.normal(0, 0.07)))
    view = _warp(
        crop,
        size_px,
        angle_deg=float(random.normal(0, 7)),
        scale=float(np.clip(scale, 0.82, 1.22)),
        shift=tuple(random.normal(0, 0.025, 2)),
        aspect=float(np.exp(random.normal(0, 0.03))),
        flip=bool(random.random() < _FLIP),
        border=cv2.BORDER_REPLICATE if random.random() < 0.7 else cv2.BORDER_CONSTANT,
    )
    if random.random() < _COLOR:
        view = _jitter_color(view, random)
    if random.random() < factor * _GRAY:
        view = cv2.cvtColor(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if random.random() < factor * _LOW_RESOLUTION:
        view = _low_resolution(view, random)
    if random.random() < factor * _BLUR:
        view = _blur(view, random)
    if random.random() < factor * _NOISE:
        view = _noise(view, random)
    if random.random() < factor * _JPEG:
        view = _jpeg(view, random)
    if random.random() < factor * _HIDE:
        view = _occlude(view, random)
    return view


def _warp(
    crop: NDArray[np.uint8],
    size_px: int,
    angle_deg: float,
    scale: float,
    shift: tuple[float, float],
    aspect: float,
    flip: bool,
    border: int,
) -> NDArray[np.uint8]:
    """Rotate, zoom and shift about the center and drop the stored context, to `size_px`."""
    zoom = size_px * (1 + 2 * STORE_MARGIN) / crop.shape[0] * scale
    angle = np.deg2rad(angle_deg)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * zoom
    rotation[0] *= aspect * (-1 if flip else 1)
    center = np.full(2, (crop.shape[0] - 1) / 2)
    target = np.full(2, (size_px - 1) / 2) + np.array(shift) * size_px
    matrix = np.hstack([rotation, (target - rotation @ center)[:, None]])
    return cv2.warpAffine(
        crop, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=border
    )


def _jitter_color(view: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Change gamma, contrast, brightness and white balance, then saturation."""
    levels = np.arange(256, dtype=np.float32) / 255
    gamma = float(np.exp(random.normal(0, 0.25)))
    gain = float(np.exp(random.normal(0, 0.15)))
    offset = float(random.normal(0, 0.05))
    if random.random() < _LOW_LIGHT:
        gain *= float(random.uniform(0.25, 0.6))
    balance = np.exp(random.normal(0, 0.06, 3))
    curve = ((levels**gamma)[:, None] - 0.5) * gain + 0.5 * min(gain, 1.0) + offset
    tables = np.clip(curve * balance * 255, 0, 255).astype(np.uint8)[None]
    view = cv2.LUT(view, tables)
    saturation = float(np.clip(random.normal(1, 0.25), 0, 1.8))
    gray = cv2.cvtColor(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(view, saturation, gray, 1 - saturation, 0)


def _low_resolution(view: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Simulate a face that is 24–110 px wide in the frame."""
    side = int(np.exp(random.uniform(np.log(24), np.log(110))))
    if side >= view.shape[0]:
        return view
    small = cv2.resize(view, (side, side), interpolation=cv2.INTER_AREA)
    if random.random() < 0.5:
        small = _jpeg(small, random)
    up = cv2.INTER_LINEAR if random.random() < 0.7 else cv2.INTER_CUBIC
    return cv2.resize(small, view.shape[1::-1], interpolation=up)


def _blur(view: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Apply defocus or linear motion blur."""
    if random.random() < 0.5:
        return cv2.GaussianBlur(view, (0, 0), float(random.uniform(0.5, 2.2)))
    length = int(random.integers(3, 10))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1 / length
    turn = cv2.getRotationMatrix2D(
        ((length - 1) / 2, (length - 1) / 2), float(random.uniform(0, 180)), 1
    )
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    return cv2.filter2D(view, -1, kernel / max(float(kernel.sum()), 1e-3))


def _noise(view: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    noise = random.standard_normal(view.shape, np.float32) * np.float32(random.uniform(2, 14))
    return np.clip(view + noise, 0, 255).astype(np.uint8)


def _jpeg(view: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    data = simplejpeg.encode_jpeg(
        np.ascontiguousarray(view), quality=int(random.integers(25, 92)), colorsubsampling="420"
    )
    return simplejpeg.decode_jpeg(data)


def _occlude(view: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Cover a rectangle, as a hand, a mask or another head does."""
    size = view.shape[0]
    width, height = (int(size * random.uniform(0.1, 0.4)) for _ in range(2))
    x, y = int(random.integers(0, size - width)), int(random.integers(0, size - height))
    view = view.copy()
    view[y : y + height, x : x + width] = random.integers(0, 256, 3, dtype=np.uint8)
    return view
