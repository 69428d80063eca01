"""Log rate limit: clients that are not authenticated must not be able to fill the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable


class LogRateLimit(logging.Filter):
    """Log filter that passes at most `burst` records per interval, and reports the number dropped.

    Args:
        burst: records per interval.
        interval_s: length of the interval.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        burst: int = 10,
        interval_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._burst, self._interval_s, self._clock = burst, interval_s, clock
        self._started_s = float("-inf")
        self._passed = self._dropped = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log the record; the first of an interval names the dropped ones."""
        now_s = self._clock()
        if now_s - self._started_s >= self._interval_s:
            if self._dropped:
                record.msg = f"{record.getMessage()} ({self._dropped} similar lines dropped)"
                record.args = ()
            self._started_s, self._passed, self._dropped = now_s, 0, 0
        if self._passed >= self._burst:
            self._dropped += 1
            return False
        self._passed += 1
        return True
