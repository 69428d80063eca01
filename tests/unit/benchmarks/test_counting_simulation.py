"""Counting holds at every detection rate, on simulated people that nothing was tuned on."""

from __future__ import annotations

import pytest

from benchmarks.counting_simulation import MIN_VIEW_S, measure
from benchmarks.simulated_people import seconds_in_view, visitors

SEEDS = (11, 12, 13, 14)


def test_people_are_reproducible_and_most_are_in_view_long_enough() -> None:
    people = visitors(1)
    assert people == visitors(1)
    in_view_s = seconds_in_view(people, 600.0)
    assert sum(s >= MIN_VIEW_S for s in in_view_s.values()) > 0.6 * len(people)


@pytest.mark.parametrize(
    ("rate", "min_recall", "max_extra"),
    [
        (5.0, 0.98, 0.05),
        (2.5, 0.97, 0.14),
        (1.0, 0.94, 0.16),
        (0.5, 0.90, 0.20),
        (0.25, 0.86, 0.40),
    ],
)
def test_recall_and_extra_visits(rate: float, min_recall: float, max_extra: float) -> None:
    score = measure(rate, SEEDS)
    assert score.people > 150
    assert score.recall >= min_recall
    assert score.extra_share <= max_extra
