"""Rate limit of FFmpeg's log lines."""

import logging

import pytest
from facestream.capture.sources.ffmpeg_logging import REPEAT_INTERVAL_S, FfmpegLogHandler


def _emit(handler: FfmpegLogHandler, text: str) -> None:
    handler.emit(logging.LogRecord("libav.h264", logging.ERROR, "", 0, text, None, None))


def test_a_repeated_line_is_logged_once_per_interval(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    handler = FfmpegLogHandler(clock=lambda: now[0])
    with caplog.at_level(logging.DEBUG):
        for i in range(1000):
            _emit(handler, f"error while decoding MB {i} 7, bytestream -{i}\n")
        _emit(handler, "Connection refused")
        assert len(caplog.messages) == 2
        now[0] = REPEAT_INTERVAL_S + 1
        _emit(handler, "error while decoding MB 1 1, bytestream -5")
    assert len(caplog.messages) == 3
