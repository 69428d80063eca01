"""Validate the names of cameras, zones and lines. No I/O."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

_RULE = "lower-case letters, digits, - and _; at most 32"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def is_name(text: str) -> bool:
    """Return whether a name is valid.

    A valid name has 1 to 32 lower-case letters, digits, `-` and `_`, and starts with a letter or
    digit.
    """
    return _NAME.fullmatch(text) is not None


def _validate(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"use {_RULE}")
    return text


Name = Annotated[str, AfterValidator(_validate), Field(description=_RULE)]
