"""The states of one camera."""

from facestream.capture.sources.connection_state import LONGEST_WAIT_S, STEADY_S, ConnectionState


class UnixTime:
    """A clock far from the monotonic one."""

    def __init__(self, now: float = 7000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def _life(jitter: float = 0.0, unix_time: UnixTime | None = None) -> ConnectionState:
    return ConnectionState("door", 2.0, 100.0, unix_time or UnixTime(), lambda: jitter)


def test_a_new_camera_is_connecting() -> None:
    status = _life().status(101.0, 0.0, 0)
    assert (status.state, status.since) == ("connecting", 7000.0)


def test_a_camera_that_never_answers_does_not_count_as_stalled() -> None:
    assert _life().status(1000.0, 0.0, 0).state == "connecting"


def test_frames_make_it_live_with_size_and_rate() -> None:
    unix_time = UnixTime()
    life = _life(unix_time=unix_time)
    unix_time.now = 7001.0
    life.on_connected(101.0, 640, 360)
    for i in range(41):
        now = 101.0 + i / 4
        status = life.status(now, now, i * 5)
    assert (status.state, status.since, status.reason) == ("live", 7001.0, "")
    assert (status.width, status.height) == (640, 360)
    assert status.fps == 20.0


def test_silence_makes_it_stalled_and_a_frame_live_again() -> None:
    unix_time = UnixTime()
    life = _life(unix_time=unix_time)
    life.on_connected(101.0, 640, 360)
    unix_time.now = 7003.5
    assert life.status(102.9, 101.0, 1).state == "live"
    stalled = life.status(103.5, 101.0, 1)
    assert (stalled.state, stalled.since, stalled.fps) == ("stalled", 7003.5, 0.0)
    assert "no picture for 2 s" in stalled.reason
    again = life.status(104.0, 103.9, 2)
    assert (again.state, again.reason) == ("live", "")


def test_a_failed_camera_stays_failed_while_it_is_tried_again() -> None:
    unix_time = UnixTime(7002.0)
    life = _life(unix_time=unix_time)
    life.on_failure("refused")
    unix_time.now = 7005.0
    life.on_failure("no answer")
    status = life.status(106.0, 0.0, 0)
    assert (status.state, status.since, status.reason) == ("failed", 7002.0, "no answer")


def test_the_wait_doubles_to_a_limit() -> None:
    life = _life()
    waits = [life.on_failure("refused") for _ in range(8)]
    assert waits == [1, 2, 4, 8, 16, 30, 30, LONGEST_WAIT_S]


def test_chance_shortens_the_wait_by_up_to_a_half() -> None:
    life = _life(jitter=0.999)
    waits = [life.on_failure("refused") for _ in range(8)]
    assert 0.5 <= waits[0] < 0.51
    assert 15.0 <= waits[-1] < 15.1


def test_a_camera_that_was_live_for_long_is_tried_soon() -> None:
    life = _life()
    for _ in range(6):
        life.on_failure("refused")
    life.on_connected(110.0, 640, 360)
    life.status(110.0 + STEADY_S, 110.0 + STEADY_S, 300)
    assert life.on_failure("broke off") == 1.0


def test_a_camera_that_breaks_off_at_once_is_tried_less_and_less() -> None:
    life = _life()
    waits = []
    for i in range(4):
        life.on_connected(110.0 + i, 640, 360)
        waits.append(life.on_failure("broke off"))
    assert waits == [1, 2, 4, 8]


def test_setting_the_clock_does_not_stall_a_camera() -> None:
    unix_time = UnixTime()
    life = _life(unix_time=unix_time)
    life.on_connected(101.0, 640, 360)
    for now, unix_time.now in ((102.0, 100.0), (103.0, 99_999.0)):
        status = life.status(now, now, 10)
        assert (status.state, status.since) == ("live", 7000.0)
