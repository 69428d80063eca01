"""The clips that counting is measured on, and how what was counted is held against what is true."""

from __future__ import annotations

import itertools

import pytest
from facestream.annotator.counting.visit import CountEvent
from facestream.common.vision.displayed_estimate import DisplayedEstimate
from facestream.demo.clip_renderer import Appearance

from benchmarks.counting_accuracy import CLIP_S, SEEDS, choreography, score

SCRIPT = [
    Appearance("astronaut", 1.0, 6.0, 0.5, 0.5, True),
    Appearance("obama", 1.5, 6.0, 0.5, 0.5, False),
    Appearance("biden", 20.0, 25.0, 0.5, 0.5, False, absences=((22.0, 23.0),)),
]


def visit(at: float, female: float | None) -> CountEvent:
    return CountEvent(at, "visit", "", DisplayedEstimate(female_probability=female), 3.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_photograph_is_in_view_once_at_a_time_and_all_are_gone_at_the_end(seed: int) -> None:
    script = choreography(seed)
    assert len(script) >= 5
    for one, other in itertools.combinations(script, 2):
        if one.sample == other.sample:
            assert other.enter_s >= one.leave_s + 10
    assert max(v.leave_s for v in script) < CLIP_S
    for v in script:
        assert all(v.enter_s < begin < end < v.leave_s for begin, end in v.absences)


def test_what_is_counted_once_and_rightly_is_found() -> None:
    counted = [
        visit(2.0, 0.1),
        visit(2.1, 0.9),
        visit(20.5, 0.9),
        CountEvent(4.0, "enter", "middle", DisplayedEstimate(), 3.0),
    ]
    result = score(7, SCRIPT, counted)
    assert (result.came, result.counted, result.found) == (3, 3, 3)
    assert (result.gender_right, result.gender_wrong, result.gender_unknown) == (2, 1, 0)
    assert (result.enter, result.leave) == ((1, 1), (0, 2))
    assert result.short_losses == 1


def test_what_is_missed_or_counted_twice_is_not() -> None:
    result = score(7, SCRIPT, [visit(1.5, None), visit(8.0, 0.1), visit(9.0, 0.1)])
    assert (result.came, result.counted, result.found) == (3, 3, 1)
    assert result.gender_unknown == 1
