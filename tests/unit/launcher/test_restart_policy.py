from __future__ import annotations

from facestream.launcher.restart_policy import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    SILENT_LIMIT_S,
    START_LIMIT_S,
    STEADY_S,
    PartState,
    Step,
    how_it_ended,
)


def test_a_part_is_started_at_once() -> None:
    assert PartState().step(100.0) is Step.START


def test_a_dead_part_is_started_again_after_its_pause() -> None:
    state = PartState()
    state.started(0.0)
    assert state.step(1.0) is Step.NOTHING
    assert state.died(1.0) == FIRST_PAUSE_S
    assert state.step(1.0) is Step.NOTHING
    assert state.step(1.0 + FIRST_PAUSE_S) is Step.START


def test_pauses_grow_to_a_limit_and_never_end() -> None:
    state = PartState()
    pauses = []
    for second in range(100):
        state.started(float(second))
        pauses.append(state.died(second + 0.5))
    assert pauses == sorted(pauses)
    assert pauses[1] == 2 * pauses[0]
    assert pauses[-1] == LONGEST_PAUSE_S


def test_a_steady_run_forgives_earlier_deaths() -> None:
    state = PartState()
    for _ in range(5):
        state.started(0.0)
        state.died(1.0)
    state.started(10.0)
    assert state.died(10.0 + STEADY_S) == FIRST_PAUSE_S


def test_a_part_that_says_it_cannot_start_is_hopeless_only_before_it_was_ready() -> None:
    state = PartState()
    state.started(0.0)
    assert state.is_hopeless(2)
    assert not state.is_hopeless(-9)
    state.heard(1.0, ready=True)
    assert not state.is_hopeless(1)


def test_a_silent_part_is_killed() -> None:
    state = PartState()
    state.started(0.0)
    assert state.step(START_LIMIT_S - 1) is Step.NOTHING
    assert state.step(START_LIMIT_S + 1) is Step.KILL
    state.heard(0.0, ready=True)
    assert state.step(SILENT_LIMIT_S - 1) is Step.NOTHING
    assert state.step(SILENT_LIMIT_S + 1) is Step.KILL


def test_a_part_that_is_alive_but_not_ready_is_left_alone() -> None:
    state = PartState()
    state.started(0.0)
    for second in range(1000):
        state.heard(float(second), ready=False)
        assert state.step(second + 1.0) is Step.NOTHING
    assert not state.ever_ready


def test_exit_codes_are_put_into_words() -> None:
    assert how_it_ended(-9) == "was killed by signal 9"
    assert how_it_ended(1) == "ended with code 1"
