"""Training loop: stages, learning-rate schedule, checkpoints and resume.

Every random choice derives from (seed, epoch, position), and checkpoints hold the optimizer's
state. So a resumed run ends with the weights of an uninterrupted one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import tensorflow as tf

from training.config import Stage, TrainConfig
from training.data.batches import epoch_batches, plain_batches
from training.data.targets import EMBEDDING, TrainingSet
from training.fitting import checkpoint
from training.fitting.losses import AgeError, AgeLoss, EmbeddingLoss, GenderAccuracy, GenderLoss
from training.model.network import BACKBONE, add_embedding_head, build

HISTORY_FILE = "history.jsonl"
# The layers before it have large feature maps: they cost most of the time and change least.
FIRST_LATE_LAYER = "block_4_expand"
_ADDED_LEARNING_RATE = 1e-3


class CosineWithWarmup(keras.optimizers.schedules.LearningRateSchedule):
    """Linear rise to `peak` over `warmup` steps, then half a cosine down to zero at `total`.

    `start` is added to the step, so that the new optimizer of a stage continues the schedule.
    I. Loshchilov, F. Hutter, "SGDR", ICLR 2017.
    """

    def __init__(self, peak: float, warmup: int, total: int, start: int = 0) -> None:
        self._peak, self._warmup, self._total = peak, max(1, warmup), max(2, total)
        self._start = start

    def __call__(self, step: Any) -> Any:
        """Return the learning rate at a step of the optimizer."""
        step = tf.cast(step, tf.float32) + self._start
        rise = step / self._warmup
        done = tf.clip_by_value(
            (step - self._warmup) / max(1, self._total - self._warmup), 0.0, 1.0
        )
        return self._peak * tf.minimum(rise, 0.5 * (1 + tf.cos(np.pi * done)))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor, for Keras."""
        return {
            "peak": self._peak,
            "warmup": self._warmup,
            "total": self._total,
            "start": self._start,
        }


def compile_model(config: TrainConfig, model: keras.Model, schedule: Any, learns: str) -> None:
    """Set the trainable layers and compile the model with losses, metrics and a new optimizer."""
    backbone = model.get_layer(BACKBONE)
    backbone.trainable = learns != "added"
    if learns == "late":
        names = [layer.name for layer in backbone.layers]
        for layer in backbone.layers[: names.index(FIRST_LATE_LAYER)]:
            layer.trainable = False
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=config.fit.weight_decay,
        clipnorm=None,
        global_clipnorm=config.fit.clip_norm,
        use_ema=config.fit.ema > 0,
        ema_momentum=config.fit.ema or 0.99,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    losses = {
        "age": AgeLoss(config.loss),
        "gender": GenderLoss(config.loss),
        EMBEDDING: EmbeddingLoss(config.loss),
    }
    metrics = {"age": [AgeError()], "gender": [GenderAccuracy()]}
    model.compile(
        optimizer=optimizer,
        loss={output: losses[output] for output in model.output},
        metrics={head: metrics[head] for head in config.network.heads},
        jit_compile=False,  # XLA on a CPU is an order of magnitude slower here
    )


class _KeepRawWeights(keras.callbacks.Callback):
    """Callback that restores the raw weights, which Keras replaces by their average after `fit`.

    The next epoch must continue from the raw weights, not from their moving average.
    """

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Store the weights that the optimizer trains."""
        self._raw_weights = [v.numpy() for v in self.model.trainable_variables]

    def on_train_end(self, logs: Any = None) -> None:
        """Put the stored weights back."""
        for variable, value in zip(self.model.trainable_variables, self._raw_weights, strict=True):
            variable.assign(value)


class _EmaWeights:
    """Context manager that puts the moving average of the weights into the model."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model

    def __enter__(self) -> None:
        self._raw_weights = [v.numpy() for v in self._model.trainable_variables]
        optimizer = self._model.optimizer
        if optimizer.use_ema:
            optimizer.finalize_variable_values(self._model.trainable_variables)

    def __exit__(self, *_: object) -> None:
        for variable, value in zip(self._model.trainable_variables, self._raw_weights, strict=True):
            variable.assign(value)


def fit(
    config: TrainConfig,
    train: TrainingSet,
    validation: TrainingSet,
    run_dir: Path,
    weights: str | Path | None,
    log: Callable[[str], None] = print,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.Model:
    """Train to the end of the last stage and return the network with its averaged weights.

    `run_dir` receives `history.jsonl` (one line per epoch) and a checkpoint after each epoch; an
    unfinished run there is resumed. `callbacks` receive each epoch as a separate `Model.fit`.
    """
    cv2.setNumThreads(1)
    if config.fit.mixed_precision:
        keras.mixed_precision.set_global_policy("mixed_float16")
    keras.utils.set_random_seed(config.seed)
    progress = checkpoint.read_progress(run_dir)
    resumed = progress
    history = run_dir / HISTORY_FILE
    _truncate_history(history, progress.epoch)
    network = build(config.network, weights if progress.epoch == 0 else None)
    model = network
    if EMBEDDING in train.targets:
        model = add_embedding_head(network, train.targets[EMBEDDING].shape[1])
    steps = len(train) // config.fit.batch
    plan = [stage for stage in config.fit.stages for _ in range(stage.epochs)]
    compiled = ""
    for epoch in range(progress.epoch, len(plan)):
        stage = plan[epoch]
        if _should_stop_early(config, progress):
            log(f"early stop: no improvement for {config.fit.early_stop_epochs} epochs")
            break
        if compiled != stage.learns:
            compiled = stage.learns
            compile_model(config, model, _schedule(config, epoch, stage, steps), compiled)
            model.optimizer.build(model.trainable_variables)
            if epoch == resumed.epoch and epoch > 0:
                same_optimizer = resumed.learns == stage.learns
                restore = checkpoint.load if same_optimizer else checkpoint.load_weights
                restore(model, run_dir, resumed)
        started = time.monotonic()
        _seed_dropout(model, config.seed, epoch)
        record = _train_epoch(config, model, train, validation, epoch, stage, callbacks)
        taken_s = progress.taken_s + time.monotonic() - started
        record |= {"epoch": epoch + 1, "size_px": stage.size_px, "taken_s": taken_s}
        improved = record["val_loss"] < progress.best_loss
        progress = checkpoint.Progress(
            epoch=epoch + 1,
            learns=stage.learns,
            taken_s=taken_s,
            best_loss=record["val_loss"] if improved else progress.best_loss,
            best_epoch=epoch + 1 if improved else progress.best_epoch,
        )
        with history.open("a") as file:
            file.write(json.dumps(record) + "\n")
        checkpoint.save(model, run_dir, progress)
        log(_epoch_summary(record, len(plan)))
    if not compiled:
        last = plan[progress.epoch - 1]
        schedule = _schedule(config, progress.epoch - 1, last, steps)
        compile_model(config, model, schedule, last.learns)
        model.optimizer.build(model.trainable_variables)
        checkpoint.load(model, run_dir, progress)
    if model.optimizer.use_ema:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    return network


def _truncate_history(history: Path, epoch: int) -> None:
    """Drop the line of an epoch that was logged, but killed before its checkpoint."""
    if history.exists():
        lines = history.read_text().splitlines(keepends=True)
        history.write_text("".join(lines[:epoch]))


def _should_stop_early(config: TrainConfig, progress: checkpoint.Progress) -> bool:
    """Return whether the validation loss has not improved for `early_stop_epochs` epochs."""
    patience = config.fit.early_stop_epochs
    learning = progress.learns not in ("", "added")
    return bool(patience) and learning and progress.epoch - progress.best_epoch >= patience


def _schedule(config: TrainConfig, epoch: int, stage: Stage, steps: int) -> Any:
    """Return the learning rate of the stage of this epoch, by the steps of its optimizer.

    One cosine spans all stages that train the backbone. A change of `learns` creates a new
    optimizer; a resumed one keeps its step count. So the offset is the steps before the first
    epoch of that optimizer.
    """
    if stage.learns == "added":
        return _ADDED_LEARNING_RATE
    learns = [s.learns for s in config.fit.stages for _ in range(s.epochs)]
    first = epoch
    while first > 0 and learns[first - 1] == stage.learns:
        first -= 1
    learning = [which != "added" for which in learns]
    return CosineWithWarmup(
        config.fit.learning_rate,
        round(config.fit.warmup_epochs * steps),
        sum(learning) * steps,
        start=sum(learning[:first]) * steps,
    )


def _train_epoch(
    config: TrainConfig,
    model: keras.Model,
    train: TrainingSet,
    validation: TrainingSet,
    epoch: int,
    stage: Stage,
    callbacks: Sequence[keras.callbacks.Callback],
) -> dict[str, float]:
    history = model.fit(
        epoch_batches(config, train, epoch, stage),
        epochs=1,
        verbose=0,
        shuffle=False,
        callbacks=[_KeepRawWeights(), *callbacks],
    )
    with _EmaWeights(model):
        scores = model.evaluate(
            plain_batches(validation, stage.size_px), verbose=0, return_dict=True
        )
    record = {key: float(values[-1]) for key, values in history.history.items()}
    return record | {f"val_{key}": float(value) for key, value in scores.items()}


def _seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    for i, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.Dropout):
            layer.seed_generator.state.assign([seed * 1000 + i, epoch])


def _epoch_summary(record: dict[str, float], epochs: int) -> str:
    parts = [f"epoch {record['epoch']}/{epochs}", f"{record['size_px']} px"]
    for key in (
        "loss",
        "val_loss",
        "val_age_mae",
        "val_mae",
        "val_gender_accuracy",
        "val_accuracy",
    ):
        if key in record:
            parts.append(f"{key} {record[key]:.4f}")
    return ", ".join([*parts, f"{record['taken_s'] / 60:.1f} min"])
