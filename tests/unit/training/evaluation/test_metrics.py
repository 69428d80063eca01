"""Metrics on cases computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.evaluation.metrics import (
    Labels,
    area_under_curve,
    compute_metrics,
    coverage,
    expected_calibration_error,
    metrics_by_group,
)


def _labels(age: list[float], female: list[float]) -> Labels:
    return Labels(
        np.array(age, np.float32),
        np.array(female, np.float32),
        np.arange(len(age), dtype=np.int8) % 5,
    )


def test_figures_of_four_faces() -> None:
    found = compute_metrics(
        _labels([10, 20, 30, 40], [0, 1, 1, 0]),
        {
            "age": np.array([12, 20, 24, 41], np.float32),
            "gender": np.array([0.9, 0.8, 0.6, 0.1], np.float32),
        },
    )
    assert found["n"] == 4
    assert found["age_mae"] == pytest.approx(9 / 4)
    assert found["age_rmse"] == pytest.approx(math.sqrt((4 + 0 + 36 + 1) / 4))
    assert found["age_cs5"] == pytest.approx(3 / 4)
    assert found["age_bias"] == pytest.approx(-3 / 4)
    assert found["gender_accuracy"] == pytest.approx(3 / 4)
    assert found["gender_accuracy_from_15"] == 1
    assert found["gender_auc"] == pytest.approx(2 / 4)
    expected = -np.log([0.1, 0.8, 0.6, 0.9]).mean()
    assert found["gender_log_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_model_of_one_head_has_the_figures_of_that_head() -> None:
    found = compute_metrics(_labels([10, 20], [0, 1]), {"gender": np.array([0.1, 0.9], np.float32)})
    assert "age_mae" not in found
    assert found["gender_accuracy"] == 1


def test_equal_scores_count_half_in_the_area_under_the_curve() -> None:
    assert area_under_curve(np.array([True, False]), np.array([0.5, 0.5])) == 0.5
    assert area_under_curve(np.array([True, True, False]), np.array([0.9, 0.4, 0.4])) == 0.75


def test_a_calibrated_distribution_reaches_its_coverage() -> None:
    random = np.random.default_rng(1)
    ages = np.arange(111)
    centers = random.uniform(20, 80, 4000)
    distribution = np.exp(-0.5 * ((ages - centers[:, None]) / 6) ** 2)
    distribution /= distribution.sum(axis=1, keepdims=True)
    drawn = np.array([random.choice(ages, p=row) for row in distribution], np.float32)
    labels = Labels(drawn, drawn * 0, np.zeros(len(drawn), np.int8))
    for level, held in coverage(labels, distribution).items():
        assert held == pytest.approx(float(level), abs=0.02)


def test_a_probability_that_is_true_has_no_calibration_error() -> None:
    said = np.repeat([0.25, 0.75], 400)
    true = np.tile([True, False, False, False], 100).tolist()
    true += np.tile([True, True, True, False], 100).tolist()
    assert expected_calibration_error(np.array(true), said) == pytest.approx(0, abs=1e-9)
    assert expected_calibration_error(~np.array(true), said) == pytest.approx(0.5)


def test_every_face_is_in_one_group_of_each_kind() -> None:
    labels = _labels([0, 2, 3, 14, 15, 80, 116], [0, 1, 0, 1, 0, 1, 0])
    grouped = metrics_by_group(labels, {"age": labels.age})
    for members in grouped.values():
        assert sum(row["n"] for row in members.values()) == len(labels)
    assert list(grouped["age"]) == ["0–2", "3–9", "10–14", "15–24", "75+"]
