"""One training run from data to record: report, cache, contact sheet, fit, curves.

A config, UTKFace and a run folder go in; the folder then holds everything that the run can tell:
`record.json`, `config.json`, `data.json`, `contact_sheet.png`, `history.jsonl`, `curves.png`,
TensorBoard events, checkpoints, and the final weights, from which `training.publishing.publish`
makes a model.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from facestream.common.core.errors import DataError, SettingsError
from numpy.typing import NDArray

from training import run_record
from training.config import TrainConfig
from training.data.contact_sheet import save_contact_sheet
from training.data.face_crops import collect
from training.data.leakage_check import check_no_leakage, seen_folds
from training.data.targets import build_training_set
from training.data.utkface import DataReport, LabelledImage, load, parse_folds
from training.distillation.teacher_targets import Teacher, read
from training.evaluation.report import plot_curves
from training.fitting.training_loop import HISTORY_FILE, fit
from training.model.network import average_weights, build

Say = Callable[[str], None]
_BAR, _LINE = 30, 78


def split(
    config: TrainConfig, pictures: list[LabelledImage]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions of the pictures to learn from and of those held out of the same folds, by content.

    Raises:
        DataError: either is empty.
    """
    folds = set(parse_folds(config.train_folds))
    inside = np.array([p.fold in folds for p in pictures])
    held_out = np.array([p.share < config.validation_share for p in pictures])
    train, validation = np.flatnonzero(inside & ~held_out), np.flatnonzero(inside & held_out)
    if len(train) < config.fit.batch or len(validation) == 0:
        raise DataError(
            f"folds {config.train_folds} hold {len(train)} pictures to learn from and "
            f"{len(validation)} to validate with: too few"
        )
    return train, validation


def train(
    config: TrainConfig,
    data: Path,
    run: Path,
    cache: Path,
    weights: str | Path | None,
    say: Say = print,
    teacher: Path | None = None,
) -> Path:
    """Run or resume a training; returns the file of the final weights.

    Args:
        data: UTKFace's folder or tar.
        run: folder of this run; an unfinished run in it is resumed.
        cache: folder for aligned faces, shared by runs.
        weights: the backbone's first weights: `"imagenet"`, a local file, or None for random ones.
        teacher: file of its word on these pictures, from `distill-targets`.

    Raises:
        DataError: the data are missing, empty or too few, or the teacher's file is not of them.
        ModelError: the first weights cannot be had, or are of another network.
        SettingsError: the folder holds a run with other settings or other data, or the settings ask
            for a teacher and there is none, or the other way round, or do not go with the teacher
            or the version that the run goes on from.
    """
    if (teacher is None) != (config.teacher_share is None):
        raise SettingsError(
            "a teacher needs both --teacher-targets and teacher_share in the config of the run"
        )
    if config.fit.first_share and not (weights and Path(weights).is_dir()):
        raise SettingsError(
            "first_share mixes in the version that the run began with: give its folder, --weights"
        )
    check_no_leakage(config, weights, has_teacher=teacher is not None)
    pictures, report = load(data)
    for line in report.lines():
        say(line)
    learn, hold = split(config, pictures)
    say(f"{len(learn)} pictures to learn from, {len(hold)} held out of the same folds")
    said = [
        _load_teacher_targets(config, teacher, [pictures[i] for i in at]) if teacher else None
        for at in (learn, hold)
    ]
    if not (run / run_record.FILE).exists():
        build(config.network, weights)  # wrong ones are told before the folder is this run's
    run.mkdir(parents=True, exist_ok=True)
    _lock_run_dir(run, config, report, weights, teacher)
    faces = collect(pictures, cache)
    say(f"detector found {faces.found.mean():.2%} of the faces; the others keep UTKFace's framing")
    train_faces, validation_faces = faces.subset(learn), faces.subset(hold)
    to_learn = build_training_set(config, train_faces, said[0], config.teacher_share or 0.0)
    to_check = build_training_set(config, validation_faces, said[1], 0.0)
    sheet = run / "contact_sheet.png"
    save_contact_sheet(train_faces, config.network.size_px, config.seed, sheet)
    say(f"augmented crops to look at: {sheet}")
    board = _Board(run)
    watching = [_Progress()] if sys.stderr.isatty() else []
    model = fit(config, to_learn, to_check, run, weights, board.then(say), watching)
    if config.fit.first_share:
        average_weights(model, build(config.network, weights), config.fit.first_share)
    final = run / run_record.WEIGHTS_FILE
    partial = final.with_name("partial.weights.h5")
    model.save_weights(partial)
    partial.replace(final)
    plot_curves(run / HISTORY_FILE, run / "curves.png")
    history = _history(run)
    run_record.write(
        run,
        {
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "epochs": len(history),
            "taken_s": history[-1]["taken_s"],
            "train_faces": len(train_faces),
            "validation_faces": len(validation_faces),
            "last_epoch": history[-1],
        },
    )
    return final


def _load_teacher_targets(
    config: TrainConfig, teacher: Path, pictures: list[LabelledImage]
) -> Teacher:
    """What a teacher's file says of these pictures, if it goes with this run.

    Raises:
        DataError: the file is none of a teacher, or not of the folds that the run learns from.
        SettingsError: it is about other ages.
    """
    said = read(teacher, pictures, parse_folds(config.train_folds))
    oldest = said.age.shape[1] - 1
    if oldest != config.network.max_age:
        raise SettingsError(
            f"network.max_age {config.network.max_age}: its teacher knows the ages 0 to {oldest}; "
            "give that one"
        )
    return said


def _lock_run_dir(
    run: Path,
    config: TrainConfig,
    report: DataReport,
    weights: str | Path | None,
    teacher: Path | None,
) -> None:
    """Write down what this run is, or see that the run found here is the same."""
    wanted = json.loads(config.model_dump_json())
    path = run / run_record.CONFIG_FILE
    if path.exists() and json.loads(path.read_text()) != wanted:
        raise SettingsError(f"{run}: holds a run with other settings; give another --run folder")
    known = run_record.read(run) if (run / run_record.FILE).exists() else {}
    if known and known["data"]["digest"] != report.digest:
        raise SettingsError(f"{run}: holds a run on other data; give another --run folder")
    sources = {
        "first_weights": None if weights is None else str(weights),
        "teacher": run_record.digest(teacher) if teacher else None,
    }
    for what, source in sources.items():
        if known and known.get(what) != source:
            raise SettingsError(
                f"{run}: holds a run with another {what.replace('_', ' ')}: {known.get(what)}; "
                "give that one, or another --run folder"
            )
    path.write_text(json.dumps(wanted, indent=2) + "\n")
    if not known:
        gpus = [gpu.name for gpu in tf.config.list_physical_devices("GPU")]
        run_record.write(
            run,
            {
                "config": wanted,
                **sources,
                "train_folds": seen_folds(config, weights),
                "commit": run_record.git_commit(),
                "machine": run_record.machine() | {"accelerators": gpus},
                "data": asdict(report),
                "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            },
        )


class _Progress(keras.callbacks.Callback):
    """One line that writes over itself: how far the epoch is, and how long it will still take."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        done, steps = batch + 1, self.params.get("steps") or 0
        left = (time.monotonic() - self._started) / done * (steps - done)
        filled = "█" * (_BAR * done // max(steps, 1))
        text = f"{filled:<{_BAR}} {done}/{steps}, {left / 60:.1f} min left, loss {logs['loss']:.3f}"
        end = "\n" if done == steps else ""
        print(f"\r{text:<{_LINE}}", end=end, file=sys.stderr, flush=True)


class _Board:
    """Hands each epoch's numbers to TensorBoard when `fit` reports the epoch."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._writer = tf.summary.create_file_writer(str(run / "tensorboard"))

    def then(self, say: Say) -> Say:
        def report(line: str) -> None:
            history = _history(self._run)
            if history:
                with self._writer.as_default(step=history[-1]["epoch"]):
                    for key, value in history[-1].items():
                        tf.summary.scalar(key, value)
                self._writer.flush()
            say(line)

        return report


def _history(run: Path) -> list[dict[str, Any]]:
    path = run / HISTORY_FILE
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]
