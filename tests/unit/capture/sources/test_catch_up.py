"""Dropping late packets to catch up with a camera that is decoded too slowly."""

from __future__ import annotations

from collections.abc import Iterator

from facestream.capture.sources.catch_up import LATE_PATIENCE_S, LATE_S, CatchUp

FPS, KEYFRAME_INTERVAL = 15, 15


def decoded_numbers(catch_up: CatchUp, readings: Iterator[tuple[float, int]]) -> list[int]:
    """Return the numbers of the packets, given as (read time, number), that are decoded."""
    return [
        n
        for now, n in readings
        if not catch_up.should_drop(n / FPS, n % KEYFRAME_INTERVAL == 0, now)
    ]


def on_time(first: int, last: int, at: float = 0.0) -> Iterator[tuple[float, int]]:
    return ((at + n / FPS, n) for n in range(first, last))


def test_nothing_is_dropped_from_a_punctual_camera() -> None:
    assert decoded_numbers(CatchUp(), on_time(0, 300)) == list(range(300))


def test_a_burst_after_a_pause_is_decoded() -> None:
    catch_up = CatchUp()
    decoded_numbers(catch_up, on_time(0, 30))
    burst = ((2.0 + 3.0 + i * 0.005, 30 + i) for i in range(45))  # three seconds at once
    assert decoded_numbers(catch_up, burst) == list(range(30, 75))


def test_a_slow_reader_catches_up_at_keyframes_again_and_again() -> None:
    catch_up, now, number, late = CatchUp(), 0.0, 0, []
    while number < 60 * FPS:
        now = max(now, number / FPS)  # no packet is read before it was sent
        if not catch_up.should_drop(number / FPS, number % KEYFRAME_INTERVAL == 0, now):
            late.append(now - number / FPS)
            now += 1.5 / FPS  # decoding takes half as long again as decoded is
        number += 1
    assert max(late) < LATE_S + LATE_PATIENCE_S
    assert len(late) > 0.5 * 60 * FPS


def test_after_a_drop_the_first_decoded_frame_is_a_keyframe() -> None:
    catch_up = CatchUp()
    decoded_numbers(catch_up, on_time(0, 15))
    slow = [(3.0 + n / 10, n) for n in range(15, 45)]
    decoded = decoded_numbers(catch_up, iter(slow))
    rest = decoded_numbers(catch_up, on_time(45 + 7, 90, at=0.1))
    assert decoded == list(range(15, 15 + len(decoded)))
    assert rest[0] % KEYFRAME_INTERVAL == 0


def test_a_camera_that_stays_late_is_decoded_again_from_a_keyframe_on() -> None:
    catch_up = CatchUp()
    decoded_numbers(catch_up, on_time(0, 16))
    decoded = decoded_numbers(
        catch_up, on_time(16, 16 + 12 * FPS, at=2 * LATE_S)
    )  # its timestamps jumped
    resumed = decoded[1 + next(i for i, n in enumerate(decoded) if n + 1 != decoded[i + 1])]
    assert resumed % KEYFRAME_INTERVAL == 0


def test_drops_from_a_camera_without_keyframes_are_limited_in_time() -> None:
    catch_up = CatchUp()
    readings = [(n / FPS + (2 * LATE_S if n > 15 else 0.0), n / FPS) for n in range(30 * FPS)]
    dropped = [catch_up.should_drop(pts_s, False, now) for now, pts_s in readings]
    assert any(dropped)
    assert not any(dropped[20 * FPS :])


def test_a_camera_clock_that_is_set_back_is_not_late() -> None:
    catch_up = CatchUp()
    decoded_numbers(catch_up, on_time(1000, 1100))
    assert decoded_numbers(catch_up, on_time(0, 300, at=200.0)) == list(range(300))


def test_timestamps_that_run_too_slowly_cause_ever_fewer_drops() -> None:
    """A camera that declares 15 fps and sends 10 is not late; drops must become rare."""
    catch_up = CatchUp()
    decoded = decoded_numbers(catch_up, ((n / 10, n) for n in range(3000)))
    assert len(decoded) > 0.85 * 3000


def test_packets_without_timestamps_are_decoded() -> None:
    assert not CatchUp().should_drop(None, False, 5.0)


def test_wrong_timestamp_rates_do_not_freeze_the_video() -> None:
    catch_up = CatchUp()
    interval_s = 1 / FPS
    dropped = [
        catch_up.should_drop(n * interval_s / 2, n % 100 == 0, n * interval_s, interval_s * 0.9)
        for n in range(60 * FPS)
    ]
    assert not any(dropped)
