from __future__ import annotations

from facestream.launcher.restart_policy import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    SILENT_LIMIT_S,
    START_LIMIT_S,
    STEADY_S,
    Action,
    ProcessState,
    describe_exit,
)


def test_a_part_is_started_at_once() -> None:
    assert ProcessState().next_action(100.0) is Action.START


def test_a_dead_part_is_started_again_after_its_pause() -> None:
    state = ProcessState()
    state.started(0.0)
    assert state.next_action(1.0) is Action.NOTHING
    assert state.on_exit(1.0) == FIRST_PAUSE_S
    assert state.next_action(1.0) is Action.NOTHING
    assert state.next_action(1.0 + FIRST_PAUSE_S) is Action.START


def test_pauses_grow_to_a_limit_and_never_end() -> None:
    state = ProcessState()
    pauses = []
    for second in range(100):
        state.started(float(second))
        pauses.append(state.on_exit(second + 0.5))
    assert pauses == sorted(pauses)
    assert pauses[1] == 2 * pauses[0]
    assert pauses[-1] == LONGEST_PAUSE_S


def test_a_steady_run_forgives_earlier_deaths() -> None:
    state = ProcessState()
    for _ in range(5):
        state.started(0.0)
        state.on_exit(1.0)
    state.started(10.0)
    assert state.on_exit(10.0 + STEADY_S) == FIRST_PAUSE_S


def test_a_part_that_says_it_cannot_start_is_hopeless_only_before_it_was_ready() -> None:
    state = ProcessState()
    state.started(0.0)
    assert state.is_fatal(2)
    assert not state.is_fatal(-9)
    state.on_probe_ok(1.0, ready=True)
    assert not state.is_fatal(1)


def test_a_silent_part_is_killed() -> None:
    state = ProcessState()
    state.started(0.0)
    assert state.next_action(START_LIMIT_S - 1) is Action.NOTHING
    assert state.next_action(START_LIMIT_S + 1) is Action.KILL
    state.on_probe_ok(0.0, ready=True)
    assert state.next_action(SILENT_LIMIT_S - 1) is Action.NOTHING
    assert state.next_action(SILENT_LIMIT_S + 1) is Action.KILL


def test_a_part_that_is_alive_but_not_ready_is_left_alone() -> None:
    state = ProcessState()
    state.started(0.0)
    for second in range(1000):
        state.on_probe_ok(float(second), ready=False)
        assert state.next_action(second + 1.0) is Action.NOTHING
    assert not state.ever_ready


def test_exit_codes_are_put_into_words() -> None:
    assert describe_exit(-9) == "was killed by signal 9"
    assert describe_exit(1) == "ended with code 1"
