"""The states of one camera."""

from services.capture.life import LONGEST_WAIT_S, STEADY_S, CameraLife


def _life(jitter: float = 0.0) -> CameraLife:
    return CameraLife("door", stall_s=2.0, now=100.0, jitter=lambda: jitter)


def test_a_new_camera_is_connecting() -> None:
    status = _life().status(101.0, 0.0, 0)
    assert (status.state, status.since) == ("connecting", 100.0)


def test_a_camera_that_never_answers_does_not_count_as_stalled() -> None:
    assert _life().status(1000.0, 0.0, 0).state == "connecting"


def test_frames_make_it_live_with_size_and_rate() -> None:
    life = _life()
    life.first_frame(101.0, 640, 360)
    for i in range(41):
        now = 101.0 + i / 4
        status = life.status(now, now, i * 5)
    assert (status.state, status.since, status.reason) == ("live", 101.0, "")
    assert (status.width, status.height) == (640, 360)
    assert status.fps == 20.0


def test_silence_makes_it_stalled_and_a_frame_live_again() -> None:
    life = _life()
    life.first_frame(101.0, 640, 360)
    assert life.status(102.9, 101.0, 1).state == "live"
    stalled = life.status(103.5, 101.0, 1)
    assert (stalled.state, stalled.since, stalled.fps) == ("stalled", 103.5, 0.0)
    assert "no picture for 2 s" in stalled.reason
    again = life.status(104.0, 103.9, 2)
    assert (again.state, again.reason) == ("live", "")


def test_a_failed_camera_stays_failed_while_it_is_tried_again() -> None:
    life = _life()
    life.failed(102.0, "refused")
    life.failed(105.0, "no answer")
    status = life.status(106.0, 0.0, 0)
    assert (status.state, status.since, status.reason) == ("failed", 102.0, "no answer")


def test_the_wait_doubles_to_a_limit() -> None:
    life = _life()
    waits = [life.failed(102.0, "refused") for _ in range(8)]
    assert waits == [1, 2, 4, 8, 16, 30, 30, LONGEST_WAIT_S]


def test_chance_shortens_the_wait_by_up_to_a_half() -> None:
    life = _life(jitter=0.999)
    waits = [life.failed(102.0, "refused") for _ in range(8)]
    assert 0.5 <= waits[0] < 0.51
    assert 15.0 <= waits[-1] < 15.1


def test_a_camera_that_was_live_for_long_is_tried_soon() -> None:
    life = _life()
    for _ in range(6):
        life.failed(102.0, "refused")
    life.first_frame(110.0, 640, 360)
    life.status(110.0 + STEADY_S, 110.0 + STEADY_S, 300)
    assert life.failed(140.0, "broke off") == 1.0


def test_a_camera_that_breaks_off_at_once_is_tried_less_and_less() -> None:
    life = _life()
    waits = []
    for i in range(4):
        life.first_frame(110.0 + i, 640, 360)
        waits.append(life.failed(110.5 + i, "broke off"))
    assert waits == [1, 2, 4, 8]
