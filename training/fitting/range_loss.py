"""Loss and metric for ages known exactly or only as a range (`training.data.range_targets`).

For a range label with likelihoods mᵢ = P(label | age i) the loss is the negative log-likelihood of
an interval-censored observation, −log Σᵢ mᵢ pᵢ (B. W. Turnbull, JRSS B 38(3), 1976): minus the log
of the probability mass inside the range. A wide range contains most of the mass of any prediction,
so it weighs little. For training on collections whose ages are ranges.
"""

from __future__ import annotations

import keras
from keras import ops

from training.config import LossConfig

_TINY = 1e-7


@keras.saving.register_keras_serializable("facestream")
class RangeAgeLoss(keras.losses.Loss):
    """Negative log of the mass in the range, plus cross-entropy and distance to the soft label.

    Takes targets `[n, 2 * bins]` of `age_targets` and logits `[n, bins]`. A soft label counts by
    the sum of its row. A range of one year adds no range term: its soft label states the age.
    """

    def __init__(
        self, config: LossConfig, range_weight: float = 1.0, name: str = "range_age_loss"
    ) -> None:
        super().__init__(name=name)
        self._config, self._range_weight = config, range_weight

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of each face, float `[n]`."""
        soft, likelihood = ops.split(y_true, 2, axis=-1)
        log_p = ops.log_softmax(y_pred)
        p = ops.exp(log_p)
        inside = ops.sum(likelihood * p, axis=-1)
        censored = -ops.log(ops.maximum(inside, _TINY))
        is_range = ops.cast(ops.sum(likelihood, axis=-1) > 1.5, "float32")
        cross_entropy = -ops.sum(soft * log_p, axis=-1)
        years = ops.arange(ops.shape(y_pred)[-1], dtype="float32")
        row = ops.sum(soft, axis=-1, keepdims=True)
        distance = ops.abs(ops.sum((row * p - soft) * years, axis=-1))
        return (
            self._range_weight * is_range * censored
            + self._config.age_distribution * cross_entropy
            + self._config.age_expectation * distance
        )


@keras.saving.register_keras_serializable("facestream")
class RangeAgeError(keras.metrics.MeanMetricWrapper):
    """Mean distance in years of the expected age from the nearest end of the labeled range."""

    def __init__(self, name: str = "mae") -> None:
        super().__init__(_distance_outside, name=name)


def _distance_outside(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    _, likelihood = ops.split(y_true, 2, axis=-1)
    bins = ops.shape(y_pred)[-1]
    years = ops.arange(bins, dtype="float32")
    expected = ops.sum(ops.softmax(y_pred) * years, axis=-1)
    inside = ops.cast(likelihood >= 0.5, "int32")
    low = ops.cast(ops.argmax(inside, axis=-1), "float32")
    high = ops.cast(bins - 1, "float32") - ops.cast(
        ops.argmax(ops.flip(inside, axis=-1), axis=-1), "float32"
    )
    return ops.maximum(ops.maximum(low - expected, expected - high), 0.0)
