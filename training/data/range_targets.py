"""Training targets for ages known exactly or only as a range (interval-censored labels).

For training on collections whose ages are ranges.

A range label [low, high] is an interval-censored observation of the age: B. W. Turnbull, "The
empirical distribution function with arbitrarily grouped, censored and truncated data", JRSS B
38(3), 1976. Its likelihood under a predicted distribution p is Σᵢ mᵢ pᵢ, where mᵢ is the
probability that a face of age i gets this label. Raters estimate an age with a normal error of
standard deviation σ. Then mᵢ = Φ((high + ½ − i)/σ) − Φ((low − ½ − i)/σ); for σ → 0 it is 1
inside the range and 0 outside. Neighboring ranges add up to 1 for every age, so no mass is counted
twice.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from training.config import LossConfig
from training.data.targets import soft_age_labels

_OPEN_ENDED = 100  # FairFace's last range is 70 and older, written as 70–100
_ERF = np.vectorize(math.erf, otypes=[np.float64])


def range_likelihood(
    low: NDArray[np.floating],
    high: NDArray[np.floating],
    max_age: int,
    sigma_base: float = 0.3,
    sigma_per_year: float = 0.04,
) -> NDArray[np.float32]:
    """Return P(label is [low, high] | age i) for every whole year i: `[n]` to `[n, bins]`.

    The deviation at an edge is `sigma_base + sigma_per_year * edge` years. A range that starts
    at 0 or ends at 100 or later is open on that side. One of a single year is one-hot.
    """
    years = np.arange(max_age + 1, dtype=np.float64)
    low, high = np.asarray(low, np.float64)[:, None], np.asarray(high, np.float64)[:, None]
    first, last = np.maximum(low - 0.5, 0.0), high + 0.5
    below = _normal_cdf((first - years) / (sigma_base + sigma_per_year * first))
    above = _normal_cdf((last - years) / (sigma_base + sigma_per_year * last))
    below = np.where(low <= 0, 0.0, below)
    above = np.where(high >= _OPEN_ENDED, 1.0, above)
    likelihood = np.clip(above - below, 0.0, 1.0)
    exact = years == np.clip(np.round(low), 0, max_age)
    return np.where(low == high, exact, likelihood).astype(np.float32)


def constrain_to_range(
    prior: NDArray[np.floating], likelihood: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return the posterior of the age by Bayes' rule: normalized prior · likelihood.

    The self-consistency step of Turnbull (1976) with a teacher's distribution as the prior. Both
    are `[n, bins]`. Where they exclude each other, the likelihood alone is normalized.
    """
    product = np.asarray(prior, np.float64) * likelihood
    total = product.sum(axis=1, keepdims=True)
    impossible = total < 1e-6
    product = np.where(impossible, likelihood, product)
    return (product / product.sum(axis=1, keepdims=True)).astype(np.float32)


def age_targets(
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    teacher: NDArray[np.float32] | None,
    teacher_share: float,
    config: LossConfig,
    max_age: int,
) -> NDArray[np.float32]:
    """Return the targets of `RangeAgeLoss`, `[n, 2 * bins]`: soft labels, then likelihoods.

    An exact age has a Gaussian soft label, mixed with the teacher's distribution by
    `teacher_share`; its row sums to 1. A range has the teacher's distribution inside the range; its
    row sums to `teacher_share`, which is its weight in the loss (0 without a teacher).
    """
    exact = (low == high)[:, None]
    share = 0.0 if teacher is None else teacher_share
    likelihood = range_likelihood(low, high, max_age)
    gaussian = soft_age_labels(low, config, max_age)
    known = likelihood if teacher is None else constrain_to_range(teacher, likelihood)
    mixed = gaussian if teacher is None else (1 - share) * gaussian + share * teacher
    soft = np.where(exact, mixed, share * known)
    return np.concatenate([soft, likelihood], axis=1).astype(np.float32)


def _normal_cdf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    cdf: NDArray[np.float64] = 0.5 * (1 + _ERF(x / math.sqrt(2)))
    return cdf
