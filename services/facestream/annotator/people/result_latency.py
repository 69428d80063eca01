"""Result latency: median time from capture to result, and faces still without a result. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median

_MAX_LATENCIES = 50
LATENCY_WINDOW_S = 60.0


class ResultLatency:
    """Latency of all cameras together; times are readings of one monotonic clock in seconds."""

    def __init__(self) -> None:
        self._latencies: deque[tuple[float, float]] = deque(maxlen=_MAX_LATENCIES)
        self._waiting_since: dict[str, float] = {}  # by camera

    def on_frame(self, camera: str, *, is_waiting: bool, now_s: float) -> None:
        """Record whether the faces of a camera's newest frame wait for a first result."""
        if is_waiting:
            self._waiting_since.setdefault(camera, now_s)
        else:
            self._waiting_since.pop(camera, None)

    def on_result(self, latency_s: float, now_s: float) -> None:
        """Record a result of any camera; it shows that inference works, so all waits restart."""
        self._latencies.append((now_s, latency_s))
        self._waiting_since.clear()

    def remove_camera(self, camera: str) -> None:
        """Drop the wait of a removed camera."""
        self._waiting_since.pop(camera, None)

    def longest_wait_s(self, cameras: Iterable[str], now_s: float) -> float | None:
        """Return the longest wait for a first result among these cameras, or None."""
        since = [self._waiting_since[name] for name in cameras if name in self._waiting_since]
        return now_s - min(since) if since else None

    def median_latency_s(self, now_s: float) -> float | None:
        """Return the median latency over `LATENCY_WINDOW_S`, or None without results."""
        recent = [latency for at, latency in self._latencies if now_s - at <= LATENCY_WINDOW_S]
        return median(recent) if recent else None
