"""Reads YAML files that a person wrote. What is wrong is told by its place, never by quoting the
file: a line may hold a password.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from facestream.common.core.config_files import read_text
from facestream.common.core.errors import SettingsError
from facestream.common.security.redaction import redact


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
