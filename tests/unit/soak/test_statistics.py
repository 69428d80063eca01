"""Figures of long runs."""

from __future__ import annotations

import pytest

from tests.soak.statistics import counter_increase, fairness, percentiles, slope_per_hour


def test_a_slope_is_told_through_noise_and_outliers() -> None:
    at_s = [float(5 * i) for i in range(100)]
    values = [50 + t / 3600 * 12 + (0.1 if i % 2 else -0.1) for i, t in enumerate(at_s)]
    values[40] = 500.0
    assert slope_per_hour(at_s, values) == pytest.approx(12, rel=0.02)


def test_one_jump_is_no_growth() -> None:
    at_s = [float(i) for i in range(100)]
    assert slope_per_hour(at_s, [50.0] * 90 + [60.0] * 10) == 0


def test_fairness_is_one_among_equals_and_a_share_of_one_where_one_has_all() -> None:
    assert fairness([3, 3, 3, 3]) == 1
    assert fairness([8, 0, 0, 0]) == 0.25
    assert fairness([0, 0]) == 1


def test_percentiles_of_nothing_are_unknown() -> None:
    assert percentiles([1.0, 3.0], 50) == {"p50": 2.0}
    assert percentiles([], 50, 95) == {"p50": None, "p95": None}


def test_a_counter_that_began_anew_has_grown_by_what_it_says() -> None:
    assert counter_increase({"a": 5, "b": 2, "c": 1}, {"a": 3, "b": 7, "c": 1}) == {"a": 2, "b": 2}
