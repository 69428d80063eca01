"""Temperatures undo a known over- and underconfidence."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.common.vision.exported_model import Predictions

from training.evaluation.calibration import (
    Calibration,
    apply_calibration,
    find_calibration,
    scale_distribution,
    scale_probability,
)
from training.evaluation.metrics import Labels, coverage


def _calibrated_case(n: int = 1200) -> tuple[Labels, np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    ages = np.arange(111)
    centers = random.uniform(15, 85, n)
    distribution = np.exp(-0.5 * ((ages - centers[:, None]) / 5) ** 2)
    distribution /= distribution.sum(axis=1, keepdims=True)
    drawn = np.array([random.choice(ages, p=row) for row in distribution], np.float32)
    female = random.uniform(0, 1, n)
    is_female = (random.uniform(0, 1, n) < female).astype(np.float32)
    return Labels(drawn, is_female, np.zeros(n, np.int8)), distribution, female


@pytest.mark.parametrize("wrong", [0.5, 1.0, 2.0])
def test_a_temperature_makes_the_interval_hold(wrong: float) -> None:
    labels, distribution, female = _calibrated_case()
    predictions: Predictions = {
        "age_distribution": scale_distribution(distribution, wrong),
        "gender": scale_probability(female, wrong).astype(np.float32),
    }
    found = find_calibration(labels, predictions)
    assert found.age_temperature == pytest.approx(1 / wrong, rel=0.15)
    assert found.gender_temperature == pytest.approx(1 / wrong, rel=0.15)
    after = scale_distribution(predictions["age_distribution"], found.age_temperature)
    assert coverage(labels, after)["0.8"] == pytest.approx(0.8, abs=0.005)


def test_a_missing_head_keeps_temperature_1() -> None:
    labels, distribution, _ = _calibrated_case(200)
    assert find_calibration(labels, {"age_distribution": distribution}).gender_temperature == 1


def test_calibration_predicts_the_outputs_of_the_export() -> None:
    distribution = np.array([[0.1, 0.8, 0.1], [0.5, 0.25, 0.25]], np.float32)
    predictions: Predictions = {
        "age_distribution": distribution,
        "gender": np.array([0.9, 0.5], np.float32),
    }
    cold = apply_calibration(predictions, Calibration(age_temperature=0.5, gender_temperature=2.0))
    squares = distribution**2
    expected = squares / squares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(cold["age_distribution"], expected, rtol=1e-5)
    medians = [0.5 + (0.5 - expected[0, 0]) / expected[0, 1], -0.5 + 0.5 / expected[1, 0]]
    np.testing.assert_allclose(cold["age"], medians, rtol=1e-5)
    assert cold["gender"] == pytest.approx([0.75, 0.5])
