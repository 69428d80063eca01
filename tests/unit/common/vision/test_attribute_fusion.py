"""Fusion of the predictions of one track, and when an estimate is shown."""

from __future__ import annotations

import math

import numpy as np
import pytest
from facestream.common.vision.age_distribution import central_interval, quantile
from facestream.common.vision.attribute_fusion import Estimate
from facestream.common.vision.displayed_estimate import DisplayedEstimate, DisplayThresholds
from numpy.typing import NDArray

EAGER = DisplayThresholds(
    min_evidence=0.0, max_age_interval_years=200, min_gender_probability=0.5001
)
NAN = float("nan")


def normal(age: float, std: float) -> NDArray[np.float32]:
    p = np.exp(-0.5 * ((np.arange(111) - age) / std) ** 2)
    p /= p.sum()
    return p.astype(np.float32)


def fused(
    answers: list[tuple[float, float, float, float]], rule: DisplayThresholds = EAGER
) -> Estimate:
    """From (age, std, female, quality)."""
    estimate = Estimate(rule)
    for age, std, female, quality in answers:
        estimate.add(normal(age, std), age, std, female, quality)
    return estimate


def width(estimate: Estimate) -> float:
    low, high = central_interval(estimate.age_distribution())
    return float(high - low)


def test_one_prediction_is_shown_unchanged() -> None:
    shown = fused([(34, 5, 0.9, 1.0)]).shown
    assert shown.age == pytest.approx(34, abs=0.5)
    # 80 % of a normal distribution lie within 1.2816 standard deviations.
    assert shown.age_low == pytest.approx(34 - 1.2816 * 5, abs=0.8)
    assert shown.age_high == pytest.approx(34 + 1.2816 * 5, abs=0.8)
    assert shown.female_probability == pytest.approx(0.9, abs=0.01)


def test_more_predictions_narrow_the_interval_less_than_independent_ones() -> None:
    one = width(fused([(34, 6, NAN, 1.0)]))
    many = width(fused([(34, 6, NAN, 1.0)] * 50))
    assert many < one
    assert many > one / math.sqrt(1 / 0.7) - 0.5
    assert many > one / math.sqrt(50) * 3


def test_higher_quality_has_more_weight() -> None:
    age = quantile(fused([(30, 5, NAN, 0.9), (50, 5, NAN, 0.1)]).age_distribution(), 0.5)
    assert 30 < age < 34


def test_one_prediction_cannot_exclude_an_age() -> None:
    estimate = Estimate(EAGER)
    certain_of_nonsense = np.zeros(111, np.float32)
    certain_of_nonsense[5] = 1
    for _ in range(5):
        estimate.add(normal(40, 4), 40, 4, NAN, 0.8)
    estimate.add(certain_of_nonsense, 5, 0, NAN, 0.3)
    assert estimate.shown.age == pytest.approx(40, abs=3)


def test_order_of_predictions_does_not_matter() -> None:
    answers = [(30.0, 5.0, 0.8, 0.9), (38.0, 7.0, 0.6, 0.4), (33.0, 6.0, 0.9, 0.7)]
    forth, back = fused(answers), fused(answers[::-1])
    np.testing.assert_allclose(forth.age_distribution(), back.age_distribution())
    assert forth.female_probability() == pytest.approx(back.female_probability())


def test_equal_gender_predictions_add_little_confidence() -> None:
    one = fused([(30, 5, 0.8, 1.0)]).female_probability()
    many = fused([(30, 5, 0.8, 1.0)] * 100).female_probability()
    assert one == pytest.approx(0.8)
    assert 0.8 < many < 0.9


def test_contradicting_gender_predictions_leave_gender_unknown() -> None:
    shown = fused([(30, 5, 0.9, 0.8), (30, 5, 0.1, 0.8)], DisplayThresholds(0.4, 40, 0.8)).shown
    assert shown.female_probability is None
    assert shown.age is not None


def test_model_without_gender_head_gives_only_ages() -> None:
    shown = fused([(30, 5, NAN, 1.0)] * 3).shown
    assert shown.female_probability is None
    assert shown.age is not None


def test_model_without_age_head_gives_only_genders() -> None:
    estimate = Estimate(DisplayThresholds(0.4, 30, 0.8))
    estimate.add(np.zeros(0, np.float32), NAN, NAN, 0.95, 0.8)
    shown = estimate.shown
    assert shown == DisplayedEstimate(female_probability=0.95, predictions=1)


def test_gender_only_predictions_do_not_affect_the_age() -> None:
    ages = fused([(34, 5, NAN, 0.8)] * 2)
    both = fused([(34, 5, NAN, 0.8)] * 2)
    for _ in range(5):
        both.add(np.zeros(0, np.float32), NAN, NAN, 0.9, 0.8)
    np.testing.assert_allclose(both.age_distribution(), ages.age_distribution())
    assert both.shown.age == ages.shown.age
    assert both.shown.female_probability is not None


def test_without_a_distribution_age_and_deviation_are_used() -> None:
    estimate = Estimate(EAGER)
    estimate.add(np.zeros(0, np.float32), 52, 4, 0.2, 1.0)
    assert estimate.shown.age == pytest.approx(52, abs=0.5)


@pytest.mark.parametrize("bins", [50, 101, 111, 200])
def test_distribution_of_another_length_is_accepted(bins: int) -> None:
    estimate = Estimate(EAGER)
    p = np.zeros(bins, np.float32)
    p[20:31] = 1 / 11
    estimate.add(p, 25, 3, 0.5, 1.0)
    assert estimate.shown.age == pytest.approx(25, abs=0.6)


@pytest.mark.parametrize("female", [0.0, 1.0])
def test_certainty_of_one_prediction_is_limited(female: float) -> None:
    estimate = fused([(30, 5, female, 1.0)] * 20)
    assert 0 < estimate.female_probability() < 1
    assert math.isfinite(estimate.female_probability())


@pytest.mark.parametrize("quality", [0.0, -1.0, 5.0])
def test_quality_out_of_range_is_clamped(quality: float) -> None:
    assert fused([(30, 5, 0.9, quality)]).shown.predictions == 1


def test_nothing_is_shown_below_the_evidence_threshold() -> None:
    rule = DisplayThresholds(
        min_evidence=0.5, max_age_interval_years=40, min_gender_probability=0.7
    )
    estimate = fused([(30, 5, 0.99, 0.3)], rule)
    assert estimate.shown == DisplayedEstimate(predictions=1)
    estimate.add(normal(30, 5), 30, 5, 0.99, 0.3)
    assert estimate.shown.age is not None
    assert estimate.shown.female_probability is not None


def test_age_with_a_wide_interval_is_not_shown() -> None:
    assert fused([(30, 25, 0.9, 1.0)], DisplayThresholds(0.4, 30, 0.7)).shown.age is None


def test_shown_age_has_hysteresis() -> None:
    rule = DisplayThresholds(0.0, 20, 0.7)
    estimate = fused([(30, 7, NAN, 1.0)], rule)
    assert estimate.shown.age is not None
    estimate.add(normal(38, 12), 38, 12, NAN, 1.0)
    assert 20 < width(estimate) < 25
    assert estimate.shown.age is not None
    for _ in range(10):
        estimate.add(normal(75, 30), 75, 30, NAN, 1.0)
    assert estimate.shown.age is None


def test_small_change_does_not_update_the_shown_age() -> None:
    estimate = fused([(30, 5, 0.9, 1.0)] * 10)
    before = estimate.shown
    estimate.add(normal(32, 5), 32, 5, 0.9, 1.0)
    after = estimate.shown
    assert (after.age, after.age_low, after.age_high) == (
        before.age,
        before.age_low,
        before.age_high,
    )
    for _ in range(20):
        estimate.add(normal(36, 5), 36, 5, 0.9, 1.0)
    assert estimate.shown.age != before.age


def test_shown_gender_does_not_flicker_at_the_threshold() -> None:
    rule = DisplayThresholds(0.0, 200, 0.8)
    estimate = fused([(30, 5, 0.85, 1.0)], rule)
    shown = []
    for female in (0.6, 0.8, 0.7, 0.75, 0.7, 0.8):
        estimate.add(normal(30, 5), 30, 5, female, 1.0)
        shown.append(estimate.shown.female_probability)
    assert all(p is not None and p > 0.5 for p in shown)


def test_shown_gender_flips_only_beyond_the_opposite_threshold() -> None:
    estimate = fused([(30, 5, 0.9, 1.0)], DisplayThresholds(0.0, 200, 0.8))
    seen = [estimate.shown.female_probability]
    for _ in range(12):
        estimate.add(normal(30, 5), 30, 5, 0.05, 1.0)
        seen.append(estimate.shown.female_probability)
    assert seen[-1] is not None
    assert seen[-1] <= 0.2
    assert None in seen
    assert all(p is None or p <= 0.2 or p >= 0.68 for p in seen)


def test_estimate_lies_inside_its_interval() -> None:
    random = np.random.default_rng(3)
    for _ in range(50):
        estimate = Estimate(EAGER)
        for _ in range(int(random.integers(1, 6))):
            p = random.dirichlet(np.full(111, 0.1)).astype(np.float32)
            estimate.add(p, 30, 5, float(random.random()), float(random.random()))
        shown = estimate.shown
        assert shown.age is not None
        assert shown.age_low is not None
        assert shown.age_high is not None
        assert 0 <= shown.age_low <= shown.age <= shown.age_high <= 110.5
