"""How the error grows when the picture gets worse: the same faces, small, dark, blurred, squeezed.

UTKFace pictures go in; for each kind and strength of harm the figures come out. A harmed picture
is laid into a camera's frame at its own size, so the detector meets a small face as small as it
is, and all that follows (missed faces, landmarks off by a pixel, enlarged crops) is part of the
figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import simplejpeg
from facestream.common.vision.exported_model import ExportedModel
from numpy.typing import NDArray

from training.data.utkface import LabelledImage
from training.evaluation.evaluate import (
    CAPTURE_DETECTOR_PX,
    Cut,
    Say,
    end_to_end_cut,
    labels_of,
    predict_all,
)
from training.evaluation.metrics import figures

RGB = NDArray[np.uint8]
_GREY = 110
# A face (YuNet's box) is this share of the side of a UTKFace picture.
FACE_SHARE = 0.85


@dataclass(frozen=True, slots=True)
class Corruption:
    """One way to spoil a picture at one strength."""

    kind: str
    strength: str
    apply: Callable[[RGB], RGB]


def downscale(face_px: int) -> Callable[[RGB], RGB]:
    """The picture at the size where its face is `face_px` wide."""

    def apply(rgb: RGB) -> RGB:
        scale = face_px / (FACE_SHARE * rgb.shape[1])
        size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
        return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)

    return apply


def relight(gain: float, gamma: float = 1.0) -> Callable[[RGB], RGB]:
    """Brightness times `gain`, after `gamma` on 0–1; what exceeds white is clipped."""
    table = np.clip((np.arange(256) / 255) ** gamma * gain * 255, 0, 255).astype(np.uint8)
    return lambda rgb: cv2.LUT(rgb, table)


def side_light(dark: float) -> Callable[[RGB], RGB]:
    """Light from one side: brightness falls across the picture from 1 to `dark`."""

    def apply(rgb: RGB) -> RGB:
        ramp = np.linspace(1, dark, rgb.shape[1], dtype=np.float32)[None, :, None]
        return (rgb * ramp).astype(np.uint8)

    return apply


def tinted(red: float, blue: float) -> Callable[[RGB], RGB]:
    """White balance off: red and blue times these."""

    def apply(rgb: RGB) -> RGB:
        balance = np.array([red, 1.0, blue], np.float32)
        return np.clip(rgb * balance, 0, 255).astype(np.uint8)

    return apply


def blurred(sigma_px: float) -> Callable[[RGB], RGB]:
    """Out of focus: Gaussian of `sigma_px` on a 200-pixel picture."""
    return lambda rgb: cv2.GaussianBlur(rgb, (0, 0), sigma_px)


def motion_blur(length_px: int) -> Callable[[RGB], RGB]:
    """Moved sideways by `length_px` while the shutter was open."""
    kernel = np.full((1, length_px), 1 / length_px, np.float32)
    return lambda rgb: cv2.filter2D(rgb, -1, kernel)


def noisy(sigma: float) -> Callable[[RGB], RGB]:
    """Sensor noise of this deviation, in levels of 255; the same for the same picture."""

    def apply(rgb: RGB) -> RGB:
        random = np.random.default_rng(int(rgb[::16, ::16].sum()))
        return np.clip(rgb + random.normal(0, sigma, rgb.shape), 0, 255).astype(np.uint8)

    return apply


def jpeg_compress(quality: int) -> Callable[[RGB], RGB]:
    """Encoded again as JPEG of this quality."""
    return lambda rgb: simplejpeg.decode_jpeg(
        simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), quality=quality, colorsubsampling="420")
    )


def rotate(angle_deg: float) -> Callable[[RGB], RGB]:
    """The head tilted in the picture's plane."""

    def apply(rgb: RGB) -> RGB:
        height, width = rgb.shape[:2]
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, 1.0)
        return cv2.warpAffine(rgb, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)

    return apply


UNHARMED = Corruption("none", "–", lambda rgb: rgb)
HARMS: tuple[Corruption, ...] = (
    *(Corruption("face width, px", str(px), downscale(px)) for px in (96, 64, 48, 40, 32, 24)),
    *(Corruption("brightness", f"×{gain:g}", relight(gain)) for gain in (0.5, 0.25, 0.12, 1.8)),
    *(Corruption("side light, dark end", f"×{dark:g}", side_light(dark)) for dark in (0.5, 0.2)),
    Corruption("white balance", "warm", tinted(1.25, 0.7)),
    Corruption("white balance", "cold", tinted(0.75, 1.25)),
    *(Corruption("blur, σ px of 200", f"{sigma:g}", blurred(sigma)) for sigma in (1, 2, 3)),
    *(Corruption("motion, px of 200", str(length), motion_blur(length)) for length in (7, 13)),
    *(Corruption("noise, σ of 255", f"{sigma:g}", noisy(sigma)) for sigma in (8, 16, 30)),
    *(Corruption("JPEG quality", str(quality), jpeg_compress(quality)) for quality in (50, 20, 10)),
    *(Corruption("tilt, degrees", f"{angle:g}", rotate(angle)) for angle in (15, 30)),
    Corruption(
        "all at once",
        "48 px, ×0.5, noise 8, JPEG 50",
        lambda rgb: jpeg_compress(50)(noisy(8)(relight(0.5)(downscale(48)(rgb)))),
    ),
)


def in_frame(picture: RGB) -> RGB:
    """A camera's frame with the picture in its middle at its own size, grey around it."""
    width, height = CAPTURE_DETECTOR_PX
    if picture.shape[1] > width or picture.shape[0] > height:
        return picture
    frame = np.full((height, width, 3), _GREY, np.uint8)
    x, y = (width - picture.shape[1]) // 2, (height - picture.shape[0]) // 2
    frame[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return frame


def robustness(
    model: ExportedModel,
    pictures: Sequence[LabelledImage],
    harms: Sequence[Corruption] = HARMS,
    say: Say = lambda line: None,
) -> list[dict[str, Any]]:
    """The figures for each harm, the unharmed pictures first.

    Returns:
        a row a harm: `kind`, `strength`, `faces` (how many there are), `missed` (share of them not
        found) and the figures of `training.evaluation.metrics.figures` over those found.
    """
    labels = labels_of(pictures)
    cut = end_to_end_cut(model.size_px)
    rows = []
    for harm in (UNHARMED, *harms):
        found, answers = predict_all(pictures, _harmed(harm, cut), model.predict)
        numbers = figures(labels.at(found), answers)
        missed = 1 - float(found.mean())
        asked = {"kind": harm.kind, "strength": harm.strength, "faces": len(pictures)}
        rows.append({**asked, "missed": missed, **numbers})
        say(f"{harm.kind} {harm.strength}: missed {missed:.1%}, " + _short(numbers))
    return rows


def _harmed(harm: Corruption, cut: Cut) -> Cut:
    return lambda rgb: cut(in_frame(harm.apply(rgb)))


def _short(numbers: dict[str, float | int]) -> str:
    shown = ("age_mae", "gender_accuracy", "interval_coverage")
    return ", ".join(f"{name} {numbers[name]:.3f}" for name in shown if name in numbers)
