from __future__ import annotations

from facestream.launcher.restart_policy import (
    LIVENESS_TIMEOUT_S,
    MAX_BACKOFF_S,
    MIN_BACKOFF_S,
    STABLE_AFTER_S,
    STARTUP_TIMEOUT_S,
    Action,
    ProcessState,
    describe_exit,
)


def test_process_is_started_immediately() -> None:
    assert ProcessState().next_action(100.0) is Action.START


def test_process_is_restarted_after_its_backoff() -> None:
    state = ProcessState()
    state.on_start(0.0)
    assert state.next_action(1.0) is Action.NOTHING
    assert state.on_exit(1.0) == MIN_BACKOFF_S
    assert state.next_action(1.0) is Action.NOTHING
    assert state.next_action(1.0 + MIN_BACKOFF_S) is Action.START


def test_backoff_grows_to_a_limit_and_restarts_never_stop() -> None:
    state = ProcessState()
    pauses = []
    for second in range(100):
        state.on_start(float(second))
        pauses.append(state.on_exit(second + 0.5))
    assert pauses == sorted(pauses)
    assert pauses[1] == 2 * pauses[0]
    assert pauses[-1] == MAX_BACKOFF_S


def test_stable_run_resets_the_backoff() -> None:
    state = ProcessState()
    for _ in range(5):
        state.on_start(0.0)
        state.on_exit(1.0)
    state.on_start(10.0)
    assert state.on_exit(10.0 + STABLE_AFTER_S) == MIN_BACKOFF_S


def test_failed_start_is_fatal_only_before_the_process_was_ready() -> None:
    state = ProcessState()
    state.on_start(0.0)
    assert state.is_fatal(2)
    assert not state.is_fatal(-9)
    state.on_probe_ok(1.0, ready=True)
    assert not state.is_fatal(1)


def test_unresponsive_process_is_killed() -> None:
    state = ProcessState()
    state.on_start(0.0)
    assert state.next_action(STARTUP_TIMEOUT_S - 1) is Action.NOTHING
    assert state.next_action(STARTUP_TIMEOUT_S + 1) is Action.KILL
    state.on_probe_ok(0.0, ready=True)
    assert state.next_action(LIVENESS_TIMEOUT_S - 1) is Action.NOTHING
    assert state.next_action(LIVENESS_TIMEOUT_S + 1) is Action.KILL


def test_process_that_is_alive_but_not_ready_is_not_killed() -> None:
    state = ProcessState()
    state.on_start(0.0)
    for second in range(1000):
        state.on_probe_ok(float(second), ready=False)
        assert state.next_action(second + 1.0) is Action.NOTHING
    assert not state.ever_ready


def test_exit_codes_are_described() -> None:
    assert describe_exit(-9) == "was killed by signal 9"
    assert describe_exit(1) == "exited with code 1"
