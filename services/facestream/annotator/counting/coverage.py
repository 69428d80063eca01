"""Measure how closely a camera is watched: interval between detections, and coverage. No I/O.

*Coverage* is the share of time in which a person who is in view for a few seconds is detected often
enough to be counted. Each interval between two detections counts as covered up to `MAX_INTERVAL_S`;
the rest of a longer interval, and any time without detections, is not covered.
"""

from __future__ import annotations

from collections import deque

NORMAL_INTERVAL_S = 1 / 3  # between detections of a steady scene, by capture's default settings
# At one detection in two seconds, 9 of 10 people who stay for 4 s are counted
# (benchmarks/counting_simulation.py); less often is not close enough.
MAX_INTERVAL_S = 2.0
WINDOW_S = 60.0
_SMOOTHING = 0.2
_LONGEST_INTERVAL_S = 10.0


class Coverage:
    """Detection times of one camera. Times are readings of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._interval_s = NORMAL_INTERVAL_S
        self._started_s: float | None = None
        self._last_s: float | None = None
        self._gaps: deque[tuple[float, float]] = deque()  # end and covered length of each interval

    @property
    def interval_s(self) -> float:
        """Smoothed interval between detections in seconds."""
        return self._interval_s

    def on_detection(self, now_s: float) -> float:
        """Record a detection; return the seconds covered since the previous one."""
        if self._last_s is None:
            self._started_s = self._last_s = now_s
            return 0.0
        gap_s = max(0.0, now_s - self._last_s)
        self._last_s = now_s
        self._interval_s += _SMOOTHING * (min(gap_s, _LONGEST_INTERVAL_S) - self._interval_s)
        covered_s = min(gap_s, MAX_INTERVAL_S)
        self._gaps.append((now_s, covered_s))
        while self._gaps[0][0] < now_s - WINDOW_S:
            self._gaps.popleft()
        return covered_s

    def restart(self) -> None:
        """Forget the last detection: the camera was paused or reopened, and that is no gap."""
        self._started_s = self._last_s = None
        self._gaps.clear()

    def share(self, now_s: float) -> float | None:
        """Return the coverage of the last `WINDOW_S`, 0-1; None if nothing is known yet."""
        if self._started_s is None or self._last_s is None:
            return None
        observed_s = min(now_s - self._started_s, WINDOW_S)
        if observed_s < MAX_INTERVAL_S:
            return None
        covered_s = sum(length for end, length in self._gaps if end > now_s - WINDOW_S)
        covered_s += min(now_s - self._last_s, MAX_INTERVAL_S)
        return min(1.0, covered_s / observed_s)
