"""Coverage says how much of the time a camera is watched closely enough to count."""

from __future__ import annotations

import pytest
from facestream.annotator.counting.coverage import MAX_INTERVAL_S, WINDOW_S, Coverage


def run(coverage: Coverage, interval_s: float, length_s: float, start_s: float = 0.0) -> float:
    now_s = start_s
    while now_s <= start_s + length_s:
        coverage.on_detection(now_s)
        now_s += interval_s
    return now_s - interval_s


@pytest.mark.parametrize(
    ("interval_s", "share"), [(0.2, 1.0), (1.0, 1.0), (2.0, 1.0), (4.0, 0.5), (8.0, 0.25)]
)
def test_longer_intervals_cover_less(interval_s: float, share: float) -> None:
    coverage = Coverage()
    now_s = run(coverage, interval_s, 120.0)
    assert coverage.share(now_s) == pytest.approx(share, abs=0.05)
    assert coverage.interval_s == pytest.approx(interval_s, rel=0.1)


def test_nothing_is_known_at_the_start() -> None:
    coverage = Coverage()
    assert coverage.share(5.0) is None
    coverage.on_detection(5.0)
    assert coverage.share(5.0 + MAX_INTERVAL_S / 2) is None


def test_a_detector_that_stops_covers_nothing_more() -> None:
    coverage = Coverage()
    now_s = run(coverage, 0.2, WINDOW_S)
    assert coverage.share(now_s + WINDOW_S / 2) == pytest.approx(0.53, abs=0.05)
    assert coverage.share(now_s + 2 * WINDOW_S) == pytest.approx(MAX_INTERVAL_S / WINDOW_S)


def test_a_pause_is_no_gap() -> None:
    coverage = Coverage()
    now_s = run(coverage, 0.2, 30.0)
    coverage.restart()
    assert coverage.share(now_s + 100.0) is None
    now_s = run(coverage, 0.2, 30.0, now_s + 100.0)
    assert coverage.share(now_s) == pytest.approx(1.0)


def test_covered_seconds_are_reported_once() -> None:
    coverage = Coverage()
    covered = sum(coverage.on_detection(at_s) for at_s in (0.0, 1.0, 2.0, 12.0))
    assert covered == pytest.approx(2.0 + MAX_INTERVAL_S)
