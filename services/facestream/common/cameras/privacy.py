"""How much of people's pictures leaves capture, from all to nothing. Pure.

`live`: the picture as it is. `blur`: the picture with its faces made unrecognisable. `stats-only`:
no picture. What is kept where is in docs/privacy.md.
"""

from __future__ import annotations

from typing import Literal, get_args

Privacy = Literal["live", "blur", "stats-only"]
LEVELS: tuple[Privacy, ...] = get_args(Privacy)  # from lax to strict


def stricter(one: Privacy, other: Privacy) -> Privacy:
    """That of the two which shows less."""
    return max(one, other, key=LEVELS.index)
