"""Validate the names of cameras, zones, lines and models. No I/O."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

_RULE = "lower-case letters, digits, - and _; at most 32"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # a folder name


def is_name(text: str) -> bool:
    """Return whether a name is valid.

    A valid name has 1 to 32 lower-case letters, digits, `-` and `_`, and starts with a letter or
    digit.
    """
    return _NAME.fullmatch(text) is not None


def is_model_name(text: str) -> bool:
    """Return whether a model name is valid: 1 to 64 ASCII letters, digits, `_`, `.` and `-`."""
    return _MODEL_NAME.fullmatch(text) is not None


def _validate(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"use {_RULE}")
    return text


Name = Annotated[str, AfterValidator(_validate), Field(description=_RULE)]
