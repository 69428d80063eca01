"""From a finished run to a published model: calibrate, export, judge, write the card.

A run's folder and the data go in; `models/<name>/<version>/` comes out, with its card; the run's
folder keeps the evaluation and its plots.
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
from training.data.utkface import DataReport, LabelledImage, load, parse_folds
from training.evaluation.calibration import Calibration, calibrated, find_calibration
from training.evaluation.evaluate import Say, aligned_cut, evaluate, labels_of, predict_all
from training.evaluation.metrics import figures
from training.evaluation.report import plot_evaluation, plot_robustness
from training.evaluation.robustness import robustness
from training.publishing.export import answers_of, check_new, export, load_network
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
    say: Say = print,
) -> Path:
    """Export a run as `models/<name>/<version>`; returns that folder.

    Args:
        data: UTKFace's folder or tar; its held-out share calibrates, its `folds` judge.
        robustness_faces: on how many faces of `folds` to measure what harm does; 0 measures none.

    Raises:
        ModelError: the run is unfinished, the version exists, or the runtimes disagree.
        DataError: the data are missing, or hold none of these folds.
    """
    check_new(destination)
    facts = run_record.read(run)
    config = TrainConfig.model_validate(facts["config"])
    # A run begun before records told of it is asked now.
    facts = {"train_folds": seen_folds(config, facts.get("first_weights"))} | facts
    network = load_network(
        config.network, run / run_record.WEIGHTS_FILE, size_px=config.network.size_px
    )
    pictures, report = load(data)
    _check_not_learnt(facts, report, folds)
    held_out = _held_out(config, pictures)
    cut = aligned_cut(config.network.size_px)
    say(f"calibrating on {len(held_out)} held-out pictures")
    found, answers = predict_all(held_out, cut, _uncalibrated(network))
    calibration = find_calibration(labels_of(held_out).at(found), answers)
    say(f"temperatures: age {calibration.age_temperature}, gender {calibration.gender_temperature}")
    before = figures(labels_of(held_out).at(found), answers)
    after = figures(labels_of(held_out).at(found), calibrated(answers, calibration))
    run_record.write(run, {"calibration": asdict(calibration) | {"before": before, "after": after}})
    crops = np.stack(
        [crop for p in held_out[:_COMPARED_FACES] if (crop := cut(decode(p))) is not None]
    )

    def describe(model: ExportedModel) -> tuple[dict[str, Any], str]:
        judged = evaluate(model, data, folds, say)
        judged["model"]["path"] = str(destination)  # where it will be, not where it is judged
        _write_json(run / EVALUATION_FILE, judged)
        plot_evaluation(judged, run / "evaluation.png")
        harms: list[dict[str, Any]] | None = None
        if robustness_faces:
            chosen = [p for p in pictures if p.fold in set(folds)][:robustness_faces]
            harms = robustness(model, chosen, say=say)
            _write_json(run / ROBUSTNESS_FILE, harms)
            plot_robustness(harms, run / "robustness.png")
        info = {
            "commit": facts["commit"],
            "folds_digest": facts["data"]["digest"],
            "train_folds": facts["train_folds"],
            "validation_share": config.validation_share,
            "terms": "non-commercial research only (trained on UTKFace)",
            "evaluated": {"folds": list(folds)}
            | {key: judged[key] for key in _KEPT_FIGURES if key in judged},
        }
        return info, model_card(facts, judged, asdict(calibration), harms)

    return export(network, destination, calibration, crops, describe)


def _check_not_learnt(facts: dict[str, Any], report: DataReport, folds: Sequence[int]) -> None:
    """See that what judges is what the network has not learnt from, as the card will say.

    Raises:
        DataError: it is not, or the data are not those of the run.
    """
    learnt = sorted(set(folds) & set(facts["train_folds"]))
    if learnt:
        raise DataError(
            f"the run, or a version before it, has learnt from fold {learnt[0]}: it cannot judge; "
            "give others with --folds"
        )
    if report.digest != facts["data"]["digest"]:
        raise DataError("these are not the data of the run: their digest differs")


def _held_out(config: TrainConfig, pictures: Sequence[LabelledImage]) -> list[LabelledImage]:
    folds = set(parse_folds(config.train_folds))
    chosen = [p for p in pictures if p.fold in folds and p.share < config.validation_share]
    if not chosen:
        raise DataError(
            f"no held-out picture in folds {config.train_folds}: nothing to calibrate on"
        )
    return chosen


def _uncalibrated(network: Any) -> Callable[[Any], Predictions]:
    def answer(crops: Any) -> Predictions:
        answers = answers_of(network(tf.constant(crops), training=False), Calibration())
        return {name: value.numpy() for name, value in answers.items()}

    return answer


def _write_json(path: Path, numbers: Any) -> None:
    path.write_text(json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")
