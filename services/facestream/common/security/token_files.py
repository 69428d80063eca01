"""Read and write bearer tokens: random strings that grant access, one per file."""

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
    """Write a new random token to a new file of mode 0600, and return it.

    Raises:
        OSError: the file exists or cannot be written.
    """
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    register_secret(token)
    file.touch(mode=0o600, exist_ok=False)
    file.write_text(token)
    return token


def read_token(file: Path) -> str:
    """Return the token in a file.

    Raises:
        SettingsError: the file is unreadable, or the token is too short or has other characters.
    """
    token = read_text(file).strip()
    if len(token) < MIN_TOKEN_CHARS or not _TOKEN.fullmatch(token):
        raise SettingsError(
            f"{file}: a token needs at least {MIN_TOKEN_CHARS} letters and digits on one line; "
            "create one with: openssl rand -hex 24"
        )
    register_secret(token)
    return token
