"""Redirect FFmpeg's log to Python logging: redacted and rate-limited.

FFmpeg logs a line per broken packet; a bad radio link causes thousands per minute. Each distinct
line is passed on once per `REPEAT_INTERVAL_S`, at level debug. What a user needs to know about a
camera is the reason in its status.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable

import av.logging

REPEAT_INTERVAL_S = 30.0
_MAX_LINES = 256
_FFMPEG_LOGGER = "libav"  # PyAV's parent logger of all FFmpeg components
_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")

_log = logging.getLogger(__name__)


class FfmpegLogHandler(logging.Handler):
    """Log handler that passes on each distinct FFmpeg line once per interval. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lines_lock = threading.Lock()
        self._logged_at: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Pass the record on, unless its line was logged recently; numbers are not compared."""
        text = " ".join(record.getMessage().split())
        if text and self._should_log(_NUMBERS.sub("#", text)):
            _log.debug("FFmpeg: %s", text)

    def _should_log(self, line: str) -> bool:
        now = self._clock()
        with self._lines_lock:
            if now - self._logged_at.get(line, -REPEAT_INTERVAL_S) < REPEAT_INTERVAL_S:
                return False
            self._logged_at.pop(line, None)
            self._logged_at[line] = now
            while len(self._logged_at) > _MAX_LINES:
                del self._logged_at[next(iter(self._logged_at))]
            return True


def redirect_ffmpeg_logging() -> None:
    """Route FFmpeg's errors to Python logging, for the whole process. Idempotent."""
    logger = logging.getLogger(_FFMPEG_LOGGER)
    if not any(isinstance(handler, FfmpegLogHandler) for handler in logger.handlers):
        logger.addHandler(FfmpegLogHandler())
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    av.logging.set_level(av.logging.ERROR)
