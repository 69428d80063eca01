"""Count dropped faces by reason, and log them at a limited rate."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Literal, get_args

from facestream.worker.metrics import WorkerMetrics

log = logging.getLogger(__name__)

Reason = Literal["stale", "invalid", "not_ours", "dead_lettered", "broker_error"]
_LOG_INTERVAL_S = 10.0


class DropCounter:
    """Counter of faces without a result. Thread-safe.

    Logs at most one line per reason in ten seconds, with the number of faces since the last line.
    """

    def __init__(self, metrics: WorkerMetrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics, self._clock = metrics, clock
        self._lock = threading.Lock()
        self._unlogged: dict[Reason, int] = {}
        self._logged_at_s: dict[Reason, float] = {}
        for reason in get_args(Reason):  # export 0: alerts need to see the first increase
            metrics.faces_dropped.labels(reason=reason)

    def count(self, reason: Reason, faces: int, detail: str) -> None:
        """Count faces that left the stream without a result."""
        if faces <= 0:
            return
        self._metrics.faces_dropped.labels(reason=reason).inc(faces)
        now_s = self._clock()
        with self._lock:
            unlogged = self._unlogged.get(reason, 0) + faces
            if now_s - self._logged_at_s.get(reason, -_LOG_INTERVAL_S) < _LOG_INTERVAL_S:
                self._unlogged[reason] = unlogged
                return
            self._logged_at_s[reason], self._unlogged[reason] = now_s, 0
        log.warning("dropped %d faces (%s): %s", unlogged, reason, detail)
