"""Reads text files that a person wrote, and says what is wrong with one in a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from facestream.common.core.errors import SettingsError
from facestream.common.security.redaction import redact


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


def read_yaml(path: Path) -> Any:
    """The document of a YAML file; None where it is empty.

    Raises:
        SettingsError: missing, not UTF-8 or not YAML; one line that names the file and the place.
    """
    try:
        return yaml.safe_load(read_text(path))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        problem = redact(error.problem or "cannot be read")
        raise SettingsError(f"{path}{where}: not YAML: {problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise SettingsError(f"{path}: not YAML: holds what cannot be read") from None
