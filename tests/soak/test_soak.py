"""The long runs as tests, with what their records must hold: `pytest -m slow tests/soak`."""

from __future__ import annotations

import pytest

from tests.soak import assertions, run_clock, run_faults, run_growth, run_load

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

MINUTES_S = 60.0
CAMERAS = 10  # the budget of two cores


def test_everything_comes_back_from_ten_minutes_of_faults() -> None:
    assert assertions.faults(run_faults.run(10 * MINUTES_S, seed=2, say=print)) == []


@pytest.mark.skipif(not run_clock.LIBRARIES, reason="needs libfaketime")
def test_a_clock_that_is_set_stops_nothing() -> None:
    assert assertions.clock(run_clock.run(print)) == []


def test_load_is_carried_and_overload_is_shared() -> None:
    assert assertions.load(run_load.run(10 * MINUTES_S, CAMERAS, print)) == []


def test_nothing_grows_at_half_load() -> None:
    assert assertions.growth(run_growth.run(30 * MINUTES_S, CAMERAS // 2, print)) == []
