"""Attribute fusion: one estimate of age and gender per track, from all its predictions. No I/O.

A prediction is a distribution over ages, a probability of female and the quality of the crop.
Predictions are combined by *logarithmic* pooling (Genest & Zidek 1986): log p = Σ wᵢ log pᵢ. For
independent predictions of one face this is Bayes' rule. A linear pool would never get narrower with
evidence, and a linear pool of calibrated parts is itself underconfident (Ranjan & Gneiting 2010).

Predictions of one face within seconds are far from independent: most of the network's error belongs
to the face and repeats. The weights therefore sum to the effective number of predictions,
n/(1 + (n − 1)ρ), by the design effect of Kish (1965). For unequal qualities n is
Kish's effective size (Σq)²/Σq². Gender is pooled as log-odds with the same weights.

`Estimate` stores sums only, so its memory does not grow with the number of predictions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facestream.common.vision.age_distribution import central_interval, quantile
from facestream.common.vision.displayed_estimate import DisplayedEstimate, DisplayThresholds

MAX_AGE_YEARS = 110
CORRELATION = 0.7  # between the errors of two predictions of one track
# Mixed into each distribution: one prediction that calls an age impossible must not exclude it.
UNIFORM_SHARE = 0.01
MAX_LOG_ODDS = math.log(0.99 / 0.01)
MIN_QUALITY = 0.02
# Hysteresis: a displayed estimate is hidden only if it gets worse than its threshold by this much.
INTERVAL_SLACK = 1.25
PROBABILITY_SLACK = 0.12
AGE_STEP_YEARS = 1.0
INTERVAL_STEP_YEARS = 2.0

_AGES = np.arange(MAX_AGE_YEARS + 1, dtype=np.float64)


@dataclass
class _Weight:
    """Sums of the crop qualities behind one attribute, age or gender."""

    total: float = 0.0
    squares: float = 0.0

    def add(self, quality: float) -> None:
        self.total += quality
        self.squares += quality * quality

    def merge_from(self, other: _Weight) -> None:
        """Add the qualities of another track."""
        self.total += other.total
        self.squares += other.squares

    def effective(self) -> float:
        """Return the effective number of independent predictions."""
        n = self.total**2 / self.squares
        return n / (1 + (n - 1) * CORRELATION)


class Estimate:
    """Fused predictions of one track.

    Args:
        thresholds: when an attribute may be displayed.
    """

    def __init__(self, thresholds: DisplayThresholds) -> None:
        self._thresholds = thresholds
        self._predictions = 0
        self._age_weight = _Weight()
        self._sum_log = np.zeros(MAX_AGE_YEARS + 1)
        self._gender_weight = _Weight()
        self._sum_odds = 0.0
        self._shown = DisplayedEstimate()

    @property
    def shown(self) -> DisplayedEstimate:
        """The estimate as it may be displayed now."""
        return self._shown

    @classmethod
    def merged(cls, estimates: Sequence[Estimate]) -> Estimate:
        """Return the fused estimate of several tracks of one person; at least one is needed."""
        merged = cls(estimates[0]._thresholds)
        for part in estimates:
            merged._predictions += part._predictions
            merged._age_weight.merge_from(part._age_weight)
            merged._gender_weight.merge_from(part._gender_weight)
            merged._sum_log = merged._sum_log + part._sum_log
            merged._sum_odds += part._sum_odds
        merged._shown = merged._build_displayed()
        return merged

    def add(
        self,
        distribution: NDArray[np.float32],
        age: float,
        age_std: float,
        female: float,
        quality: float,
    ) -> None:
        """Add one prediction.

        Args:
            distribution: probability of each whole year from 0, float32 `[bins]`. An empty one is
                replaced by the normal distribution of `age` and `age_std`.
            age: years, NaN if the model has no age head.
            age_std: years.
            female: probability, NaN if the model has no gender head.
            quality: of the crop, 0-1.
        """
        q = min(max(quality, MIN_QUALITY), 1.0)
        self._predictions += 1
        if not math.isnan(age):
            self._age_weight.add(q)
            self._sum_log += q * np.log(_to_age_grid(distribution, age, age_std))
        if not math.isnan(female):
            self._gender_weight.add(q)
            self._sum_odds += q * _log_odds(female)
        self._shown = self._build_displayed()

    def age_distribution(self) -> NDArray[np.float64]:
        """Return the probability of each whole year 0-110, float64 `[111]`.

        At least one prediction with an age must have been added.
        """
        weight = self._age_weight
        log_p = self._sum_log * (weight.effective() / weight.total)
        p: NDArray[np.float64] = np.exp(log_p - log_p.max())
        p /= p.sum()
        return p

    def female_probability(self) -> float:
        """Return the probability of female, 0-1; 0.5 without predictions."""
        weight = self._gender_weight
        if weight.total == 0:
            return 0.5
        return 1 / (1 + math.exp(-self._sum_odds * weight.effective() / weight.total))

    def _build_displayed(self) -> DisplayedEstimate:
        age, age_low, age_high = self._displayed_age()
        return DisplayedEstimate(
            age=age,
            age_low=age_low,
            age_high=age_high,
            female_probability=self._displayed_female(),
            predictions=self._predictions,
        )

    def _displayed_age(self) -> tuple[float | None, float | None, float | None]:
        if not self._has_enough_evidence(self._age_weight):
            return None, None, None
        ages = self.age_distribution()
        low, high = (float(side) for side in central_interval(ages))
        age = float(quantile(ages, 0.5))
        before = self._shown
        limit = self._thresholds.max_age_interval_years
        if before.age is not None:
            limit *= INTERVAL_SLACK
        if high - low > limit:
            return None, None, None
        if before.age is None or before.age_low is None or before.age_high is None:
            has_moved = True
        else:
            has_moved = abs(age - before.age) >= AGE_STEP_YEARS or (
                max(abs(low - before.age_low), abs(high - before.age_high)) >= INTERVAL_STEP_YEARS
            )
        if has_moved:
            return round(age, 1), round(low, 1), round(high, 1)
        return before.age, before.age_low, before.age_high

    def _displayed_female(self) -> float | None:
        if not self._has_enough_evidence(self._gender_weight):
            return None
        p = self.female_probability()
        required = self._thresholds.min_gender_probability
        before = self._shown.female_probability
        if before is not None and (before >= 0.5) == (p >= 0.5):
            required = max(0.5, required - PROBABILITY_SLACK)
        return round(p, 3) if max(p, 1 - p) >= required else None

    def _has_enough_evidence(self, weight: _Weight) -> bool:
        return weight.total > 0 and weight.total >= self._thresholds.min_evidence


def _to_age_grid(
    distribution: NDArray[np.float32], age: float, age_std: float
) -> NDArray[np.float64]:
    if distribution.size:
        p = np.zeros_like(_AGES)
        n = min(distribution.size, p.size)
        p[:n] = distribution[:n]
    else:
        p = np.exp(-0.5 * ((_AGES - age) / max(age_std, 1.0)) ** 2)
    total = p.sum()
    if total > 0:
        p /= total
    return (1 - UNIFORM_SHARE) * p + UNIFORM_SHARE / p.size


def _log_odds(p: float) -> float:
    odds = math.log(max(p, 1e-9) / max(1 - p, 1e-9))
    return min(max(odds, -MAX_LOG_ODDS), MAX_LOG_ODDS)
