"""Runs the training: data in, checkpoints and a record out; picks up where it was killed.

Every source of chance is derived from (seed, epoch, position), and the optimizer's state is part of
the checkpoint, so a resumed run ends where an unbroken one would.
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
from training.model.network import BACKBONE, build, with_embedding

HISTORY_FILE = "history.jsonl"
# Before it the feature maps are large and cost most of the time; they learn least.
FIRST_LATE_LAYER = "block_4_expand"
_ADDED_LEARNING_RATE = 1e-3


class CosineWithWarmup(keras.optimizers.schedules.LearningRateSchedule):
    """Linear rise to `peak` over `warmup` steps, then half a cosine down to zero at `total`.

    `start` is added to the step: a stage's fresh optimizer goes on where the last one stopped.
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


def compile_for(config: TrainConfig, model: keras.Model, schedule: Any, learns: str) -> None:
    """Choose the layers that learn and give the model losses, metrics and a fresh optimizer."""
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
    """Undoes what Keras does at the end of every `fit`: put the moving average into the model.

    The next epoch must go on from the weights that learn, not from their average.
    """

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Store the weights that the optimizer trains."""
        self._own = [v.numpy() for v in self.model.trainable_variables]

    def on_train_end(self, logs: Any = None) -> None:
        """Put the stored weights back."""
        for variable, value in zip(self.model.trainable_variables, self._own, strict=True):
            variable.assign(value)


class _EmaWeights:
    """Lends the model its averaged weights for the length of a `with`."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model

    def __enter__(self) -> None:
        self._own = [v.numpy() for v in self._model.trainable_variables]
        optimizer = self._model.optimizer
        if optimizer.use_ema:
            optimizer.finalize_variable_values(self._model.trainable_variables)

    def __exit__(self, *_: object) -> None:
        for variable, value in zip(self._model.trainable_variables, self._own, strict=True):
            variable.assign(value)


def fit(
    config: TrainConfig,
    train: TrainingSet,
    validation: TrainingSet,
    run_dir: Path,
    weights: str | Path | None,
    say: Callable[[str], None] = print,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.Model:
    """Train to the end of the last stage; the network comes back with its averaged weights.

    `run_dir` receives `history.jsonl` (a line an epoch) and a checkpoint after each epoch; a run
    found unfinished there is resumed. `callbacks` see each epoch as a `Model.fit` of its own.
    """
    cv2.setNumThreads(1)
    if config.fit.mixed_precision:
        keras.mixed_precision.set_global_policy("mixed_float16")
    keras.utils.set_random_seed(config.seed)
    progress = checkpoint.read_progress(run_dir)
    resumed = progress
    history = run_dir / HISTORY_FILE
    _forget_after(history, progress.epoch)
    network = build(config.network, weights if progress.epoch == 0 else None)
    model = network
    if EMBEDDING in train.targets:
        model = with_embedding(network, train.targets[EMBEDDING].shape[1])
    steps = len(train) // config.fit.batch
    plan = [stage for stage in config.fit.stages for _ in range(stage.epochs)]
    compiled = ""
    for epoch in range(progress.epoch, len(plan)):
        stage = plan[epoch]
        if _should_stop_early(config, progress):
            say(f"no gain for {config.fit.early_stop_epochs} epochs, stopping")
            break
        if compiled != stage.learns:
            compiled = stage.learns
            compile_for(config, model, _schedule(config, epoch, stage, steps), compiled)
            model.optimizer.build(model.trainable_variables)
            if epoch == resumed.epoch and epoch > 0:
                same_optimizer = resumed.learns == stage.learns
                bring_back = checkpoint.load if same_optimizer else checkpoint.load_weights
                bring_back(model, run_dir, resumed)
        started = time.monotonic()
        _seed_dropout(model, config.seed, epoch)
        record = _one_epoch(config, model, train, validation, epoch, stage, callbacks)
        taken_s = progress.taken_s + time.monotonic() - started
        record |= {"epoch": epoch + 1, "size_px": stage.size_px, "taken_s": taken_s}
        gained = record["val_loss"] < progress.best_loss
        progress = checkpoint.Progress(
            epoch=epoch + 1,
            learns=stage.learns,
            taken_s=taken_s,
            best_loss=record["val_loss"] if gained else progress.best_loss,
            best_epoch=epoch + 1 if gained else progress.best_epoch,
        )
        with history.open("a") as file:
            file.write(json.dumps(record) + "\n")
        checkpoint.save(model, run_dir, progress)
        say(_line(record, len(plan)))
    if not compiled:
        last = plan[progress.epoch - 1]
        schedule = _schedule(config, progress.epoch - 1, last, steps)
        compile_for(config, model, schedule, last.learns)
        model.optimizer.build(model.trainable_variables)
        checkpoint.load(model, run_dir, progress)
    if model.optimizer.use_ema:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    return network


def _forget_after(history: Path, epoch: int) -> None:
    """Drop the line of an epoch that was told but, the run being killed, not kept."""
    if history.exists():
        lines = history.read_text().splitlines(keepends=True)
        history.write_text("".join(lines[:epoch]))


def _should_stop_early(config: TrainConfig, progress: checkpoint.Progress) -> bool:
    """Whether the full network has learnt for some epochs without gain on the validation faces."""
    patience = config.fit.early_stop_epochs
    learning = progress.learns not in ("", "added")
    return bool(patience) and learning and progress.epoch - progress.best_epoch >= patience


def _schedule(config: TrainConfig, epoch: int, stage: Stage, steps: int) -> Any:
    """The learning rate of the stage that this epoch lies in, by the optimizer's own steps.

    One cosine spans all stages in which the backbone learns. An optimizer lives from one change of
    `learns` to the next, and a resumed one brings its steps along: what is added to them is what
    came before its first epoch, wherever in its life it is resumed.
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


def _one_epoch(
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


def _line(record: dict[str, float], epochs: int) -> str:
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
