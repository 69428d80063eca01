"""What cameras, zones and lines may be called. Pure."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

_RULE = "lower-case letters, digits, - and _, 32 at most"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def is_name(text: str) -> bool:
    """Lower-case letters, digits, `-` and `_`; starts with a letter or digit; 32 at most."""
    return _NAME.fullmatch(text) is not None


def _checked(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"use {_RULE}")
    return text


Name = Annotated[str, AfterValidator(_checked), Field(description=_RULE)]
