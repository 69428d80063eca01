"""Cross-fitted probes: predict age and gender from embeddings, never from a face's own label.

A probe is a small network on frozen embeddings. The faces are split into parts, and the probes of a
part are trained on all other parts. So a label error does not reach the prediction of its face.
"""

from __future__ import annotations

import itertools

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from training.config import LossConfig
from training.fitting.losses import AgeLoss, GenderLoss

_EPOCHS, _BATCH, _UNITS, _PEAK_RATE, _WEIGHT_DECAY = 20, 128, 512, 1e-3, 0.05
_PROBES_PER_PART = 2  # ensemble of seeds: their mean is more accurate
_DROPOUT_IN, _DROPOUT_BETWEEN = 0.3, 0.6
_LOSS = LossConfig(age_distribution=1.0, age_expectation=0.2, gender=2.5, gender_smoothing=0.02)
_OUTLIER = 6.0  # deviations


def cross_fit(
    embedding: NDArray[np.float32],
    age: NDArray[np.float32],
    female: NDArray[np.float32],
    is_training: NDArray[np.bool_],
    parts: int = 5,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return predicted age distributions `[n, bins]` and probabilities of female `[n]`.

    Args:
        embedding: `[n, dimensions]`.
        age: target distributions `[n, bins]`.
        female: 0 or 1, `[n]`.
        is_training: mask `[n]` of labels to train on; every face gets a prediction.
        parts: number of parts; the probes of each are trained on all the others.
    """
    inputs = standardize(embedding)
    part = np.arange(len(inputs)) % parts
    predicted_age, predicted_female = np.zeros_like(age), np.zeros_like(female)
    for held_out, seed in itertools.product(range(parts), range(_PROBES_PER_PART)):
        fit_rows, predict_rows = (part != held_out) & is_training, part == held_out
        probe = _train_probe(inputs[fit_rows], age[fit_rows], female[fit_rows], seed)
        age_logits, gender_logit = probe(inputs[predict_rows], training=False)
        predicted_age[predict_rows] += (
            ops.convert_to_numpy(ops.softmax(age_logits)) / _PROBES_PER_PART
        )
        predicted_female[predict_rows] += (
            ops.convert_to_numpy(ops.sigmoid(gender_logit[:, 0])) / _PROBES_PER_PART
        )
    return predicted_age, predicted_female


def standardize(embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale each dimension to mean 0 and deviation 1 and clip outliers at 6 deviations."""
    centered = embedding - embedding.mean(axis=0)
    return np.clip(centered / (centered.std(axis=0) + 1e-3), -_OUTLIER, _OUTLIER)


def _train_probe(
    inputs: NDArray[np.float32], age: NDArray[np.float32], female: NDArray[np.float32], seed: int
) -> keras.Model:
    keras.utils.set_random_seed(seed)
    features = keras.Input((inputs.shape[1],))
    x = layers.Dropout(_DROPOUT_IN)(features)
    x = layers.Dense(_UNITS, activation="silu")(x)
    x = layers.Dropout(_DROPOUT_BETWEEN)(x)
    model = keras.Model(features, [layers.Dense(age.shape[1])(x), layers.Dense(1)(x)])
    rate = keras.optimizers.schedules.CosineDecay(
        _PEAK_RATE, max(1, _EPOCHS * (len(inputs) // _BATCH))
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=_WEIGHT_DECAY),
        loss=[AgeLoss(_LOSS), GenderLoss(_LOSS)],
        jit_compile=False,
    )
    model.fit(inputs, [age, female], epochs=_EPOCHS, batch_size=_BATCH, verbose=0)
    return model
