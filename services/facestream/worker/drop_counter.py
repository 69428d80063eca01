"""Counts the faces that get no answer, and says so in the log without filling it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Literal, get_args

from facestream.worker.metrics import WorkerMetrics

log = logging.getLogger(__name__)

Reason = Literal["stale", "invalid", "not_ours", "dead_lettered", "broker_error"]
_SAY_EVERY_S = 10.0


class DropCounter:
    """Thread-safe; one log line per reason in ten seconds, with the number since the last."""

    def __init__(self, metrics: WorkerMetrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics, self._clock = metrics, clock
        self._lock = threading.Lock()
        self._unsaid: dict[Reason, int] = {}
        self._said_at: dict[Reason, float] = {}
        for reason in get_args(Reason):  # at 0 before the first: alerts see it rise
            metrics.faces_dropped.labels(reason=reason)

    def count(self, reason: Reason, faces: int, why: str) -> None:
        """So many faces left the stream without an answer."""
        if faces <= 0:
            return
        self._metrics.faces_dropped.labels(reason=reason).inc(faces)
        now = self._clock()
        with self._lock:
            unsaid = self._unsaid.get(reason, 0) + faces
            if now - self._said_at.get(reason, -_SAY_EVERY_S) < _SAY_EVERY_S:
                self._unsaid[reason] = unsaid
                return
            self._said_at[reason], self._unsaid[reason] = now, 0
        log.warning("dropped %d faces (%s): %s", unsaid, reason, why)
