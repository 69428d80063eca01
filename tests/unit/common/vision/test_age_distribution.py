"""Quantiles and intervals of age distributions."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.common.vision.age_distribution import central_interval, median_and_std, quantile


def test_the_probability_of_a_year_is_spread_half_a_year_each_way() -> None:
    one_year = np.zeros(111)
    one_year[30] = 1
    assert quantile(one_year, 0.1) == pytest.approx(29.6)
    assert quantile(one_year, 0.5) == pytest.approx(30.0)
    assert quantile(one_year, 1.0) == pytest.approx(30.5)


def test_the_median_of_a_symmetric_distribution_is_its_middle() -> None:
    ages = np.arange(111)
    distribution = np.exp(-0.5 * ((ages - 41.3) / 7) ** 2)
    low, high = central_interval(distribution)
    assert quantile(distribution, 0.5) == pytest.approx(41.3, abs=0.02)
    assert (low + high) / 2 == pytest.approx(41.3, abs=0.02)
    assert high - low == pytest.approx(2 * 1.2816 * 7, rel=0.01)


def test_a_batch_of_distributions_need_not_be_normalized() -> None:
    ages = np.arange(111)
    distributions = 3 * np.exp(-0.5 * ((ages - np.array([[20.0], [60.0]])) / 4) ** 2)
    np.testing.assert_allclose(quantile(distributions, 0.5), [20, 60], atol=0.02)


def test_a_long_tail_widens_the_deviation_but_not_the_median() -> None:
    tailed = np.zeros((1, 111))
    tailed[0, [20, 40]] = 0.8, 0.2
    age, deviation = median_and_std(tailed)
    assert age == pytest.approx([19.5 + 0.5 / 0.8])
    assert deviation == pytest.approx([8])


def test_no_age_is_negative() -> None:
    newborn = np.zeros(111)
    newborn[0] = 1
    assert central_interval(newborn)[0] == 0


def test_a_level_outside_0_to_1_is_rejected() -> None:
    with pytest.raises(ValueError, match="0–1"):
        quantile(np.ones(5), 1.5)
