"""Escape control characters in text for a terminal or a log. No I/O.

A camera chooses part of its error texts. Escape sequences in them could clear the terminal, change
its title or forge log lines.
"""

from __future__ import annotations

import re

# C0 and C1 controls, DEL, line separators, and marks that reverse the direction of text.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def escape_control_characters(text: str, allowed: str = "\t") -> str:
    r"""Return the text with control characters written as `\x1b` or `\u202e`.

    Args:
        text: any text.
        allowed: characters that stay.
    """
    return _CONTROL.sub(lambda match: _escape(match[0], allowed), text)


def _escape(character: str, allowed: str) -> str:
    if character in allowed:
        return character
    return character.encode("unicode_escape").decode()
