"""One training run: load the data, crop the faces, fit the network, record the results.

The run's folder then holds `record.json`, `config.json`, `contact_sheet.png`, `history.jsonl`,
`curves.png`, TensorBoard events, checkpoints and the final weights.
`training.publishing.publish` exports a model from it.
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
from training.data.face_crops import crop_faces
from training.data.leakage_check import check_no_leakage, seen_folds
from training.data.targets import build_training_set
from training.data.utkface import DataReport, LabeledImage, load, parse_folds
from training.distillation.teacher_targets import TeacherTargets, read
from training.evaluation.report import plot_curves
from training.fitting.training_loop import HISTORY_FILE, fit
from training.model.network import average_weights, build

Log = Callable[[str], None]
_BAR, _LINE = 30, 78


def split(
    config: TrainConfig, images: list[LabeledImage]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the positions of the training images and of the held-out ones, split by content.

    Raises:
        DataError: fewer training images than one batch, or none held out.
    """
    folds = set(parse_folds(config.train_folds))
    inside = np.array([p.fold in folds for p in images])
    held_out = np.array([p.share < config.validation_share for p in images])
    train, validation = np.flatnonzero(inside & ~held_out), np.flatnonzero(inside & held_out)
    if len(train) < config.fit.batch or len(validation) == 0:
        raise DataError(
            f"too few images: folds {config.train_folds} hold {len(train)} for training and "
            f"{len(validation)} for validation"
        )
    return train, validation


def train(
    config: TrainConfig,
    data: Path,
    run: Path,
    cache: Path,
    weights: str | Path | None,
    log: Log = print,
    teacher: Path | None = None,
) -> Path:
    """Run or resume a training; return the file of the final weights.

    Args:
        config: configuration of the run.
        data: UTKFace's folder or tar.
        run: folder of this run; an unfinished run in it is resumed.
        cache: folder for aligned faces, shared by runs.
        weights: initial weights of the backbone: `"imagenet"`, a local file, or None for random
            ones; or the folder of an exported version to continue from.
        log: called with each line of progress.
        teacher: teacher targets of these images, written by `distill-targets`.

    Raises:
        DataError: the data are missing, empty or too few, or the teacher targets are of other data.
        ModelError: the initial weights cannot be loaded, or belong to another network.
        SettingsError: the folder holds a run with other settings or other data; or only one of
            `teacher` and `teacher_share` is given; or the settings contradict the teacher or the
            version to continue from.
    """
    if (teacher is None) != (config.teacher_share is None):
        raise SettingsError(
            "a teacher needs both --teacher-targets and teacher_share in the config of the run"
        )
    if config.fit.first_share and not (weights and Path(weights).is_dir()):
        raise SettingsError(
            "first_share averages with an exported version: give its folder with --weights"
        )
    check_no_leakage(config, weights, has_teacher=teacher is not None)
    images, report = load(data)
    for line in report.lines():
        log(line)
    train_rows, validation_rows = split(config, images)
    log(f"{len(train_rows)} training images, {len(validation_rows)} held out of the same folds")
    train_teacher, validation_teacher = (
        _load_teacher_targets(config, teacher, [images[i] for i in rows]) if teacher else None
        for rows in (train_rows, validation_rows)
    )
    if not (run / run_record.FILE).exists():
        build(config.network, weights)  # report invalid weights before the folder is locked
    run.mkdir(parents=True, exist_ok=True)
    _lock_run_dir(run, config, report, weights, teacher)
    faces = crop_faces(images, cache)
    log(f"detector found {faces.found.mean():.2%} of the faces; the others keep UTKFace's framing")
    train_faces, validation_faces = faces.subset(train_rows), faces.subset(validation_rows)
    train_set = build_training_set(config, train_faces, train_teacher, config.teacher_share or 0.0)
    validation_set = build_training_set(config, validation_faces, validation_teacher, 0.0)
    sheet = run / "contact_sheet.png"
    save_contact_sheet(train_faces, config.network.size_px, config.seed, sheet)
    log(f"contact sheet of augmented crops: {sheet}")
    tensorboard = _TensorBoardLog(run)
    callbacks = [_Progress()] if sys.stderr.isatty() else []
    model = fit(config, train_set, validation_set, run, weights, tensorboard.wrap(log), callbacks)
    if config.fit.first_share:
        average_weights(model, build(config.network, weights), config.fit.first_share)
    final = run / run_record.WEIGHTS_FILE
    partial = final.with_name("partial.weights.h5")
    model.save_weights(partial)
    partial.replace(final)
    plot_curves(run / HISTORY_FILE, run / "curves.png")
    history = _read_history(run)
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
    config: TrainConfig, teacher: Path, images: list[LabeledImage]
) -> TeacherTargets:
    """Read the teacher targets of these images and check that they fit this run.

    Raises:
        DataError: the file holds no teacher targets, or targets of other folds or images.
        SettingsError: the targets have another number of age bins.
    """
    targets = read(teacher, images, parse_folds(config.train_folds))
    oldest = targets.age.shape[1] - 1
    if oldest != config.network.max_age:
        raise SettingsError(
            f"network.max_age {config.network.max_age}: the teacher covers the ages 0 to {oldest}; "
            f"set {oldest}"
        )
    return targets


def _lock_run_dir(
    run: Path,
    config: TrainConfig,
    report: DataReport,
    weights: str | Path | None,
    teacher: Path | None,
) -> None:
    """Record the identity of this run, or check that the folder holds the same run.

    Raises:
        SettingsError: the folder holds a run with other settings, data, weights or teacher.
    """
    wanted = json.loads(config.model_dump_json())
    path = run / run_record.CONFIG_FILE
    if path.exists() and json.loads(path.read_text()) != wanted:
        raise SettingsError(f"{run}: holds a run with other settings; give another --run folder")
    known = run_record.read(run) if (run / run_record.FILE).exists() else {}
    if known and known["data"]["digest"] != report.digest:
        raise SettingsError(f"{run}: holds a run on other data; give another --run folder")
    sources = {
        "first_weights": None if weights is None else str(weights),
        "teacher": run_record.file_sha256(teacher) if teacher else None,
    }
    for name, source in sources.items():
        if known and known.get(name) != source:
            raise SettingsError(
                f"{run}: holds a run with another {name.replace('_', ' ')}: {known.get(name)}; "
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
                "machine": run_record.machine_info() | {"accelerators": gpus},
                "data": asdict(report),
                "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            },
        )


class _Progress(keras.callbacks.Callback):
    """Progress bar of an epoch with the estimated time left, on one line of stderr."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        done, steps = batch + 1, self.params.get("steps") or 0
        left = (time.monotonic() - self._started) / done * (steps - done)
        filled = "█" * (_BAR * done // max(steps, 1))
        text = f"{filled:<{_BAR}} {done}/{steps}, {left / 60:.1f} min left, loss {logs['loss']:.3f}"
        end = "\n" if done == steps else ""
        print(f"\r{text:<{_LINE}}", end=end, file=sys.stderr, flush=True)


class _TensorBoardLog:
    """Writer of each epoch's metrics to TensorBoard, called when `fit` logs the epoch."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._writer = tf.summary.create_file_writer(str(run / "tensorboard"))

    def wrap(self, log: Log) -> Log:
        """Return a `log` function that writes the newest epoch to TensorBoard first."""

        def report(line: str) -> None:
            history = _read_history(self._run)
            if history:
                with self._writer.as_default(step=history[-1]["epoch"]):
                    for key, value in history[-1].items():
                        tf.summary.scalar(key, value)
                self._writer.flush()
            log(line)

        return report


def _read_history(run: Path) -> list[dict[str, Any]]:
    path = run / HISTORY_FILE
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]
