"""What the network is asked to get right, and how much each miss hurts.

Soft age labels: B.-B. Gao et al., "Deep label distribution learning with label ambiguity", IEEE
TIP 26(6), 2017; together with the expectation's distance: B.-B. Gao et al., "Age estimation using
expectation of label distribution learning", IJCAI 2018.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from training.config import LossConfig


@keras.saving.register_keras_serializable("facestream")
class AgeLoss(keras.losses.Loss):
    """Cross-entropy to a Gaussian around the true age, plus the distance of the expectation.

    Takes ages in years `[n]` and logits `[n, bins]`. The Gaussian widens with age because the
    labels (and faces) of the old are less certain than those of children.
    """

    def __init__(self, config: LossConfig, name: str = "age_loss") -> None:
        super().__init__(name=name)
        self._config = config

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        config = self._config
        bins = ops.arange(ops.shape(y_pred)[-1], dtype="float32")
        age = ops.clip(ops.reshape(y_true, (-1, 1)), 0.0, ops.max(bins))
        sigma = ops.minimum(
            config.label_sigma_base + config.label_sigma_per_year * age, config.label_sigma_max
        )
        soft = ops.softmax(-0.5 * ops.square((bins - age) / sigma))
        cross_entropy = -ops.sum(soft * ops.log_softmax(y_pred), axis=-1)
        distance = ops.abs(ops.sum(ops.softmax(y_pred) * bins, axis=-1) - age[:, 0])
        return config.age_distribution * cross_entropy + config.age_expectation * distance


@keras.saving.register_keras_serializable("facestream")
class GenderLoss(keras.losses.Loss):
    """Smoothed binary cross-entropy of a logit `[n]`."""

    def __init__(self, config: LossConfig, name: str = "gender_loss") -> None:
        super().__init__(name=name)
        self._config = config

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        target = ops.reshape(y_true, (-1,))
        smooth = self._config.gender_smoothing
        target = target * (1 - smooth) + 0.5 * smooth
        logit = ops.reshape(y_pred, (-1,))
        loss = ops.relu(logit) - logit * target + ops.softplus(-ops.abs(logit))
        return self._config.gender * loss


@keras.saving.register_keras_serializable("facestream")
class AgeError(keras.metrics.MeanMetricWrapper):
    """Mean absolute error of the expected age, years."""

    def __init__(self, name: str = "mae") -> None:
        super().__init__(_expected_age_error, name=name)


@keras.saving.register_keras_serializable("facestream")
class GenderAccuracy(keras.metrics.MeanMetricWrapper):
    """Share of faces whose gender is right."""

    def __init__(self, name: str = "accuracy") -> None:
        super().__init__(_gender_right, name=name)


def _expected_age_error(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    bins = ops.arange(ops.shape(y_pred)[-1], dtype="float32")
    return ops.abs(ops.sum(ops.softmax(y_pred) * bins, axis=-1) - ops.reshape(y_true, (-1,)))


def _gender_right(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    right = ops.equal(ops.reshape(y_pred, (-1,)) > 0, ops.reshape(y_true, (-1,)) > 0.5)
    return ops.cast(right, "float32")


def age_weights(age: NDArray[np.float32], power: float) -> NDArray[np.float32]:
    """Weight of each face, mean 1: (1 / frequency of its age, smoothed ±2 years) to `power`."""
    counts = np.bincount(age.astype(int), minlength=int(age.max()) + 5).astype(np.float64)
    smooth = np.convolve(counts, np.ones(5) / 5, mode="same") + 1
    weights = smooth[age.astype(int)] ** -power
    weights = np.clip(weights / weights.mean(), 0.5, 3.0)
    return (weights / weights.mean()).astype(np.float32)
