"""Read and write bearer tokens: random strings that grant access, one per file."""

from __future__ import annotations

import errno
import os
import re
import secrets
from pathlib import Path

from facestream.common.core.config_files import read_text
from facestream.common.core.errors import SettingsError
from facestream.common.security.redaction import register_secret

MIN_TOKEN_CHARS = 24
_TOKEN_BYTES = 24
_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")


def create_private(file: Path) -> bool:
    """Create an empty file of mode 0600, whatever the umask; return False if it exists.

    Raises:
        OSError: the file cannot be created.
    """
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return False
    try:
        if hasattr(os, "fchmod"):  # a umask such as 0277 would forbid the owner to write
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    return True


def write_token(file: Path) -> str:
    """Write a new random token to a new file of mode 0600, and return it.

    Raises:
        OSError: the file exists or cannot be written.
    """
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    register_secret(token)
    if not create_private(file):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(file))
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
