"""What FFmpeg has to say goes into the log like everything else: redacted, and no flood.

FFmpeg logs a line per broken packet; a bad radio link makes thousands a minute. Each distinct line
is passed on once per `QUIET_S`, at level debug: what a user should know of a camera is in its
status, in plain words.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable

import av.logging

QUIET_S = 30.0
_MAX_LINES = 256
_FFMPEG_LOGGER = "libav"  # PyAV's name for all FFmpeg loggers
_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")

_log = logging.getLogger(__name__)


class FfmpegLog(logging.Handler):
    """Takes FFmpeg's records and passes the new ones on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._guard = threading.Lock()
        self._said_at: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        if text and self._is_news(_NUMBERS.sub("#", text)):
            _log.debug("FFmpeg: %s", text)

    def _is_news(self, line: str) -> bool:
        now = self._clock()
        with self._guard:
            if now - self._said_at.get(line, -QUIET_S) < QUIET_S:
                return False
            self._said_at.pop(line, None)
            self._said_at[line] = now
            while len(self._said_at) > _MAX_LINES:
                del self._said_at[next(iter(self._said_at))]
            return True


def redirect_ffmpeg_logging() -> None:
    """Route FFmpeg's errors through Python's log, for the whole process; again is harmless."""
    logger = logging.getLogger(_FFMPEG_LOGGER)
    if not any(isinstance(handler, FfmpegLog) for handler in logger.handlers):
        logger.addHandler(FfmpegLog())
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    av.logging.set_level(av.logging.ERROR)
