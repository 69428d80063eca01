"""Evaluation protocol: metrics of an exported model on folds of UTKFace.

Every image is predicted twice: *aligned*, cropped by landmarks of a close-up detection as in
training; and *end to end*, detected and cropped with capture's settings and its JPEG, with missed
faces counted. Runs on OpenVINO without TensorFlow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from facestream.common.core.errors import DataError
from facestream.common.vision.age_distribution import median_and_std
from facestream.common.vision.crop_codec import encode_crop
from facestream.common.vision.exported_model import ExportedModel, Predictions
from facestream.common.vision.face_alignment import align
from facestream.common.vision.face_detector import FaceDetector
from numpy.typing import NDArray

from training.data.face_crops import DETECT_PX, best_landmarks, decode, template_landmarks
from training.data.utkface import LabeledImage, clean, folds_digest, load_raw
from training.evaluation.metrics import (
    Labels,
    compute_metrics,
    coverage,
    metrics_by_group,
    reliability,
    select_rows,
)

# Settings of capture; tests compare them with its defaults.
CROP_QUALITY = 90
CAPTURE_DETECTOR_PX = (640, 384)
_CHUNK = 64

RGB = NDArray[np.uint8]
Cropper = Callable[[RGB], "RGB | None"]
Predict = Callable[[RGB], Predictions]
Log = Callable[[str], None]
_FLIP = "flip/"


def aligned_cropper(size_px: int) -> Cropper:
    """Return a cropper for close-up images; without a detection it uses the template landmarks."""
    detector = FaceDetector(DETECT_PX, DETECT_PX)

    def crop_face(rgb: RGB) -> RGB:
        landmarks = best_landmarks(detector, rgb)
        return align(rgb, template_landmarks(rgb) if landmarks is None else landmarks, size_px)

    return crop_face


def end_to_end_cropper(size_px: int) -> Cropper:
    """Return a cropper that works as capture does, JPEG included; None for a missed face."""
    detector = FaceDetector(*CAPTURE_DETECTOR_PX)

    def crop_face(rgb: RGB) -> RGB | None:
        landmarks = best_landmarks(detector, rgb)
        if landmarks is None:
            return None
        crop = align(rgb, landmarks, size_px)
        return simplejpeg.decode_jpeg(encode_crop(crop, CROP_QUALITY))

    return crop_face


def labels_of(images: Sequence[LabeledImage]) -> Labels:
    """Return the labels of images, in their order."""
    return Labels(
        np.array([p.age for p in images], np.float32),
        np.array([p.female for p in images], np.float32),
        np.array([p.ethnicity for p in images], np.int8),
    )


def flip_averaged(plain: Predictions, mirrored: Predictions) -> Predictions:
    """Average the predictions of crop and mirror image; age from the mean distribution."""
    half = np.float32(0.5)
    mean: Predictions = {name: half * (plain[name] + mirrored[name]) for name in plain}
    if "age_distribution" in mean:
        mean["age"], mean["age_std"] = median_and_std(mean["age_distribution"])
    return mean


def predict_all(
    images: Sequence[LabeledImage],
    crop_face: Cropper,
    predict: Predict,
    log: Log = lambda line: None,
) -> tuple[NDArray[np.bool_], Predictions]:
    """Crop every image and predict its face.

    Args:
        images: images in any order.
        crop_face: from RGB image to crop, None for a missed face.
        predict: from crops `[n, size, size, 3]` to predictions, as `ExportedModel.predict`.
        log: called with each line of progress.

    Returns:
        whether a face was found in each image, bool `[n]`; the predictions of the found faces in
        the order of the images, empty without any.
    """
    found = np.zeros(len(images), np.bool_)
    predictions: list[Predictions] = []
    for start in range(0, len(images), _CHUNK):
        crops = []
        for i, image in enumerate(images[start : start + _CHUNK], start):
            crop = crop_face(decode(image))
            if crop is not None:
                found[i] = True
                crops.append(crop)
        if crops:
            predictions.append(predict(np.stack(crops)))
        log(f"{min(start + _CHUNK, len(images))}/{len(images)} images")
    names = predictions[0] if predictions else ()
    return found, {name: np.concatenate([part[name] for part in predictions]) for name in names}


def evaluate(
    model: ExportedModel, data: Path, folds: Sequence[int], log: Log = lambda line: None
) -> dict[str, Any]:
    """Evaluate a model on every image of some folds, aligned and end to end.

    Returns:
        `aligned` and `end_to_end`: the metrics of `training.evaluation.metrics.compute_metrics` for
        a single pass, with `flip` (flip-averaged), `by` (per age band, gender and ethnicity),
        `interval_coverage_by_level`, `gender_reliability` and `missed`; the metrics of `aligned`
        again at the top level; `raw`: the metrics over every image with a valid name, duplicates
        and conflicting labels included; and the model, data, folds and their digest.

    Raises:
        DataError: the data are missing, or hold no image of these folds.
    """
    cv2.setNumThreads(1)
    started = time.monotonic()
    all_images, data_report = load_raw(data)
    cleaned = [p for p in clean(all_images, data_report) if p.fold in set(folds)]
    raw = [p for p in all_images if p.fold in set(folds)]
    if not cleaned:
        raise DataError(f"{data}: no image in folds {', '.join(map(str, folds))}")
    unique = list({p.digest: p for p in raw}.values())
    position = {p.digest: i for i, p in enumerate(unique)}
    report: dict[str, Any] = {
        "model": dict(model.info()) | {"path": str(model.path), "input_size_px": model.size_px},
        "data": data.name,
        "folds": list(folds),
        "folds_digest": folds_digest(cleaned),
        "data_report": asdict(data_report),
    }
    for way, crop_face in (
        ("aligned", aligned_cropper(model.size_px)),
        ("end_to_end", end_to_end_cropper(model.size_px)),
    ):
        log(f"predicting {len(unique)} images, {way.replace('_', ' ')}")
        found, predictions = predict_all(unique, crop_face, _both_views(model), log)
        plain, flipped = _split(predictions)
        index = np.cumsum(found) - 1  # row of each found image among the predictions

        def select(images: Sequence[LabeledImage]) -> tuple[Labels, NDArray[np.intp]]:
            where = np.array([position[p.digest] for p in images], np.intp)
            seen = found[where]  # noqa: B023 - called within the iteration
            return labels_of(images).select(seen), index[where][seen]  # noqa: B023

        labels, rows = select(cleaned)
        report[way] = _evaluate_subset(labels, select_rows(plain, rows), select_rows(flipped, rows))
        report[way]["missed"] = len(cleaned) - len(labels)
        if way == "aligned":
            raw_labels, raw_rows = select(raw)
            report["raw"] = compute_metrics(raw_labels, select_rows(plain, raw_rows))
            report |= compute_metrics(labels, select_rows(plain, rows))
    report["taken_s"] = round(time.monotonic() - started, 1)
    return report


def _evaluate_subset(labels: Labels, plain: Predictions, flipped: Predictions) -> dict[str, Any]:
    metrics: dict[str, Any] = {
        **compute_metrics(labels, plain),
        "flip": compute_metrics(labels, flipped),
        "by": metrics_by_group(labels, plain),
    }
    if "age_distribution" in plain:
        metrics["interval_coverage_by_level"] = coverage(labels, plain["age_distribution"])
    if "gender" in plain:
        metrics["gender_reliability"] = reliability(labels.female > 0.5, plain["gender"])
    return metrics


def _both_views(model: ExportedModel) -> Predict:
    """Return a predictor of each crop and, under `flip/…`, of the mean with its mirror image."""

    def predict(crops: RGB) -> Predictions:
        plain = model.predict(crops)
        flipped = flip_averaged(plain, model.predict(crops[:, :, ::-1]))
        return plain | {_FLIP + name: values for name, values in flipped.items()}

    return predict


def _split(predictions: Predictions) -> tuple[Predictions, Predictions]:
    plain = {name: values for name, values in predictions.items() if not name.startswith(_FLIP)}
    return plain, {name: predictions[_FLIP + name] for name in plain}
