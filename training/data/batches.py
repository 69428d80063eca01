"""Input pipeline: augmented batches for training (optionally mixup), plain ones for validation."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from training.config import Stage, TrainConfig
from training.data.augmentation import augment, center_view
from training.data.targets import TrainingSet, age_weights


def epoch_batches(
    config: TrainConfig, training_set: TrainingSet, epoch: int, stage: Stage
) -> tf.data.Dataset:
    """Return one epoch of augmented batches: `(crops uint8, targets, weights)`.

    The order, the views and the mixup shares depend on `config.seed` and `epoch` alone.
    """
    order = (
        np.random.default_rng([config.seed, epoch]).permutation(len(training_set)).astype(np.int64)
    )
    batch, size_px = config.fit.batch, stage.size_px
    order = order[: len(order) // batch * batch]
    weight = age_weights(training_set.faces.age, config.loss.rare_age_power)
    targets = {output: target[order] for output, target in training_set.targets.items()}
    weights = {
        output: weight[order] if output == "age" else np.ones(len(order), np.float32)
        for output in targets
    }

    def view(index: np.int64) -> np.ndarray:
        random = np.random.default_rng([config.seed, epoch, int(index)])
        return augment(training_set.faces.crops[index], size_px, random, stage.calm)

    def load(index: tf.Tensor, target: Any, weight: Any) -> tuple[tf.Tensor, Any, Any]:
        crop = tf.numpy_function(view, [index], tf.uint8, stateful=False)
        return tf.ensure_shape(crop, (size_px, size_px, 3)), target, weight

    batches = (
        tf.data.Dataset.from_tensor_slices((order, targets, weights))
        .map(load, num_parallel_calls=2, deterministic=True)
        .batch(batch, drop_remainder=True)
    )
    if config.fit.mixup and not stage.calm:
        shares = np.random.default_rng([config.seed, epoch]).beta(
            config.fit.mixup, config.fit.mixup, (len(order) // batch, batch)
        )
        shares = tf.data.Dataset.from_tensor_slices(shares.astype(np.float32))
        batches = tf.data.Dataset.zip(batches, shares).map(mixup)
    return batches.prefetch(4)


def mixup(batch: Any, share: tf.Tensor) -> Any:
    """Mix every face of a batch, at weight `share` `[n]`, with its partner of the reversed batch.

    H. Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018.
    """

    def blend(values: tf.Tensor) -> tf.Tensor:
        own = tf.reshape(share, (-1, *[1] * (len(values.shape) - 1)))
        mixed = tf.cast(values, tf.float32)
        mixed = own * mixed + (1 - own) * tf.reverse(mixed, [0])
        return tf.cast(tf.round(mixed), values.dtype) if values.dtype == tf.uint8 else mixed

    return tf.nest.map_structure(blend, batch)


def plain_batches(training_set: TrainingSet, size_px: int, batch: int = 64) -> tf.data.Dataset:
    """Return unaugmented batches in the order of the set: `(crops uint8, targets)`."""
    crops = np.stack([center_view(crop, size_px) for crop in training_set.faces.crops])
    return tf.data.Dataset.from_tensor_slices((crops, training_set.targets)).batch(batch)
