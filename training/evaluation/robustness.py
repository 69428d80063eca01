"""Robustness to image corruptions: metrics of the same faces when small, dark, blurred or noisy.

A corrupted image is placed into a camera frame at its own size. So the detector sees a small face
at its size, and missed faces, inaccurate landmarks and enlarged crops are part of the metrics.
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

from training.data.utkface import LabeledImage
from training.evaluation.evaluate import (
    CAPTURE_DETECTOR_PX,
    Cropper,
    Log,
    end_to_end_cropper,
    labels_of,
    predict_all,
)
from training.evaluation.metrics import compute_metrics

RGB = NDArray[np.uint8]
_GRAY = 110
# A face (YuNet's box) is this share of the side of a UTKFace image.
FACE_SHARE = 0.85


@dataclass(frozen=True, slots=True)
class Corruption:
    """One kind of image corruption at one strength."""

    kind: str
    strength: str
    apply: Callable[[RGB], RGB]


def downscale(face_px: int) -> Callable[[RGB], RGB]:
    """Return a function that resizes the image so that its face is `face_px` wide."""

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
    """Light from one side: brightness falls across the image from 1 to `dark`."""

    def apply(rgb: RGB) -> RGB:
        ramp = np.linspace(1, dark, rgb.shape[1], dtype=np.float32)[None, :, None]
        return (rgb * ramp).astype(np.uint8)

    return apply


def shift_white_balance(red: float, blue: float) -> Callable[[RGB], RGB]:
    """Return a function that multiplies red and blue."""

    def apply(rgb: RGB) -> RGB:
        balance = np.array([red, 1.0, blue], np.float32)
        return np.clip(rgb * balance, 0, 255).astype(np.uint8)

    return apply


def gaussian_blur(sigma_px: float) -> Callable[[RGB], RGB]:
    """Out of focus: Gaussian of `sigma_px` on a 200-pixel image."""
    return lambda rgb: cv2.GaussianBlur(rgb, (0, 0), sigma_px)


def motion_blur(length_px: int) -> Callable[[RGB], RGB]:
    """Moved sideways by `length_px` while the shutter was open."""
    kernel = np.full((1, length_px), 1 / length_px, np.float32)
    return lambda rgb: cv2.filter2D(rgb, -1, kernel)


def add_noise(sigma: float) -> Callable[[RGB], RGB]:
    """Sensor noise of this deviation, in levels of 255; the same for the same image."""

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
    """The head tilted in the image's plane."""

    def apply(rgb: RGB) -> RGB:
        height, width = rgb.shape[:2]
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, 1.0)
        return cv2.warpAffine(rgb, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)

    return apply


NO_CORRUPTION = Corruption("none", "–", lambda rgb: rgb)
CORRUPTIONS: tuple[Corruption, ...] = (
    *(Corruption("face width, px", str(px), downscale(px)) for px in (96, 64, 48, 40, 32, 24)),
    *(Corruption("brightness", f"×{gain:g}", relight(gain)) for gain in (0.5, 0.25, 0.12, 1.8)),
    *(Corruption("side light, dark end", f"×{dark:g}", side_light(dark)) for dark in (0.5, 0.2)),
    Corruption("white balance", "warm", shift_white_balance(1.25, 0.7)),
    Corruption("white balance", "cold", shift_white_balance(0.75, 1.25)),
    *(Corruption("blur, σ px of 200", f"{sigma:g}", gaussian_blur(sigma)) for sigma in (1, 2, 3)),
    *(Corruption("motion, px of 200", str(length), motion_blur(length)) for length in (7, 13)),
    *(Corruption("noise, σ of 255", f"{sigma:g}", add_noise(sigma)) for sigma in (8, 16, 30)),
    *(Corruption("JPEG quality", str(quality), jpeg_compress(quality)) for quality in (50, 20, 10)),
    *(Corruption("tilt, degrees", f"{angle:g}", rotate(angle)) for angle in (15, 30)),
    Corruption(
        "all at once",
        "48 px, ×0.5, noise 8, JPEG 50",
        lambda rgb: jpeg_compress(50)(add_noise(8)(relight(0.5)(downscale(48)(rgb)))),
    ),
)


def place_in_frame(image: RGB) -> RGB:
    """Return a gray camera frame with the image at its own size in the center."""
    width, height = CAPTURE_DETECTOR_PX
    if image.shape[1] > width or image.shape[0] > height:
        return image
    frame = np.full((height, width, 3), _GRAY, np.uint8)
    x, y = (width - image.shape[1]) // 2, (height - image.shape[0]) // 2
    frame[y : y + image.shape[0], x : x + image.shape[1]] = image
    return frame


def measure_robustness(
    model: ExportedModel,
    images: Sequence[LabeledImage],
    corruptions: Sequence[Corruption] = CORRUPTIONS,
    log: Log = lambda line: None,
) -> list[dict[str, Any]]:
    """Return the metrics for each corruption, the clean images first.

    Returns:
        one row per corruption: `kind`, `strength`, `faces` (their number), `missed` (share of
        undetected faces) and the metrics of `compute_metrics` over the detected ones.
    """
    labels = labels_of(images)
    crop_face = end_to_end_cropper(model.size_px)
    rows = []
    for corruption in (NO_CORRUPTION, *corruptions):
        found, predictions = predict_all(
            images, _corrupted_cropper(corruption, crop_face), model.predict
        )
        numbers = compute_metrics(labels.select(found), predictions)
        missed = 1 - float(found.mean())
        identity = {"kind": corruption.kind, "strength": corruption.strength, "faces": len(images)}
        rows.append({**identity, "missed": missed, **numbers})
        log(f"{corruption.kind} {corruption.strength}: missed {missed:.1%}, " + _short(numbers))
    return rows


def _corrupted_cropper(corruption: Corruption, crop_face: Cropper) -> Cropper:
    return lambda rgb: crop_face(place_in_frame(corruption.apply(rgb)))


def _short(numbers: dict[str, float | int]) -> str:
    shown = ("age_mae", "gender_accuracy", "interval_coverage")
    return ", ".join(f"{name} {numbers[name]:.3f}" for name in shown if name in numbers)
