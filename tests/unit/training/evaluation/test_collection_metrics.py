"""Metrics of collections whose ages are ranges."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.collection_metrics import (
    RangeLabels,
    band_of,
    compute_range_metrics,
    coverage,
    range_metrics_by_group,
)


def labels_of(low: np.ndarray, high: np.ndarray, female: np.ndarray) -> RangeLabels:
    group = np.array(["x"] * len(low))
    return RangeLabels(low.astype(np.float32), high.astype(np.float32), female, group)


def test_bins_and_distances() -> None:
    labels = labels_of(
        np.array([20, 20, 30, 41]), np.array([29, 29, 39, 41]), np.array([0, 1, 1, 0])
    )
    predictions = {
        "age": np.array([29.4, 31.0, 52.0, 44.0], np.float32),
        "gender": np.array([0.1, 0.9, 0.2, 0.3], np.float32),
    }
    found = compute_range_metrics(labels, predictions)
    assert found["exact_bin"] == pytest.approx(1 / 3)
    assert found["within_one_bin"] == pytest.approx(2 / 3)
    assert found["outside_mae"] == pytest.approx((0 + 2 + 13 + 3) / 4)
    assert found["age_mae"] == pytest.approx(3)
    assert found["gender_accuracy"] == pytest.approx(3 / 4)


def test_band_of_rounds_to_whole_years() -> None:
    assert band_of(np.array([2.4, 2.6, 9.4, 9.6, 99.0])).tolist() == [0, 1, 1, 2, 8]


def test_coverage_spreads_a_range_evenly() -> None:
    labels = labels_of(np.array([20, 41]), np.array([29, 41]), np.array([0, 0]))
    share = coverage(labels, np.array([24.5, 40.0]), np.array([60.0, 50.0]))
    assert share[0] == pytest.approx(0.5, abs=0.03)
    assert share[1] == 1


def test_groups_leave_out_ranges_over_several_bands() -> None:
    labels = labels_of(np.array([20, 30]), np.array([29, 70]), np.array([0, 1]))
    predictions = {"age": np.array([25, 50], np.float32)}
    found = range_metrics_by_group(labels, predictions)
    assert found["age"]["20–29"]["n"] == 1
    assert "50–59" not in found["age"]
    assert found["group"]["x"]["n"] == 2
