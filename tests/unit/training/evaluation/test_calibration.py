"""Temperatures undo a known over- and underconfidence."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.common.vision.exported_model import Predictions

from training.evaluation.calibration import (
    Calibration,
    calibrated,
    find_calibration,
    sharpen,
    soften,
)
from training.evaluation.metrics import Labels, coverage


def _honest(n: int = 1200) -> tuple[Labels, np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    ages = np.arange(111)
    centres = random.uniform(15, 85, n)
    distribution = np.exp(-0.5 * ((ages - centres[:, None]) / 5) ** 2)
    distribution /= distribution.sum(axis=1, keepdims=True)
    drawn = np.array([random.choice(ages, p=row) for row in distribution], np.float32)
    female = random.uniform(0, 1, n)
    is_female = (random.uniform(0, 1, n) < female).astype(np.float32)
    return Labels(drawn, is_female, np.zeros(n, np.int8)), distribution, female


@pytest.mark.parametrize("wrong", [0.5, 1.0, 2.0])
def test_a_temperature_makes_the_interval_hold(wrong: float) -> None:
    labels, distribution, female = _honest()
    said: Predictions = {
        "age_distribution": sharpen(distribution, wrong),
        "gender": soften(female, wrong).astype(np.float32),
    }
    found = find_calibration(labels, said)
    assert found.age_temperature == pytest.approx(1 / wrong, rel=0.15)
    assert found.gender_temperature == pytest.approx(1 / wrong, rel=0.15)
    after = sharpen(said["age_distribution"], found.age_temperature)
    assert coverage(labels, after)["0.8"] == pytest.approx(0.8, abs=0.005)


def test_a_head_that_is_not_there_is_left_alone() -> None:
    labels, distribution, _ = _honest(200)
    assert find_calibration(labels, {"age_distribution": distribution}).gender_temperature == 1


def test_what_the_export_will_answer_is_foretold() -> None:
    distribution = np.array([[0.1, 0.8, 0.1], [0.5, 0.25, 0.25]], np.float32)
    said: Predictions = {
        "age_distribution": distribution,
        "gender": np.array([0.9, 0.5], np.float32),
    }
    cold = calibrated(said, Calibration(age_temperature=0.5, gender_temperature=2.0))
    squares = distribution**2
    expected = squares / squares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(cold["age_distribution"], expected, rtol=1e-5)
    medians = [0.5 + (0.5 - expected[0, 0]) / expected[0, 1], -0.5 + 0.5 / expected[1, 0]]
    np.testing.assert_allclose(cold["age"], medians, rtol=1e-5)
    assert cold["gender"] == pytest.approx([0.75, 0.5])
