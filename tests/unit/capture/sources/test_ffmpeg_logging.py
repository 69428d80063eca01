"""FFmpeg's own words in the log."""

import logging

import pytest
from facestream.capture.sources.ffmpeg_logging import QUIET_S, FfmpegLog


def _say(handler: FfmpegLog, text: str) -> None:
    handler.emit(logging.LogRecord("libav.h264", logging.ERROR, "", 0, text, None, None))


def test_a_flood_of_the_same_line_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    handler = FfmpegLog(clock=lambda: now[0])
    with caplog.at_level(logging.DEBUG):
        for i in range(1000):
            _say(handler, f"error while decoding MB {i} 7, bytestream -{i}\n")
        _say(handler, "Connection refused")
        assert len(caplog.messages) == 2
        now[0] = QUIET_S + 1
        _say(handler, "error while decoding MB 1 1, bytestream -5")
    assert len(caplog.messages) == 3
