"""Range likelihoods and training targets, against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.config import LossConfig
from training.data.range_targets import age_targets, constrain_to_range, range_likelihood

MAX_AGE = 110
BINS = MAX_AGE + 1
FAIRFACE = [(0, 2), (3, 9), (10, 19), (20, 29), (30, 39), (40, 49), (50, 59), (60, 69), (70, 100)]


def one(low: float, high: float) -> np.ndarray:
    return range_likelihood(np.array([low]), np.array([high]), MAX_AGE)[0]


def test_neighboring_ranges_add_up_to_one_for_every_age() -> None:
    total = sum(one(low, high) for low, high in FAIRFACE)
    assert np.allclose(total, 1, atol=1e-5)


def test_inside_is_certain_and_outside_impossible() -> None:
    m = one(30, 39)
    assert m[35] == pytest.approx(1, abs=0.01)
    assert m[20] == pytest.approx(0, abs=0.01)
    assert one(70, 100)[110] == 1
    assert one(0, 2)[0] == 1


def test_likelihood_is_the_normal_mass_between_the_edges() -> None:
    m = one(20, 29)
    sigma_low, sigma_high = 0.3 + 0.04 * 19.5, 0.3 + 0.04 * 29.5
    for age in (18, 20, 24, 29, 31):
        cdf = [
            0.5 * (1 + math.erf(edge / math.sqrt(2)))
            for edge in ((29.5 - age) / sigma_high, (19.5 - age) / sigma_low)
        ]
        assert m[age] == pytest.approx(cdf[0] - cdf[1], abs=1e-6)


def test_an_exact_age_is_one_hot() -> None:
    m = one(41, 41)
    assert m[41] == 1
    assert m.sum() == 1


def test_constraining_to_a_range_is_bayes_rule() -> None:
    random = np.random.default_rng(0)
    prior = random.dirichlet(np.ones(BINS), 3)
    likelihood = range_likelihood(np.array([3, 20, 0]), np.array([9, 29, 2]), MAX_AGE)
    found = constrain_to_range(prior, likelihood)
    for p, m, q in zip(prior, likelihood, found, strict=True):
        assert np.allclose(q, p * m / (p * m).sum(), atol=1e-6)


def test_a_prior_that_excludes_the_range_is_ignored() -> None:
    prior = np.zeros((1, BINS))
    prior[0, 100] = 1
    found = constrain_to_range(prior, one(3, 9)[None])
    assert found[0, 3:10].sum() > 0.9


def test_teacher_mass_of_a_range_weighs_by_its_share() -> None:
    teacher = np.random.default_rng(3).dirichlet(np.ones(BINS), 1).astype(np.float32)
    targets = age_targets(
        np.array([20], np.float32), np.array([29], np.float32), teacher, 0.4, LossConfig(), MAX_AGE
    )
    assert targets[0, :BINS].sum() == pytest.approx(0.4, abs=1e-5)
    assert targets[0, 40:BINS].sum() == pytest.approx(0, abs=1e-6)
