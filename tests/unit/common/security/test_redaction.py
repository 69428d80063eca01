"""Redaction of credentials in texts and log records."""

import io
import logging
import time

import pytest
from facestream.common.security import redaction
from facestream.common.security.redaction import LogRedaction, redact, register_url_password


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_secrets", {})


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("rtsp://ann:word@host/x", "rtsp://ann:***@host/x"),
        ("rtsp://:word@host/x", "rtsp://:***@host/x"),
        ("rtsp://ann:a:b@host", "rtsp://ann:***@host"),
        (
            "redis://:word@host:6379/0 and rtsp://a:b@c",
            "redis://:***@host:6379/0 and rtsp://a:***@c",
        ),
        (
            "http://host/video?user=ann&password=word&x=1",
            "http://host/video?user=ann&password=***&x=1",
        ),
        ("rtsp://ann:wo/rd@host/x", "rtsp://ann:***@host/x"),
        ("rtsp://ann:wo#r?d@host/x", "rtsp://ann:***@host/x"),
        ("redis://:word@host:6379/0,rtsp://a:b@c", "redis://:***@host:6379/0,rtsp://a:***@c"),
        ("rtsp://h:554/user=a_password=word_channel=1", "rtsp://h:554/user=a_password=***"),
        (
            "http://h/videostream.cgi?loginuse=a&loginpas=word",
            "http://h/videostream.cgi?loginuse=a&loginpas=***",
        ),
        ("sent by phone:aBcD-_efghijklmnopqrstuv!", "sent by phone:***!"),
        ("the telephone:number", "the telephone:number"),
        ("compass=north", "compass=north"),
        ("rtsp://host/no-password", "rtsp://host/no-password"),
        ("mail ann@host", "mail ann@host"),
    ],
)
def test_credentials_are_found_by_pattern(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize("text", ["a" * 60_000, "a://" * 15_000, "a://" + "b:" * 30_000])
def test_a_long_text_is_redacted_in_linear_time(text: str) -> None:
    # Any API client can send a text that is redacted.
    started = time.process_time()
    redact(text)
    assert time.process_time() - started < 1.0


def test_a_registered_password_is_redacted_in_any_spelling() -> None:
    register_url_password("rtsp://ann:p%40ss%20word@host")
    assert redact("said p@ss word and p%40ss%20word") == "said *** and ***"


def test_log_lines_and_tracebacks_are_redacted() -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.addFilter(LogRedaction())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.warning("open %s", "rtsp://ann:word@host")
    try:
        raise OSError("rtsp://ann:word@host refused")
    except OSError:
        logger.exception("failed")
    assert "ann:***@host" in out.getvalue()
    assert "word" not in out.getvalue()
