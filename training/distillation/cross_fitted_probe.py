"""Reads age and gender from embeddings, of each face by what the other faces taught.

A small network on top of frozen ones: embeddings and labels of a set of faces go in, and for each
of these faces an answer comes out that its own label had no part in (cross-fitting). A label says
what is written on a picture; such an answer says what can be seen in it.
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
_READERS = 2  # of each part; their mean is right more often
_DROPOUT_IN, _DROPOUT_BETWEEN = 0.3, 0.6
_LOSS = LossConfig(age_distribution=1.0, age_expectation=0.2, gender=2.5, gender_smoothing=0.02)
_OUTLIER = 6.0  # deviations


def cross_fit(
    embedding: NDArray[np.float32],
    age: NDArray[np.float32],
    female: NDArray[np.float32],
    teaches: NDArray[np.bool_],
    parts: int = 5,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What each face looks like: distributions over years `[n, bins]` and chances of female `[n]`.

    Args:
        embedding: `[n, dimensions]`.
        age: what to answer, distributions `[n, bins]`.
        female: 0 or 1, `[n]`.
        teaches: whose labels may be learnt from, `[n]`; all are read.
        parts: the faces of each part are read by one that learnt from all the others.
    """
    inputs = standardize(embedding)
    part = np.arange(len(inputs)) % parts
    said_age, said_female = np.zeros_like(age), np.zeros_like(female)
    for this, seed in itertools.product(range(parts), range(_READERS)):
        learn, ask = (part != this) & teaches, part == this
        reader = _reader(inputs[learn], age[learn], female[learn], seed)
        age_logits, gender_logit = reader(inputs[ask], training=False)
        said_age[ask] += ops.convert_to_numpy(ops.softmax(age_logits)) / _READERS
        said_female[ask] += ops.convert_to_numpy(ops.sigmoid(gender_logit[:, 0])) / _READERS
    return said_age, said_female


def standardize(embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each dimension with mean 0 and deviation 1, its outliers brought in."""
    centred = embedding - embedding.mean(axis=0)
    return np.clip(centred / (centred.std(axis=0) + 1e-3), -_OUTLIER, _OUTLIER)


def _reader(
    inputs: NDArray[np.float32], age: NDArray[np.float32], female: NDArray[np.float32], seed: int
) -> keras.Model:
    keras.utils.set_random_seed(seed)
    seen = keras.Input((inputs.shape[1],))
    x = layers.Dropout(_DROPOUT_IN)(seen)
    x = layers.Dense(_UNITS, activation="silu")(x)
    x = layers.Dropout(_DROPOUT_BETWEEN)(x)
    model = keras.Model(seen, [layers.Dense(age.shape[1])(x), layers.Dense(1)(x)])
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
