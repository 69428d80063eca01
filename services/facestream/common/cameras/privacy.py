"""Privacy modes: which image data may leave capture. No I/O.

`full`: frames as they are. `blur`: frames with pixelated faces. `stats-only`: no frames.
docs/privacy.md lists the data that each mode stores.
"""

from __future__ import annotations

from typing import Literal, get_args

Privacy = Literal["full", "blur", "stats-only"]
MODES: tuple[Privacy, ...] = get_args(Privacy)  # from permissive to strict


def stricter(first: Privacy, second: Privacy) -> Privacy:
    """Return the stricter of two privacy modes."""
    return max(first, second, key=MODES.index)
