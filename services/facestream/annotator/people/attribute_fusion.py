"""What is known of one person: all answers of a track fused into one estimate. Pure.

Each answer is a distribution over ages, a probability of female and a quality. They are combined
by *logarithmic* pooling (Genest & Zidek 1986): log p = Σ wᵢ log pᵢ, which for independent looks at
one face is Bayes' rule. A linear pool would never get narrower with evidence, and of calibrated
parts is itself underconfident (Ranjan & Gneiting 2010). Looks at one face within seconds are far
from independent: most of the network's error belongs to the face and repeats. So the weights sum
not to the number of answers n but to the effective number n/(1 + (n − 1)ρ) (the design effect of
Kish 1965), with n itself Kish's effective size (Σq)²/Σq² for unequal qualities. Gender is pooled as
log-odds with the same weights.

`Estimate` keeps sums only: its memory does not grow with the answers.
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
CORRELATION = 0.7  # of the errors of two answers about one track
# One answer that calls an age impossible must not veto it for good.
UNIFORM_SHARE = 0.01
MAX_LOG_ODDS = math.log(0.99 / 0.01)
MIN_QUALITY = 0.02
# Once shown, an estimate must get this much worse before it is taken back.
INTERVAL_SLACK = 1.25
PROBABILITY_SLACK = 0.12
AGE_STEP_YEARS = 1.0
INTERVAL_STEP_YEARS = 2.0

_AGES = np.arange(MAX_AGE_YEARS + 1, dtype=np.float64)


@dataclass
class _Weight:
    """The qualities of the answers to one question, age or gender."""

    total: float = 0.0
    squares: float = 0.0

    def add(self, quality: float) -> None:
        self.total += quality
        self.squares += quality * quality

    def merge_from(self, other: _Weight) -> None:
        """The answers of another track too."""
        self.total += other.total
        self.squares += other.squares

    def effective(self) -> float:
        """How many independent answers they are worth."""
        n = self.total**2 / self.squares
        return n / (1 + (n - 1) * CORRELATION)


class Estimate:
    """The answers about one track, fused."""

    def __init__(self, rule: DisplayThresholds) -> None:
        self._rule = rule
        self._answers = 0
        self._age_weight = _Weight()
        self._sum_log = np.zeros(MAX_AGE_YEARS + 1)
        self._gender_weight = _Weight()
        self._sum_odds = 0.0
        self._shown = DisplayedEstimate()

    @property
    def shown(self) -> DisplayedEstimate:
        """The estimate as it may be shown now."""
        return self._shown

    @classmethod
    def merged(cls, estimates: Sequence[Estimate]) -> Estimate:
        """What several tracks of one person say together; one at least."""
        joined = cls(estimates[0]._rule)
        for part in estimates:
            joined._answers += part._answers
            joined._age_weight.merge_from(part._age_weight)
            joined._gender_weight.merge_from(part._gender_weight)
            joined._sum_log = joined._sum_log + part._sum_log
            joined._sum_odds += part._sum_odds
        joined._shown = joined._commit()
        return joined

    def add(
        self,
        distribution: NDArray[np.float32],
        age: float,
        age_std: float,
        female: float,
        quality: float,
    ) -> None:
        """Take one answer in.

        Args:
            distribution: probability of each whole year from 0, float32 `[bins]`; for an empty
                one the normal distribution of `age` and `age_std` stands in.
            age: years, NaN where the model has no age head.
            age_std: years.
            female: probability, NaN where the model has no gender head.
            quality: of the crop, 0-1.
        """
        q = min(max(quality, MIN_QUALITY), 1.0)
        self._answers += 1
        if not math.isnan(age):
            self._age_weight.add(q)
            self._sum_log += q * np.log(_to_age_grid(distribution, age, age_std))
        if not math.isnan(female):
            self._gender_weight.add(q)
            self._sum_odds += q * _log_odds(female)
        self._shown = self._commit()

    def age_distribution(self) -> NDArray[np.float64]:
        """Probability of each whole year 0-110, float64 `[111]`; needs one answer with an age."""
        weight = self._age_weight
        log_p = self._sum_log * (weight.effective() / weight.total)
        p: NDArray[np.float64] = np.exp(log_p - log_p.max())
        p /= p.sum()
        return p

    def female_probability(self) -> float:
        """Probability of female, 0-1; 0.5 where nothing is known."""
        weight = self._gender_weight
        if weight.total == 0:
            return 0.5
        return 1 / (1 + math.exp(-self._sum_odds * weight.effective() / weight.total))

    def _commit(self) -> DisplayedEstimate:
        age, age_low, age_high = self._committed_age()
        return DisplayedEstimate(
            age=age,
            age_low=age_low,
            age_high=age_high,
            female_probability=self._committed_female(),
            predictions=self._answers,
        )

    def _committed_age(self) -> tuple[float | None, float | None, float | None]:
        if not self._has_enough_evidence(self._age_weight):
            return None, None, None
        ages = self.age_distribution()
        low, high = (float(side) for side in central_interval(ages))
        age = float(quantile(ages, 0.5))
        before = self._shown
        limit = self._rule.max_age_interval_years
        if before.age is not None:
            limit *= INTERVAL_SLACK
        if high - low > limit:
            return None, None, None
        if before.age is None or before.age_low is None or before.age_high is None:
            moved = True
        else:
            moved = abs(age - before.age) >= AGE_STEP_YEARS or (
                max(abs(low - before.age_low), abs(high - before.age_high)) >= INTERVAL_STEP_YEARS
            )
        if moved:
            return round(age, 1), round(low, 1), round(high, 1)
        return before.age, before.age_low, before.age_high

    def _committed_female(self) -> float | None:
        if not self._has_enough_evidence(self._gender_weight):
            return None
        p = self.female_probability()
        needed = self._rule.min_gender_probability
        before = self._shown.female_probability
        if before is not None and (before >= 0.5) == (p >= 0.5):
            needed = max(0.5, needed - PROBABILITY_SLACK)
        return round(p, 3) if max(p, 1 - p) >= needed else None

    def _has_enough_evidence(self, weight: _Weight) -> bool:
        return weight.total > 0 and weight.total >= self._rule.min_evidence


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
