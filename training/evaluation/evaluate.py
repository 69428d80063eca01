"""Judges an exported model on any folds of UTKFace or of a folder named like it.

Pictures and a SavedModel go in; a report of plain numbers comes out (see `evaluate`). Every picture
is asked about in two ways: *aligned*, cut by landmarks found close up, as training cuts it; and
*end to end*, found by the detector as capture runs it, cut, sent through the crop's JPEG, with the
faces that were missed counted. Runs on OpenVINO; needs no TensorFlow.
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

from training.data.face_crops import DETECT_PX, best_landmarks, decode, framed_landmarks
from training.data.utkface import LabelledImage, clean, folds_digest, load_raw
from training.evaluation.metrics import Labels, at, by_group, coverage, figures, reliability

# What capture does with a face; tests hold these against its settings.
CROP_QUALITY = 90
CAPTURE_DETECTOR_PX = (640, 384)
_CHUNK = 64

RGB = NDArray[np.uint8]
Cut = Callable[[RGB], "RGB | None"]
Answering = Callable[[RGB], Predictions]
Say = Callable[[str], None]
_FLIP = "flip/"


def aligned_cut(size_px: int) -> Cut:
    """Cuts by landmarks found close up; where none are found the picture's framing is trusted."""
    detector = FaceDetector(DETECT_PX, DETECT_PX)

    def cut(rgb: RGB) -> RGB:
        landmarks = best_landmarks(detector, rgb)
        return align(rgb, framed_landmarks(rgb) if landmarks is None else landmarks, size_px)

    return cut


def end_to_end_cut(size_px: int) -> Cut:
    """Cuts as capture does, JPEG included; None where the detector misses the face."""
    detector = FaceDetector(*CAPTURE_DETECTOR_PX)

    def cut(rgb: RGB) -> RGB | None:
        landmarks = best_landmarks(detector, rgb)
        if landmarks is None:
            return None
        crop = align(rgb, landmarks, size_px)
        return simplejpeg.decode_jpeg(encode_crop(crop, CROP_QUALITY))

    return cut


def labels_of(pictures: Sequence[LabelledImage]) -> Labels:
    """The labels of pictures, in their order."""
    return Labels(
        np.array([p.age for p in pictures], np.float32),
        np.array([p.female for p in pictures], np.float32),
        np.array([p.ethnicity for p in pictures], np.int8),
    )


def flip_averaged(plain: Predictions, mirrored: Predictions) -> Predictions:
    """The mean of the answers to crop and mirror image; age from the mean distribution."""
    half = np.float32(0.5)
    mean: Predictions = {name: half * (plain[name] + mirrored[name]) for name in plain}
    if "age_distribution" in mean:
        mean["age"], mean["age_std"] = median_and_std(mean["age_distribution"])
    return mean


def predict_all(
    pictures: Sequence[LabelledImage], cut: Cut, answer: Answering, say: Say = lambda line: None
) -> tuple[NDArray[np.bool_], Predictions]:
    """Cut and ask about every picture.

    Args:
        answer: crops `[n, size, size, 3]` in, answers out, as `ExportedModel.answer`.

    Returns:
        which pictures had a face found, bool `[n]`; the answers for those, in the
        pictures' order, empty where none was found.
    """
    found = np.zeros(len(pictures), np.bool_)
    answers: list[Predictions] = []
    for start in range(0, len(pictures), _CHUNK):
        crops = []
        for i, picture in enumerate(pictures[start : start + _CHUNK], start):
            crop = cut(decode(picture))
            if crop is not None:
                found[i] = True
                crops.append(crop)
        if crops:
            answers.append(answer(np.stack(crops)))
        say(f"{min(start + _CHUNK, len(pictures))}/{len(pictures)} pictures")
    names = answers[0] if answers else ()
    return found, {name: np.concatenate([part[name] for part in answers]) for name in names}


def evaluate(
    model: ExportedModel, data: Path, folds: Sequence[int], say: Say = lambda line: None
) -> dict[str, Any]:
    """Ask a model about every picture of some folds, both ways.

    Returns:
        `aligned` and `end_to_end`: the figures of `training.evaluation.metrics.figures` for a
        single pass, with `flip` (the same, flip-averaged), `by` (the same by age band, gender and
        ethnicity), `interval_coverage_by_level`, `gender_reliability` and, end to end, `missed`;
        the figures of `aligned` again at the top; `raw`: the figures over every validly named
        picture, copies and contradictory labels included; and what was asked: model, data, folds,
        their digest.

    Raises:
        DataError: no such data, or no picture in these folds.
    """
    cv2.setNumThreads(1)
    started = time.monotonic()
    everything, data_report = load_raw(data)
    believed = [p for p in clean(everything, data_report) if p.fold in set(folds)]
    raw = [p for p in everything if p.fold in set(folds)]
    if not believed:
        raise DataError(f"{data}: no picture in folds {', '.join(map(str, folds))}")
    unique = list({p.digest: p for p in raw}.values())
    position = {p.digest: i for i, p in enumerate(unique)}
    report: dict[str, Any] = {
        "model": dict(model.info()) | {"path": str(model.path), "input_size_px": model.size_px},
        "data": data.name,
        "folds": list(folds),
        "folds_digest": folds_digest(believed),
        "data_report": asdict(data_report),
    }
    for way, cut in (
        ("aligned", aligned_cut(model.size_px)),
        ("end_to_end", end_to_end_cut(model.size_px)),
    ):
        say(f"asking about {len(unique)} pictures, {way.replace('_', ' ')}")
        found, answers = predict_all(unique, cut, _both_views(model), say)
        plain, flipped = _split(answers)
        index = np.cumsum(found) - 1  # where among the answers a found picture's lies

        def select(pictures: Sequence[LabelledImage]) -> tuple[Labels, NDArray[np.intp]]:
            where = np.array([position[p.digest] for p in pictures], np.intp)
            seen = found[where]  # noqa: B023 - called before the loop goes on
            return labels_of(pictures).at(seen), index[where][seen]  # noqa: B023

        labels, rows = select(believed)
        report[way] = _evaluate_subset(labels, at(plain, rows), at(flipped, rows))
        report[way]["missed"] = len(believed) - len(labels)
        if way == "aligned":
            raw_labels, raw_rows = select(raw)
            report["raw"] = figures(raw_labels, at(plain, raw_rows))
            report |= figures(labels, at(plain, rows))
    report["taken_s"] = round(time.monotonic() - started, 1)
    return report


def _evaluate_subset(labels: Labels, plain: Predictions, flipped: Predictions) -> dict[str, Any]:
    judged: dict[str, Any] = {
        **figures(labels, plain),
        "flip": figures(labels, flipped),
        "by": by_group(labels, plain),
    }
    if "age_distribution" in plain:
        judged["interval_coverage_by_level"] = coverage(labels, plain["age_distribution"])
    if "gender" in plain:
        judged["gender_reliability"] = reliability(labels.female > 0.5, plain["gender"])
    return judged


def _both_views(model: ExportedModel) -> Answering:
    """Answers to each crop, and under `flip/…` the same averaged with its mirror image's."""

    def answer(crops: RGB) -> Predictions:
        plain = model.predict(crops)
        flipped = flip_averaged(plain, model.predict(crops[:, :, ::-1]))
        return plain | {_FLIP + name: values for name, values in flipped.items()}

    return answer


def _split(answers: Predictions) -> tuple[Predictions, Predictions]:
    plain = {name: values for name, values in answers.items() if not name.startswith(_FLIP)}
    return plain, {name: answers[_FLIP + name] for name in plain}
