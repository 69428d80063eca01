"""Publish a finished run: calibrate, export, evaluate and write the model card.

Writes `models/<name>/<version>/`; the run's folder keeps the evaluation and its plots.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from facestream.common.core.errors import DataError
from facestream.common.vision.exported_model import ExportedModel, Predictions

from training import run_record
from training.config import TrainConfig
from training.data.face_crops import decode
from training.data.leakage_check import seen_folds
from training.data.utkface import DataReport, LabeledImage, load, parse_folds
from training.evaluation.calibration import Calibration, apply_calibration, find_calibration
from training.evaluation.evaluate import Log, aligned_cropper, evaluate, labels_of, predict_all
from training.evaluation.metrics import compute_metrics
from training.evaluation.report import plot_evaluation, plot_robustness
from training.evaluation.robustness import measure_robustness
from training.publishing.export import check_destination, export, load_network, serving_outputs
from training.publishing.model_card import model_card

EVALUATION_FILE, ROBUSTNESS_FILE = "evaluation.json", "robustness.json"
_COMPARED_FACES = 32
_KEPT_FIGURES = ("n", "age_mae", "gender_accuracy", "interval_coverage")


def publish(
    run: Path,
    data: Path,
    destination: Path,
    folds: Sequence[int],
    robustness_faces: int = 0,
    log: Log = print,
) -> Path:
    """Export a run as `models/<name>/<version>`; returns that folder.

    Args:
        data: UTKFace's folder or tar; its held-out share calibrates, `folds` evaluate.
        robustness_faces: number of faces of `folds` for the robustness test; 0 skips it.

    Raises:
        ModelError: the run is unfinished, the version exists, or the runtimes disagree.
        DataError: the data are missing, or hold none of these folds.
    """
    check_destination(destination)
    record = run_record.read(run)
    config = TrainConfig.model_validate(record["config"])
    # Records of older runs have no train_folds.
    record = {"train_folds": seen_folds(config, record.get("first_weights"))} | record
    network = load_network(
        config.network, run / run_record.WEIGHTS_FILE, size_px=config.network.size_px
    )
    images, report = load(data)
    _check_no_leakage(record, report, folds)
    held_out = _held_out_images(config, images)
    crop_face = aligned_cropper(config.network.size_px)
    log(f"calibrating on {len(held_out)} held-out images")
    found, predictions = predict_all(held_out, crop_face, _predict_uncalibrated(network))
    calibration = find_calibration(labels_of(held_out).select(found), predictions)
    log(f"temperatures: age {calibration.age_temperature}, gender {calibration.gender_temperature}")
    before = compute_metrics(labels_of(held_out).select(found), predictions)
    after = compute_metrics(
        labels_of(held_out).select(found), apply_calibration(predictions, calibration)
    )
    run_record.write(run, {"calibration": asdict(calibration) | {"before": before, "after": after}})
    crops = np.stack(
        [crop for p in held_out[:_COMPARED_FACES] if (crop := crop_face(decode(p))) is not None]
    )

    def describe(model: ExportedModel) -> tuple[dict[str, Any], str]:
        evaluation = evaluate(model, data, folds, log)
        evaluation["model"]["path"] = str(destination)  # the final path, not the temporary one
        _write_json(run / EVALUATION_FILE, evaluation)
        plot_evaluation(evaluation, run / "evaluation.png")
        corruptions: list[dict[str, Any]] | None = None
        if robustness_faces:
            chosen = [p for p in images if p.fold in set(folds)][:robustness_faces]
            corruptions = measure_robustness(model, chosen, log=log)
            _write_json(run / ROBUSTNESS_FILE, corruptions)
            plot_robustness(corruptions, run / "robustness.png")
        info = {
            "commit": record["commit"],
            "folds_digest": record["data"]["digest"],
            "train_folds": record["train_folds"],
            "validation_share": config.validation_share,
            "terms": "non-commercial research only (trained on UTKFace)",
            "evaluated": {"folds": list(folds)}
            | {key: evaluation[key] for key in _KEPT_FIGURES if key in evaluation},
        }
        return info, model_card(record, evaluation, asdict(calibration), corruptions)

    return export(network, destination, calibration, crops, describe)


def _check_no_leakage(record: dict[str, Any], report: DataReport, folds: Sequence[int]) -> None:
    """Check that the network was not trained on the folds that evaluate it.

    Raises:
        DataError: it was, or the data are not those of the run.
    """
    seen = sorted(set(folds) & set(record["train_folds"]))
    if seen:
        raise DataError(
            f"cannot evaluate: the run or an earlier version was trained on fold {seen[0]}; "
            "give other folds with --folds"
        )
    if report.digest != record["data"]["digest"]:
        raise DataError("these are not the data of the run: their digest differs")


def _held_out_images(config: TrainConfig, images: Sequence[LabeledImage]) -> list[LabeledImage]:
    folds = set(parse_folds(config.train_folds))
    chosen = [p for p in images if p.fold in folds and p.share < config.validation_share]
    if not chosen:
        raise DataError(f"no held-out image in folds {config.train_folds}: nothing to calibrate on")
    return chosen


def _predict_uncalibrated(network: Any) -> Callable[[Any], Predictions]:
    def predict(crops: Any) -> Predictions:
        predictions = serving_outputs(network(tf.constant(crops), training=False), Calibration())
        return {name: value.numpy() for name, value in predictions.items()}

    return predict


def _write_json(path: Path, numbers: Any) -> None:
    path.write_text(json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")
