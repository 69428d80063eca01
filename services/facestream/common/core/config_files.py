"""Reads text files that a person wrote, and says what is wrong with one in a line."""

from __future__ import annotations

from pathlib import Path

from facestream.common.core.errors import SettingsError


def read_text(path: Path) -> str:
    """What stands in a file.

    Raises:
        SettingsError: missing, unreadable or not UTF-8; one line that names the file.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: not text in UTF-8") from None
