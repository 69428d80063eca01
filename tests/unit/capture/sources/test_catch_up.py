"""Catching up with a camera that is read too slowly."""

from __future__ import annotations

from collections.abc import Iterator

from facestream.capture.sources.catch_up import LATE_S, PATIENCE_S, CatchUp

FPS, KEY_EACH = 15, 15


def kept(lag: CatchUp, readings: Iterator[tuple[float, int]]) -> list[int]:
    """The numbers of those packets, of (when read, number), that are decoded."""
    return [n for now, n in readings if not lag.should_drop(n / FPS, n % KEY_EACH == 0, now)]


def punctual(first: int, last: int, at: float = 0.0) -> Iterator[tuple[float, int]]:
    return ((at + n / FPS, n) for n in range(first, last))


def test_nothing_of_a_punctual_camera_is_left_out() -> None:
    assert kept(CatchUp(), punctual(0, 300)) == list(range(300))


def test_a_burst_after_a_pause_is_decoded() -> None:
    lag = CatchUp()
    kept(lag, punctual(0, 30))
    burst = ((2.0 + 3.0 + i * 0.005, 30 + i) for i in range(45))  # three seconds at once
    assert kept(lag, burst) == list(range(30, 75))


def test_a_reader_that_is_too_slow_catches_up_at_a_key_picture_again_and_again() -> None:
    lag, now, number, late = CatchUp(), 0.0, 0, []
    while number < 60 * FPS:
        now = max(now, number / FPS)  # no packet is read before it was sent
        if not lag.should_drop(number / FPS, number % KEY_EACH == 0, now):
            late.append(now - number / FPS)
            now += 1.5 / FPS  # decoding takes half as long again as there is
        number += 1
    assert max(late) < LATE_S + PATIENCE_S
    assert len(late) > 0.5 * 60 * FPS


def test_after_a_gap_the_first_picture_decoded_is_a_key_picture() -> None:
    lag = CatchUp()
    kept(lag, punctual(0, 15))
    slow = [(3.0 + n / 10, n) for n in range(15, 45)]
    there = kept(lag, iter(slow))
    rest = kept(lag, punctual(45 + 7, 90, at=0.1))
    assert there == list(range(15, 15 + len(there)))
    assert rest[0] % KEY_EACH == 0


def test_whoever_stays_late_is_decoded_again_from_a_key_picture_on() -> None:
    lag = CatchUp()
    kept(lag, punctual(0, 16))
    there = kept(lag, punctual(16, 16 + 12 * FPS, at=2 * LATE_S))  # its stamps jumped
    resumed = there[1 + next(i for i, n in enumerate(there) if n + 1 != there[i + 1])]
    assert resumed % KEY_EACH == 0


def test_a_camera_without_key_pictures_is_not_left_out_for_ever() -> None:
    lag = CatchUp()
    readings = [(n / FPS + (2 * LATE_S if n > 15 else 0.0), n / FPS) for n in range(30 * FPS)]
    skipped = [lag.should_drop(stamp, False, now) for now, stamp in readings]
    assert any(skipped)
    assert not any(skipped[20 * FPS :])


def test_a_clock_that_is_set_back_is_no_lateness() -> None:
    lag = CatchUp()
    kept(lag, punctual(1000, 1100))
    assert kept(lag, punctual(0, 300, at=200.0)) == list(range(300))


def test_stamps_that_run_too_slowly_cost_less_and_less() -> None:
    """A camera that says 15 a second and sends 10 is not late, and is not left out for long."""
    lag = CatchUp()
    decoded = kept(lag, ((n / 10, n) for n in range(3000)))
    assert len(decoded) > 0.85 * 3000


def test_packets_without_stamps_are_decoded() -> None:
    assert not CatchUp().should_drop(None, False, 5.0)
