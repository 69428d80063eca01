"""Read text and YAML files that users write; report each error in one line.

An error names the file and the position. It never quotes the file, because a line may contain a
password.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from facestream.common.core.errors import SettingsError
from facestream.common.security.redaction import redact


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        SettingsError: the file is missing, unreadable or not UTF-8; one line that names it.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: not text in UTF-8") from None


def read_yaml(path: Path) -> Any:
    """Return the document of a YAML file; None if the file is empty.

    Raises:
        SettingsError: missing, not UTF-8 or not YAML; one line with the file and the position.
    """
    try:
        return yaml.safe_load(read_text(path))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        position = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        problem = redact(error.problem or "cannot be read")
        raise SettingsError(f"{path}{position}: not YAML: {problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise SettingsError(f"{path}: not YAML: contains an unsupported value") from None
