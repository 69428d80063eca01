"""Accuracy metrics from labels and predictions, overall and by group. No I/O.

Labels and predictions are in the same order. Ages in years, probabilities and shares 0–1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from facestream.common.vision.age_distribution import INTERVAL_LEVEL, central_interval
from facestream.common.vision.exported_model import Predictions
from numpy.typing import NDArray

from training.data.utkface import ETHNICITIES, GENDERS

ADULT_AGE = 15  # gender accuracy is also reported without children
CUMULATIVE_SCORE_YEARS = 5
AGE_BANDS = ((0, 2), (3, 9), (10, 14), (15, 24), (25, 34), (35, 44), (45, 59), (60, 74), (75, 199))
INTERVAL_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
RELIABILITY_BINS = 10
_EPSILON = 1e-6  # bounds the log-loss of a certain, wrong prediction


@dataclass(frozen=True, slots=True)
class Labels:
    """Ground truth of each face: age in years float32 `[n]`, female 0 or 1, ethnicity 0–4."""

    age: NDArray[np.float32]
    female: NDArray[np.float32]
    ethnicity: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.age)

    def select(self, keep: NDArray[Any]) -> Labels:
        """Return the labels at these positions or where this mask is true."""
        return Labels(self.age[keep], self.female[keep], self.ethnicity[keep])


def select_rows(predictions: Predictions, keep: NDArray[Any]) -> Predictions:
    """Return the predictions at these positions or where this mask is true."""
    return {name: values[keep] for name, values in predictions.items()}


def compute_metrics(labels: Labels, predictions: Predictions) -> dict[str, float | int]:
    """Compute every metric whose prediction is present.

    `age_cs5` is the share of ages off by at most 5 years (cumulative score); `age_bias` is positive
    if predicted ages are too high; `interval_coverage` is the share of true ages inside the 80 %
    interval of `age_distribution`.
    """
    found: dict[str, float | int] = {"n": len(labels)}
    if len(labels) == 0:
        return found
    if "age" in predictions:
        error = (predictions["age"] - labels.age).astype(np.float64)
        found |= {
            "age_mae": float(np.abs(error).mean()),
            "age_rmse": float(np.sqrt((error**2).mean())),
            "age_cs5": float((np.abs(error) <= CUMULATIVE_SCORE_YEARS).mean()),
            "age_bias": float(error.mean()),
        }
    if "age_distribution" in predictions:
        low, high = central_interval(predictions["age_distribution"], INTERVAL_LEVEL)
        found["interval_coverage"] = float(((low <= labels.age) & (labels.age <= high)).mean())
        found["interval_width"] = float((high - low).mean())
    if "gender" in predictions:
        female, probability = labels.female > 0.5, predictions["gender"].astype(np.float64)
        right = (probability > 0.5) == female
        found["gender_accuracy"] = float(right.mean())
        grown = labels.age >= ADULT_AGE
        if grown.any():
            found["gender_accuracy_from_15"] = float(right[grown].mean())
        if female.any() and not female.all():
            found["gender_auc"] = area_under_curve(female, probability)
        found["gender_log_loss"] = log_loss(female, probability)
        found["gender_ece"] = expected_calibration_error(female, probability)
    return found


def area_under_curve(positive: NDArray[np.bool_], score: NDArray[np.floating]) -> float:
    """Chance that a positive scores above a negative, ties half: Mann and Whitney's U / n₁n₀."""
    _, rank_of, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[rank_of]  # mean rank of equal scores, from 1
    n_positive, n = int(positive.sum()), len(positive)
    above = float(ranks[positive].sum()) - n_positive * (n_positive + 1) / 2
    return above / (n_positive * (n - n_positive))


def log_loss(positive: NDArray[np.bool_], probability: NDArray[np.floating]) -> float:
    """Return the mean −ln of the probability of the true class."""
    p = np.clip(probability, _EPSILON, 1 - _EPSILON)
    return float(-np.log(np.where(positive, p, 1 - p)).mean())


def reliability(
    positive: NDArray[np.bool_], probability: NDArray[np.floating]
) -> list[dict[str, float | int]]:
    """Return predicted and observed frequencies in ten equal bins of the probability."""
    which = np.minimum((probability * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    rows: list[dict[str, float | int]] = []
    for i in range(RELIABILITY_BINS):
        inside = which == i
        if inside.any():
            rows.append(
                {
                    "from": i / RELIABILITY_BINS,
                    "to": (i + 1) / RELIABILITY_BINS,
                    "n": int(inside.sum()),
                    "said": float(probability[inside].mean()),
                    "was": float(positive[inside].mean()),
                }
            )
    return rows


def expected_calibration_error(
    positive: NDArray[np.bool_], probability: NDArray[np.floating]
) -> float:
    """Mean |said − was| over the bins of `reliability`, weighted by their size.

    M. P. Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI
    2015.
    """
    rows = reliability(positive, probability)
    return sum(row["n"] * abs(row["said"] - row["was"]) for row in rows) / len(positive)


def coverage(labels: Labels, distribution: NDArray[np.floating]) -> dict[str, float]:
    """Share of true ages inside the central interval, for each of `INTERVAL_LEVELS`."""
    found = {}
    for level in INTERVAL_LEVELS:
        low, high = central_interval(distribution, level)
        found[f"{level:g}"] = float(((low <= labels.age) & (labels.age <= high)).mean())
    return found


def group_masks(labels: Labels) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Return a mask of the faces of each age band, gender and ethnicity."""
    bands = {}
    for first, last in AGE_BANDS:
        name = f"{first}–{last}" if last < AGE_BANDS[-1][1] else f"{first}+"
        bands[name] = (labels.age >= first) & (labels.age <= last)
    return {
        "age": bands,
        "gender": {name: labels.female == i for i, name in enumerate(GENDERS)},
        "ethnicity": {name: labels.ethnicity == i for i, name in enumerate(ETHNICITIES)},
    }


def metrics_by_group(
    labels: Labels, predictions: Predictions
) -> dict[str, dict[str, Mapping[str, float | int]]]:
    """`figures` of every group that has a face."""
    return {
        kind: {
            name: compute_metrics(labels.select(mask), select_rows(predictions, mask))
            for name, mask in members.items()
            if mask.any()
        }
        for kind, members in group_masks(labels).items()
    }
