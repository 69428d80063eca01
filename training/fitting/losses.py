"""Losses and metrics of the age, gender and embedding outputs.

Age: cross-entropy of distributions plus the distance of their expectations, B.-B. Gao et al., "Age
estimation using expectation of label distribution learning", IJCAI 2018. Embedding: regression of
teacher features, A. Romero et al., "FitNets: hints for thin deep nets", ICLR 2015.
"""

from __future__ import annotations

import keras
from keras import ops

from training.config import LossConfig


@keras.saving.register_keras_serializable("facestream")
class AgeLoss(keras.losses.Loss):
    """Cross-entropy to the target distribution, plus the distance of the expectations.

    Takes distributions `[n, bins]` and logits `[n, bins]`.
    """

    def __init__(self, config: LossConfig, name: str = "age_loss") -> None:
        super().__init__(name=name)
        self._config = config

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of each face, float `[n]`."""
        config = self._config
        cross_entropy = -ops.sum(y_true * ops.log_softmax(y_pred), axis=-1)
        distance = _expected_age_error(y_true, y_pred)
        return config.age_distribution * cross_entropy + config.age_expectation * distance


@keras.saving.register_keras_serializable("facestream")
class GenderLoss(keras.losses.Loss):
    """Smoothed binary cross-entropy of probabilities `[n]` and logits `[n]`."""

    def __init__(self, config: LossConfig, name: str = "gender_loss") -> None:
        super().__init__(name=name)
        self._config = config

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of each face, float `[n]`."""
        target = ops.reshape(y_true, (-1,))
        smooth = self._config.gender_smoothing
        target = target * (1 - smooth) + 0.5 * smooth
        logit = ops.reshape(y_pred, (-1,))
        loss = ops.relu(logit) - logit * target + ops.softplus(-ops.abs(logit))
        return self._config.gender * loss


@keras.saving.register_keras_serializable("facestream")
class EmbeddingLoss(keras.losses.Loss):
    """Squared distance of embeddings `[n, dimensions]`; predicting their mean gives 1."""

    def __init__(self, config: LossConfig, name: str = "embedding_loss") -> None:
        super().__init__(name=name)
        self._config = config

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        """Return the loss of each face, float `[n]`."""
        return self._config.embedding * ops.sum(ops.square(y_true - y_pred), axis=-1)


@keras.saving.register_keras_serializable("facestream")
class AgeError(keras.metrics.MeanMetricWrapper):
    """Mean absolute error of the expected age, years."""

    def __init__(self, name: str = "mae") -> None:
        super().__init__(_expected_age_error, name=name)


@keras.saving.register_keras_serializable("facestream")
class GenderAccuracy(keras.metrics.MeanMetricWrapper):
    """Share of faces with correctly predicted gender."""

    def __init__(self, name: str = "accuracy") -> None:
        super().__init__(_gender_right, name=name)


def _expected_age_error(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    years = ops.arange(ops.shape(y_pred)[-1], dtype="float32")
    return ops.abs(ops.sum((ops.softmax(y_pred) - y_true) * years, axis=-1))


def _gender_right(y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
    right = ops.equal(ops.reshape(y_pred, (-1,)) > 0, ops.reshape(y_true, (-1,)) > 0.5)
    return ops.cast(right, "float32")
