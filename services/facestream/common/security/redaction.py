"""Keeps passwords out of everything that a person or a log may read.

Camera and broker URLs carry credentials. `redact` scrubs any text: by shape (`//user:pass@`,
`password=…`, `phone:KEY`) and by every secret that `remember` and `register_url_password` were told of.
`LogRedaction` applies it to each log record, exception text included.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

STARS = "***"
# Up to the last `@`, as a password may hold `@`, `/` or `#` where it was not escaped. From `://`,
# not from the scheme: looking for one at every letter takes a time with the square of the text.
_USERINFO = re.compile(r"://(?P<info>(?:(?!://)[^\s'\"<>])*)@")
# Cameras have it after `?`, `&`, `/` or `_`: rtsp://h/user=admin_password=word_channel=1
_QUERY = re.compile(
    r"(?P<key>(?<![a-z0-9])(?:password|passwd|pwd|pass|pw|loginpas|token|secret|api_?key)=)"
    r"[^&\s'\"<>]+",
    re.IGNORECASE,
)
# A phone's key, as it stands in a camera's URL.
_PHONE = re.compile(r"\b(phone:)[A-Za-z0-9_-]{24,}")
_MIN_SECRET = 4  # a shorter one would blank out ordinary words; its URL is caught by shape
_MAX_SECRETS = 4096

_lock = threading.Lock()
_secrets: dict[str, None] = {}  # in order of arrival, so that the oldest is forgotten first


def register_url_password(url: str) -> None:
    """Have the password of this URL scrubbed from now on, also where it stands outside a URL."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return
    if not password:
        return
    for spelling in {password, unquote(password), quote(unquote(password), safe="")}:
        register_secret(spelling)


def register_secret(secret: str) -> None:
    """Have this text scrubbed from now on, wherever it stands."""
    if len(secret) >= _MIN_SECRET:
        with _lock:
            _secrets[secret] = None
            while len(_secrets) > _MAX_SECRETS:
                del _secrets[next(iter(_secrets))]


def redact(text: str) -> str:
    """The text without passwords: `rtsp://user:***@host/path`."""
    text = _USERINFO.sub(_hide_userinfo, text)
    text = _PHONE.sub(r"\1" + STARS, text)
    text = _QUERY.sub(lambda m: m["key"] + STARS, text)
    with _lock:
        known = sorted(_secrets, key=len, reverse=True)
    for secret in known:
        text = text.replace(secret, STARS)
    return text


def validation_message(complaint: Mapping[str, Any]) -> str:
    """What pydantic complains of (an entry of its `errors()`), as a person may read it."""
    return redact(str(complaint["msg"]).removeprefix("Value error, "))


def _hide_userinfo(match: re.Match[str]) -> str:
    user, colon, _ = match["info"].partition(":")
    return f"://{user}:{STARS}@" if colon else match[0]


class LogRedaction(logging.Filter):
    """Rewrites each record's message and exception text through `redact`."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        return True
