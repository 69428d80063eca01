"""Temperature scaling: fit one temperature per head on held-out faces. No I/O.

The age
temperature is the one at which the 80 % interval holds for 80 % of the faces; the gender
temperature minimizes the log-loss (C. Guo et al., "On calibration of modern neural networks",
ICML 2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from facestream.common.vision.age_distribution import (
    INTERVAL_LEVEL,
    central_interval,
    median_and_std,
)
from facestream.common.vision.exported_model import Predictions
from numpy.typing import NDArray

from training.evaluation.metrics import Labels, log_loss

_LOWEST, _HIGHEST, _STEPS = 0.25, 4.0, 40
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Calibration:
    """Temperatures that divide the logits before softmax and sigmoid; 1 changes nothing."""

    age_temperature: float = 1.0
    gender_temperature: float = 1.0


def scale_distribution(
    distribution: NDArray[np.floating], temperature: float
) -> NDArray[np.float32]:
    """The softmax at this temperature, from the softmax at 1: p^(1/T), normalized."""
    logits = np.log(np.maximum(np.asarray(distribution, np.float64), _TINY)) / temperature
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


def scale_probability(probability: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """The sigmoid at this temperature, from the sigmoid at 1."""
    p = np.clip(np.asarray(probability, np.float64), _TINY, 1 - _TINY)
    logits: NDArray[np.float64] = np.log(p / (1 - p)) / temperature
    return 1 / (1 + np.exp(-logits))


def find_calibration(labels: Labels, predictions: Predictions) -> Calibration:
    """Fit the temperatures to predictions at temperature 1."""
    age = gender = 1.0
    if "age_distribution" in predictions:
        age = _age_temperature(labels.age, predictions["age_distribution"])
    if "gender" in predictions:
        gender = _gender_temperature(labels.female > 0.5, predictions["gender"])
    return Calibration(round(age, 4), round(gender, 4))


def apply_calibration(predictions: Predictions, calibration: Calibration) -> Predictions:
    """Return the predictions at these temperatures, from those at temperature 1."""
    changed = dict(predictions)
    if "age_distribution" in predictions:
        distribution = scale_distribution(
            predictions["age_distribution"], calibration.age_temperature
        )
        changed["age_distribution"] = distribution
        changed["age"], changed["age_std"] = median_and_std(distribution)
    if "gender" in predictions:
        soft = scale_probability(predictions["gender"], calibration.gender_temperature)
        changed["gender"] = soft.astype(np.float32)
    return changed


def _age_temperature(age: NDArray[np.float32], distribution: NDArray[np.floating]) -> float:
    """Bisect: a higher temperature widens the distribution and raises its coverage."""
    low, high = _LOWEST, _HIGHEST
    for _ in range(_STEPS):
        middle = float(np.sqrt(low * high))
        first, last = central_interval(scale_distribution(distribution, middle), INTERVAL_LEVEL)
        if ((first <= age) & (age <= last)).mean() < INTERVAL_LEVEL:
            low = middle
        else:
            high = middle
    return float(np.sqrt(low * high))


def _gender_temperature(female: NDArray[np.bool_], probability: NDArray[np.floating]) -> float:
    """Search by golden section: the log-loss has one minimum in log T."""
    ratio = (np.sqrt(5) - 1) / 2
    low, high = np.log(_LOWEST), np.log(_HIGHEST)
    for _ in range(_STEPS):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if log_loss(female, scale_probability(probability, np.exp(left))) < log_loss(
            female, scale_probability(probability, np.exp(right))
        ):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))
