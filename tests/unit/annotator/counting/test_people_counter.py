"""The counting as a whole: kept, told, measured; and a disk that is full for a while."""

from __future__ import annotations

import asyncio
import threading

import pytest
from facestream.annotator.api.sse import EventBus
from facestream.annotator.counting import stats_query
from facestream.annotator.counting.count_store import AggregateQuery, CountBatch, CountKey
from facestream.annotator.counting.people_counter import (
    MAX_CONCURRENT_QUERIES,
    MAX_PENDING,
    PeopleCounter,
)
from facestream.annotator.counting.sqlite_store import SqliteCountStore
from facestream.annotator.counting.visit_tracker import VisitPolicy
from facestream.annotator.metrics import AnnotatorMetrics
from facestream.annotator.people.camera_people import CameraPeople
from facestream.common.broker.messages import Frame, Result, Track
from facestream.common.cameras.models import Camera
from facestream.common.core.errors import CountStoreError
from facestream.common.observability.health import Health
from facestream.common.vision.displayed_estimate import DisplayThresholds
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

DOOR = Camera(name="door", url=SecretStr("rtsp://10.0.0.5/live"))
START_AT = 1_750_000_000.0
DAY_S = 86_400


class FullDisk(SqliteCountStore):
    """A ledger whose disk can be full, and slow to read."""

    is_full = False

    def __init__(self, path: None) -> None:
        super().__init__(path)
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.asked = 0

    def aggregate(
        self, query: AggregateQuery, limit: int
    ) -> list[tuple[int, tuple[str, ...], int]]:
        self.asked += 1
        assert self.goes_on.wait(10)
        return super().aggregate(query, limit)

    def add(self, batch: CountBatch) -> None:
        if self.is_full:
            raise CountStoreError("database or disk is full")
        super().add(batch)


class Shop:
    """A tally with a clock, and one person who comes in again and again."""

    has_gone = False  # who asks

    def __init__(self, keep_days: int = 400) -> None:
        self.now_s = 0.0
        self.ahead_s = 0.0  # by which the machine's clock is wrong
        self.registry = CollectorRegistry()
        self.metrics = AnnotatorMetrics(self.registry)
        self.ledger = FullDisk(None)
        self.events = EventBus(4)
        self.health = Health(())
        self.tally = PeopleCounter(
            VisitPolicy(),
            self.ledger,
            keep_days,
            self.events,
            self.metrics,
            self.health,
            clock=lambda: self.now_s,
            wall_clock=lambda: START_AT + self.now_s + self.ahead_s,
        )
        self.people = CameraPeople(DisplayThresholds(), 10.0)
        self.track = self.seq = 0

    def visit(self) -> None:
        self.track += 1
        began_us = round((START_AT + self.now_s) * 1e6)
        self.people.add_result(
            Result(
                camera="door",
                session=1,
                track=self.track,
                captured_us=began_us,
                age=34,
                age_std=5,
                female=0.95,
                quality=0.9,
                model="m",
            ),
            self.now_s,
        )
        for step in range(60):
            self.seq += 1
            self.now_s += 0.2
            track = Track(track=self.track, x=500, y=300, w=90, h=90, first_detected_us=began_us)
            frame = Frame(
                camera="door",
                session=1,
                seq=self.seq,
                captured_us=round((START_AT + self.now_s) * 1e6),
                width=1280,
                height=720,
                tracks=[track] if step < 15 else [],
            )
            self.people.on_frame(frame, self.now_s)
            self.tally.see(DOOR, frame, self.people)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"facestream_annotator_{name}", labels)

    async def ask(self, *by: str) -> list[stats_query.Row]:
        now = START_AT + self.now_s
        first = str(START_AT - 10 * DAY_S)
        asked = stats_query.parse_query(first, None, by, tz="UTC", now=now)
        return await self.tally.query(asked, self.is_gone)

    async def is_gone(self) -> bool:
        return self.has_gone


def test_a_visit_is_kept_measured_and_told() -> None:
    shop = Shop()
    shop.visit()
    shop.visit()
    rows = asyncio.run(shop.ask("camera", "age_band", "gender"))
    assert rows == [{"camera": "door", "age_band": "30-39", "gender": "female", "count": 2}]
    group = {"camera": "door", "age_band": "30-39", "gender": "female"}
    assert shop.metric("visits_total", **group) == 2
    shop.tally.publish_counts()
    with shop.events.subscribe() as listener:
        told = listener._pending["count:"].decode()
    assert '"total_since_start":2' in told
    assert told.count('"kind":"visit"') == 2


def test_a_full_disk_loses_nothing_and_is_told() -> None:
    async def script(shop: Shop) -> None:
        shop.ledger.is_full = True
        shop.visit()
        await shop.tally.flush()
        assert shop.tally.storage_error == "database or disk is full"
        assert shop.health.ready()[1] == {
            "ready": True,
            "missing": {"counts": "database or disk is full"},
        }
        assert await shop.ask() == [{"count": 0}]
        shop.ledger.is_full = False
        shop.visit()
        await shop.tally.flush()
        assert shop.tally.storage_error is None
        assert shop.health.ready()[1]["missing"] == {}
        assert await shop.ask() == [{"count": 2}]

    shop = Shop()
    asyncio.run(script(shop))
    assert shop.metric("count_write_errors_total") == 2
    assert shop.metric("counts_dropped_total") == 0


def test_what_waits_for_the_disk_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    for minute in range(MAX_PENDING + 5):
        shop.tally._remember(CountKey(minute * 60, "door", "visit", "", "70+", "male"), 1)
    assert len(shop.tally._pending) == MAX_PENDING
    assert shop.metric("counts_dropped_total") == 5


def test_few_questions_wait_and_one_that_was_given_up_is_not_asked() -> None:
    async def script(shop: Shop) -> None:
        shop.ledger.goes_on.clear()
        asking = [asyncio.create_task(shop.ask()) for _ in range(MAX_CONCURRENT_QUERIES)]
        while not shop.ledger.asked:
            await asyncio.sleep(0.001)
        with pytest.raises(CountStoreError, match="too many ask at once"):
            await shop.ask()
        shop.has_gone = True
        shop.ledger.goes_on.set()
        assert await asyncio.gather(*asking) == [[{"count": 0}]] + [[]] * (
            MAX_CONCURRENT_QUERIES - 1
        )
        assert shop.ledger.asked == 1
        shop.has_gone = False
        assert await shop.ask() == [{"count": 0}]

    asyncio.run(script(Shop()))


def test_a_write_that_was_not_waited_for_is_not_written_again() -> None:
    """The service ends while a batch is being written: it is given again, as it is."""

    async def script(shop: Shop) -> None:
        shop.visit()
        writing = asyncio.create_task(shop.tally.flush())
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        assert writing.cancelled()
        assert await shop.ask() == [{"count": 1}]

    asyncio.run(script(Shop()))


def test_what_could_not_be_kept_until_the_end_is_counted_as_lost() -> None:
    async def script(shop: Shop) -> None:
        shop.ledger.is_full = True
        shop.visit()
        await shop.tally.close()

    shop = Shop()
    asyncio.run(script(shop))
    assert shop.metric("counts_dropped_total") == 1


def test_counts_older_than_the_setting_are_deleted() -> None:
    async def script(shop: Shop) -> None:
        shop.visit()
        await shop.tally.flush()
        shop.now_s += 2 * DAY_S
        shop.visit()
        assert await shop.ask() == [{"count": 2}]
        shop.now_s += 2 * DAY_S
        await shop.tally.flush()
        assert await shop.ask() == [{"count": 1}]

    asyncio.run(script(Shop(keep_days=3)))


def test_a_clock_that_runs_ahead_for_a_while_deletes_nothing() -> None:
    async def script(shop: Shop) -> None:
        shop.visit()
        shop.ahead_s = 10 * DAY_S  # as a machine that has not heard yet what time it is
        await shop.tally.flush()
        shop.now_s += 300.0
        await shop.tally.flush()
        shop.ahead_s = 0.0
        shop.now_s += 3600.0
        await shop.tally.flush()
        assert await shop.ask() == [{"count": 1}]

    asyncio.run(script(Shop(keep_days=3)))


def test_who_is_in_view_when_the_service_ends_is_counted() -> None:
    async def script(shop: Shop) -> list[stats_query.Row]:
        shop.visit()
        shop.tally.finalize_all()
        shop.tally.finalize_all()
        return await shop.ask()

    assert asyncio.run(script(Shop())) == [{"count": 1}]
