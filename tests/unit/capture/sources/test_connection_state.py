"""Connection states of a camera, and the reconnect backoff."""

from facestream.capture.sources.connection_state import (
    BACKOFF_RESET_S,
    MAX_BACKOFF_S,
    ConnectionState,
)


class UnixTime:
    """A clock far from the monotonic one."""

    def __init__(self, now: float = 7000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def _connection(jitter: float = 0.0, unix_time: UnixTime | None = None) -> ConnectionState:
    return ConnectionState("door", 2.0, 100.0, unix_time or UnixTime(), lambda: jitter)


def test_a_new_camera_is_connecting() -> None:
    status = _connection().status(101.0, 0.0, 0)
    assert (status.state, status.since) == ("connecting", 7000.0)


def test_a_camera_that_never_responds_does_not_count_as_stalled() -> None:
    assert _connection().status(1000.0, 0.0, 0).state == "connecting"


def test_a_connected_camera_is_live_with_size_and_fps() -> None:
    unix_time = UnixTime()
    connection = _connection(unix_time=unix_time)
    unix_time.now = 7001.0
    connection.on_connected(101.0, 640, 360)
    for i in range(41):
        now = 101.0 + i / 4
        status = connection.status(now, now, i * 5)
    assert (status.state, status.since, status.reason) == ("live", 7001.0, "")
    assert (status.width, status.height) == (640, 360)
    assert status.fps == 20.0


def test_silence_makes_it_stalled_and_a_frame_live_again() -> None:
    unix_time = UnixTime()
    connection = _connection(unix_time=unix_time)
    connection.on_connected(101.0, 640, 360)
    unix_time.now = 7003.5
    assert connection.status(102.9, 101.0, 1).state == "live"
    stalled = connection.status(103.5, 101.0, 1)
    assert (stalled.state, stalled.since, stalled.fps) == ("stalled", 7003.5, 0.0)
    assert "no frame for 2 s" in stalled.reason
    recovered = connection.status(104.0, 103.9, 2)
    assert (recovered.state, recovered.reason) == ("live", "")


def test_a_failed_camera_stays_failed_during_reconnects() -> None:
    unix_time = UnixTime(7002.0)
    connection = _connection(unix_time=unix_time)
    connection.on_failure("refused")
    unix_time.now = 7005.0
    connection.on_failure("no response")
    status = connection.status(106.0, 0.0, 0)
    assert (status.state, status.since, status.reason) == ("failed", 7002.0, "no response")


def test_the_backoff_doubles_up_to_its_maximum() -> None:
    connection = _connection()
    backoffs = [connection.on_failure("refused") for _ in range(8)]
    assert backoffs == [1, 2, 4, 8, 16, 30, 30, MAX_BACKOFF_S]


def test_jitter_shortens_the_backoff_by_up_to_a_half() -> None:
    connection = _connection(jitter=0.999)
    backoffs = [connection.on_failure("refused") for _ in range(8)]
    assert 0.5 <= backoffs[0] < 0.51
    assert 15.0 <= backoffs[-1] < 15.1


def test_a_stable_connection_resets_the_backoff() -> None:
    connection = _connection()
    for _ in range(6):
        connection.on_failure("refused")
    connection.on_connected(110.0, 640, 360)
    connection.status(110.0 + BACKOFF_RESET_S, 110.0 + BACKOFF_RESET_S, 300)
    assert connection.on_failure("connection lost") == 1.0


def test_the_backoff_grows_for_a_camera_that_disconnects_at_once() -> None:
    connection = _connection()
    backoffs = []
    for i in range(4):
        connection.on_connected(110.0 + i, 640, 360)
        backoffs.append(connection.on_failure("connection lost"))
    assert backoffs == [1, 2, 4, 8]


def test_setting_the_system_clock_does_not_stall_a_camera() -> None:
    unix_time = UnixTime()
    connection = _connection(unix_time=unix_time)
    connection.on_connected(101.0, 640, 360)
    for now, unix_time.now in ((102.0, 100.0), (103.0, 99_999.0)):
        status = connection.status(now, now, 10)
        assert (status.state, status.since) == ("live", 7000.0)


def test_a_slow_camera_stays_live_at_its_own_interval() -> None:
    connection = _connection()
    connection.on_connected(101.0, 640, 360)
    states = []
    for i in range(60):
        now = 101.0 + i / 2
        frames = int((now - 101.0) / 3)
        states.append(connection.status(now, 101.0 + 3 * frames, frames + 1).state)
    assert states.count("stalled") <= 2  # before the second frame, its interval is unknown
    assert set(states[7:]) == {"live"}
    assert connection.status(now + 8.0, now, 12).state == "stalled"
