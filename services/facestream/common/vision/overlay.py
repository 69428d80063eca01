"""Overlay: draw boxes and labels on YUV planes, legible at any size and on any background.

A box is a bright line inside a dark one. A label is light text on an opaque dark plate, with a bar
in the color of the box. The colors are Okabe and Ito's (2008), distinguishable with color vision
deficiency; the label repeats their meaning in words. Plates are rendered once and cached, so that
drawing a frame only copies a few small rectangles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from facestream.common.vision.displayed_estimate import DisplayedEstimate
from facestream.common.vision.text_rendering import Bgr, put_text, text_box
from facestream.common.vision.yuv_image import YuvImage

Box = tuple[float, float, float, float]
Yuv = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]  # left, top, width, height; even, in pixels

_PLATE_BGR = (28, 22, 18)
_TEXT_BGR = (255, 255, 255)
_FEMALE_BGR = (0, 159, 230)  # orange
_MALE_BGR = (233, 180, 86)  # sky blue
_UNKNOWN_GENDER_BGR = (236, 236, 236)
_DARK: Yuv = (16, 128, 128)

_TEXT_SHARE = 1 / 30  # of the image height
_MIN_TEXT_PX = 13
_MAX_TEXT_PX = 96
_FALLBACK_TEXT_PX = 9  # in an image too narrow for the label
_LINE_SHARE = 1 / 300
_TEXT_WEIGHT = 480  # of the variable font: between regular and bold
# Enough for the labels in view at one time. A plate takes 10 kB of memory in images of 720 lines,
# 90 kB in those of 2160.
_MAX_CACHED_PLATES = 128


@dataclass(frozen=True)
class Label:
    """Box of a face in pixels, its texts from longest to shortest, and its color."""

    box: Box
    texts: tuple[str, ...]
    bgr: Bgr


def build_label(box: Box, estimate: DisplayedEstimate) -> Label:
    """Return a label such as `34 (28–40) female`; unknown parts are left out."""
    gender = (
        ""
        if estimate.female_probability is None
        else "female"
        if estimate.female_probability >= 0.5
        else "male"
    )
    bgr = {"female": _FEMALE_BGR, "male": _MALE_BGR}.get(gender, _UNKNOWN_GENDER_BGR)
    if estimate.age is None or estimate.age_low is None or estimate.age_high is None:
        return Label(box, (gender,) if gender else (), bgr)
    age = f"{estimate.age:.0f}"
    interval = f"{age} ({estimate.age_low:.0f}–{estimate.age_high:.0f})"
    if not gender:
        return Label(box, (interval, age), bgr)
    return Label(box, (f"{interval} {gender}", f"{age} {gender}", age), bgr)


def draw_labels(image: YuvImage, labels: Sequence[Label]) -> None:
    """Draw all boxes, then all labels, in place. A box may lie partly or fully outside."""
    width, height = image.width, image.height
    line = _even(max(2.0, min(width, height) * _LINE_SHARE * 2))
    text_px = round(min(max(height * _TEXT_SHARE, _MIN_TEXT_PX), _MAX_TEXT_PX))
    boxes = [(entry, _clip(entry.box, width, height)) for entry in labels]
    for entry, box in boxes:
        if box is not None:
            _outline(image, box, line, _yuv(entry.bgr))
    occupied: list[Rectangle] = []
    for entry, box in boxes:
        if box is None or not entry.texts:
            continue
        plate = _fitting_plate(entry, text_px, width)
        position = _choose_position(plate, box, line, (width, height), occupied)
        occupied.append(position)
        _paste(image, plate, position)


def _fitting_plate(entry: Label, text_px: int, width: int) -> YuvImage:
    for text in entry.texts:
        plate = _plate(text, text_px, entry.bgr)
        if plate.width <= width:
            return plate
    return _plate(entry.texts[-1], _FALLBACK_TEXT_PX, entry.bgr)


def _choose_position(
    plate: YuvImage,
    box: Rectangle,
    line: int,
    size: tuple[int, int],
    occupied: Sequence[Rectangle],
) -> Rectangle:
    """Return the first position that covers no other label: above, below, or inside the box."""
    width, height = size
    left, top, _, box_height = box
    x = min(max(0, left - line), max(0, _even(width - plate.width - 1)))
    above, below = top - line - plate.height, top + box_height + line
    candidates = [
        (x, y, plate.width, plate.height)
        for y in (above, below, top + line, above - plate.height, below + plate.height)
        if 0 <= y <= height - plate.height
    ]
    for candidate in candidates:
        if not any(_overlap(candidate, other) for other in occupied):
            return candidate
    if candidates:
        return candidates[0]
    return (x, max(0, _even(height - plate.height - 1)), plate.width, plate.height)


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _clip(box: Box, width: int, height: int) -> Rectangle | None:
    x0, y0 = max(0.0, box[0]), max(0.0, box[1])
    x1, y1 = min(float(width), box[0] + box[2]), min(float(height), box[1] + box[3])
    if x1 - x0 < 2 or y1 - y0 < 2:
        return None
    left, top = _even(x0), _even(y0)
    return left, top, _even(x1) - left, _even(y1) - top


def _outline(image: YuvImage, box: Rectangle, line: int, color: Yuv) -> None:
    left, top, width, height = box
    halo = 2
    outer = (left - halo, top - halo, width + 2 * halo, height + 2 * halo)
    # One call for all four sides: adjacent strips decoded together cost less.
    image.ensure_decoded(outer[1], outer[1] + outer[3])
    _frame(image, outer, line + 2 * halo, _DARK)
    _frame(image, box, line, color)


def _frame(image: YuvImage, box: Rectangle, line: int, color: Yuv) -> None:
    left, top, width, height = box
    right, bottom = left + width, top + height
    _fill(image, left, top, right, top + line, color)
    _fill(image, left, bottom - line, right, bottom, color)
    _fill(image, left, top, left + line, bottom, color)
    _fill(image, right - line, top, right, bottom, color)


def _fill(image: YuvImage, x0: int, y0: int, x1: int, y1: int, color: Yuv) -> None:
    x0, y0, x1, y1 = max(0, x0), max(0, y0), max(0, x1), max(0, y1)
    image.ensure_decoded(y0, y1)
    image.y[y0:y1, x0:x1] = color[0]
    image.u[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2] = color[1]
    image.v[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2] = color[2]


def _paste(image: YuvImage, plate: YuvImage, position: Rectangle) -> None:
    x, y, _, height = position
    image.ensure_decoded(y, y + height)
    for target, source, scale in (
        (image.y, plate.y, 1),
        (image.u, plate.u, 2),
        (image.v, plate.v, 2),
    ):
        part = target[y // scale :, x // scale :][: source.shape[0], : source.shape[1]]
        part[:] = source[: part.shape[0], : part.shape[1]]


@lru_cache(maxsize=_MAX_CACHED_PLATES)
def _plate(text: str, text_px: int, bgr: Bgr) -> YuvImage:
    """Return a label as a small image of even size."""
    # Every plate is as high as the tallest text, so that labels do not jump.
    _, top, _, text_height = text_box("0(g", text_px, _TEXT_WEIGHT)
    left, _, text_width, _ = text_box(text, text_px, _TEXT_WEIGHT)
    pad, bar = max(2, text_px // 3), max(2, text_px // 6)
    width = _even(bar + 2 * pad + text_width + 1)
    height = _even(text_height + pad + 1)
    plate = np.empty((height, width, 3), np.uint8)
    plate[:] = _PLATE_BGR
    plate[:, :bar] = bgr
    origin = (bar + pad - left, (height - text_height) // 2 - top)
    put_text(plate, text, origin, _TEXT_BGR, text_px, _TEXT_WEIGHT)
    return bgr_to_yuv_image(plate)


def bgr_to_yuv_image(bgr: NDArray[np.uint8]) -> YuvImage:
    """Return a full-range YUV copy of a BGR image, uint8 `[h, w, 3]`, h and w even."""
    ycc = cv2.cvtColor(bgr, cv2.COLOR_BGR2YCrCb)
    half = (bgr.shape[1] // 2, bgr.shape[0] // 2)
    v, u = (
        cv2.resize(np.ascontiguousarray(ycc[:, :, i]), half, interpolation=cv2.INTER_AREA)
        for i in (1, 2)
    )
    return YuvImage(np.ascontiguousarray(ycc[:, :, 0]), u, v)


@lru_cache(maxsize=16)
def _yuv(bgr: Bgr) -> Yuv:
    y, v, u = cv2.cvtColor(np.array([[bgr]], np.uint8), cv2.COLOR_BGR2YCrCb)[0, 0]
    return int(y), int(u), int(v)


def _even(x: float) -> int:
    return int(x) // 2 * 2
