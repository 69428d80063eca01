"""Tokens: long words of chance that let in whoever bears them. Kept in files, one a file."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from facestream.common.core.config_files import read_text
from facestream.common.core.errors import SettingsError
from facestream.common.security.redaction import register_secret

MIN_TOKEN_CHARS = 24
_TOKEN_BYTES = 24
_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")


def write_token(file: Path) -> str:
    """Put a new token into a new file that only this user may read."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    register_secret(token)
    file.touch(mode=0o600, exist_ok=False)
    file.write_text(token)
    return token


def read_token(file: Path) -> str:
    """The token in a file.

    Raises:
        SettingsError: unreadable, or no token that is hard to guess.
    """
    token = read_text(file).strip()
    if len(token) < MIN_TOKEN_CHARS or not _TOKEN.fullmatch(token):
        raise SettingsError(
            f"{file}: a token is {MIN_TOKEN_CHARS} letters and digits or more, on one line; "
            "make one with: openssl rand -hex 24"
        )
    register_secret(token)
    return token
