"""Loss and metric for age ranges, against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from keras import ops

from training.config import LossConfig
from training.data.range_targets import age_targets, range_likelihood
from training.fitting.range_loss import RangeAgeError, RangeAgeLoss

MAX_AGE = 110
BINS = MAX_AGE + 1


def one(low: float, high: float) -> np.ndarray:
    return range_likelihood(np.array([low]), np.array([high]), MAX_AGE)[0]


def test_loss_of_a_range_is_minus_log_of_the_mass_inside() -> None:
    random = np.random.default_rng(1)
    low, high = np.array([20.0, 3, 45]), np.array([29.0, 9, 60])
    logits = random.normal(0, 2, (3, BINS)).astype(np.float32)
    targets = age_targets(
        low.astype(np.float32), high.astype(np.float32), None, 0.0, LossConfig(), MAX_AGE
    )
    loss = RangeAgeLoss(LossConfig())
    found = ops.convert_to_numpy(loss.call(ops.convert_to_tensor(targets), logits))
    for i in range(3):
        p = np.exp(logits[i] - logits[i].max())
        p /= p.sum()
        mass = sum(p[a] * one(low[i], high[i])[a] for a in range(BINS))
        assert found[i] == pytest.approx(-math.log(mass), rel=1e-4)


def test_a_sure_and_right_prediction_costs_nothing_wherever_it_lies_in_the_range() -> None:
    targets = age_targets(
        np.array([20], np.float32), np.array([29], np.float32), None, 0.0, LossConfig(), MAX_AGE
    )
    for age in (22, 24, 26):
        logits = np.full((1, BINS), -30, np.float32)
        logits[0, age] = 30
        loss = RangeAgeLoss(LossConfig()).call(ops.convert_to_tensor(targets), logits)
        assert float(loss[0]) < 0.02


def test_loss_of_an_exact_age_is_that_of_its_soft_label() -> None:
    targets = age_targets(
        np.array([30], np.float32), np.array([30], np.float32), None, 0.0, LossConfig(), MAX_AGE
    )
    config = LossConfig(age_expectation=0.0)
    logits = np.random.default_rng(2).normal(0, 1, (1, BINS)).astype(np.float32)
    found = float(RangeAgeLoss(config).call(ops.convert_to_tensor(targets), logits)[0])
    log_p = logits[0] - np.log(np.exp(logits[0]).sum())
    assert found == pytest.approx(-(targets[0, :BINS] * log_p).sum(), rel=1e-4)


def test_error_is_the_distance_from_the_range() -> None:
    targets = age_targets(
        np.array([20, 20, 41], np.float32),
        np.array([29, 29, 41], np.float32),
        None,
        0.0,
        LossConfig(),
        MAX_AGE,
    )
    logits = np.full((3, BINS), -30, np.float32)
    logits[0, 35], logits[1, 25], logits[2, 38] = 30, 30, 30
    metric = RangeAgeError()
    metric.update_state(targets, logits)
    assert float(metric.result()) == pytest.approx((6 + 0 + 3) / 3, abs=1e-3)
