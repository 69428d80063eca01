"""How the answers about faces come: how long they take, and who waits for one in vain. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median

_LATENCIES_KEPT = 50
LATENCY_COUNTS_S = 60.0  # an older one says nothing of now


class Answering:
    """Of all cameras together; times are readings of any steady clock, seconds."""

    def __init__(self) -> None:
        self._latencies: deque[tuple[float, float]] = deque(maxlen=_LATENCIES_KEPT)
        self._waiting_since: dict[str, float] = {}  # by camera

    def on_frame(self, camera: str, *, waits: bool, now_s: float) -> None:
        """A frame came in which faces wait for a first answer, or in which none does."""
        if waits:
            self._waiting_since.setdefault(camera, now_s)
        else:
            self._waiting_since.pop(camera, None)

    def on_result(self, latency_s: float, now_s: float) -> None:
        """An answer came, of whatever camera: so somebody answers."""
        self._latencies.append((now_s, latency_s))
        self._waiting_since.clear()

    def forget(self, camera: str) -> None:
        """The camera is gone."""
        self._waiting_since.pop(camera, None)

    def longest_wait_s(self, cameras: Iterable[str], now_s: float) -> float | None:
        """How long the faces of one of these cameras have waited; None where none waits."""
        since = [self._waiting_since[name] for name in cameras if name in self._waiting_since]
        return now_s - min(since) if since else None

    def median_latency_s(self, now_s: float) -> float | None:
        """From a face's capture to its answer, of the last minute; None where none came."""
        fresh = [latency for at, latency in self._latencies if now_s - at <= LATENCY_COUNTS_S]
        return median(fresh) if fresh else None
