"""Redact credentials in logs, errors and everything else that a user may read.

Camera and broker URLs contain credentials. `redact` removes them from any text, by pattern
(`//user:pass@`, `password=…`, `phone:KEY`) and by value, for all values passed to `register_secret`
and `register_url_password`. `LogRedaction` applies it to each log record and its exception text.
This module imports nothing of facestream, so that every layer can use it. Thread-safe.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

MASK = "***"
# Match up to the last `@`: an unescaped password may contain `@`, `/` or `#`. Start at `://`, not
# at the scheme: a search for a scheme at every letter takes quadratic time.
_USERINFO = re.compile(r"://(?P<info>(?:(?!://)[^\s'\"<>])*)@")
# Cameras put it after `?`, `&`, `/` or `_`: rtsp://h/user=admin_password=word_channel=1
_QUERY = re.compile(
    r"(?P<key>(?<![a-z0-9])(?:password|passwd|pwd|pass|pw|loginpas|token|secret|api_?key)=)"
    r"[^&\s'\"<>]+",
    re.IGNORECASE,
)
# Key of a phone, in the URL of its camera.
_PHONE = re.compile(r"\b(phone:)[A-Za-z0-9_-]{24,}")
_MIN_SECRET = 4  # a shorter secret would redact ordinary words; in a URL the pattern matches it
_MAX_SECRETS = 4096

_lock = threading.Lock()
_secrets: dict[str, None] = {}  # insertion order: the oldest secret is dropped first


def register_url_password(url: str) -> None:
    """Redact the password of this URL from now on, outside URLs too."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return
    if not password:
        return
    for spelling in {password, unquote(password), quote(unquote(password), safe="")}:
        register_secret(spelling)


def register_secret(secret: str) -> None:
    """Redact this text from now on; texts below four characters are ignored."""
    if len(secret) >= _MIN_SECRET:
        with _lock:
            _secrets[secret] = None
            while len(_secrets) > _MAX_SECRETS:
                del _secrets[next(iter(_secrets))]


def redact(text: str) -> str:
    """Return the text without credentials: `rtsp://user:***@host/path`."""
    text = _USERINFO.sub(_hide_userinfo, text)
    text = _PHONE.sub(r"\1" + MASK, text)
    text = _QUERY.sub(lambda m: m["key"] + MASK, text)
    with _lock:
        known = sorted(_secrets, key=len, reverse=True)
    for secret in known:
        text = text.replace(secret, MASK)
    return text


def validation_message(error: Mapping[str, Any]) -> str:
    """Return the message of a pydantic error (an entry of its `errors()`), redacted."""
    return redact(str(error["msg"]).removeprefix("Value error, "))


def _hide_userinfo(match: re.Match[str]) -> str:
    user, colon, _ = match["info"].partition(":")
    return f"://{user}:{MASK}@" if colon else match[0]


class LogRedaction(logging.Filter):
    """Log filter that redacts the message and the exception text of each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record in place; always return True."""
        record.msg, record.args = redact(record.getMessage()), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        return True
