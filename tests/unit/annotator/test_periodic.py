"""Periodic tasks on aligned ticks."""

from __future__ import annotations

import asyncio

import pytest
from facestream.annotator.periodic import next_tick, run_every


@pytest.mark.parametrize(
    ("now", "every_s", "expected"),
    [(10.2, 0.5, 10.5), (10.2, 5.0, 15.0), (10.0, 0.5, 10.5), (0.0, 2.0, 2.0)],
)
def test_tick_is_the_next_multiple(now: float, every_s: float, expected: float) -> None:
    assert next_tick(now, every_s) == pytest.approx(expected)


def test_early_timer_does_not_cause_two_ticks() -> None:
    assert next_tick(10.499, 0.5) == pytest.approx(11.0)


def test_task_runs_at_once_and_at_each_tick() -> None:
    done: list[str] = []

    async def note() -> None:
        done.append("often")

    async def run() -> None:
        works = [
            asyncio.create_task(run_every(0.1, note)),
            asyncio.create_task(run_every(30.0, lambda: done.append("seldom"))),
        ]
        await asyncio.sleep(0.65)
        for work in works:
            work.cancel()

    asyncio.run(run())
    assert 2 <= done.count("often") <= 8
    assert 1 <= done.count("seldom") <= 2
