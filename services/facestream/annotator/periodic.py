"""Run periodic tasks aligned to one clock, so that a single wake-up serves every task that is due.

Each wake-up of a sleeping process costs 0.2 to 0.3 ms, whatever it does then. Intervals of half a
second, a second and more therefore all count from the same zero.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

_EARLY = 0.1  # of an interval: a timer that fires this much early belongs to the tick ahead


def next_tick(now: float, interval_s: float) -> float:
    """Return the next multiple of `interval_s` after `now`, both in seconds of one clock."""
    return (math.floor(now / interval_s + _EARLY) + 1) * interval_s


async def run_every(interval_s: float, task: Callable[[], Awaitable[None] | None]) -> None:
    """Run `task` now and at each tick until canceled."""
    loop = asyncio.get_running_loop()
    while True:
        if (awaitable := task()) is not None:
            await awaitable
        await asyncio.sleep(next_tick(loop.time(), interval_s) - loop.time())
