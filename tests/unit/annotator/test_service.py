"""Shutdown of the annotator's tasks."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from facestream.annotator.service import _cancel_all


def test_task_that_swallows_a_cancellation_is_canceled_again() -> None:
    async def deaf() -> None:
        for _ in range(2):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
        await asyncio.sleep(60)

    async def run() -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(deaf()), asyncio.create_task(asyncio.sleep(60))]
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await _cancel_all(tasks)
        return tasks

    assert all(task.cancelled() for task in asyncio.run(run()))
