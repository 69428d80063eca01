"""People counter: counts are stored, published and exported, also after a full disk."""

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
from facestream.annotator.stream_limit import StreamLimit
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
    """A store whose disk can be full, and whose reads can block."""

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
    """A people counter with a simulated clock and one person who visits repeatedly."""

    has_disconnected = False  # the client

    def __init__(self, retention_days: int = 400) -> None:
        self.now_s = 0.0
        self.ahead_s = 0.0  # error of the wall clock
        self.registry = CollectorRegistry()
        self.metrics = AnnotatorMetrics(self.registry)
        self.store = FullDisk(None)
        self.events = EventBus(StreamLimit(4, 4, "full"))
        self.health = Health(())
        self.people_counter = PeopleCounter(
            VisitPolicy(),
            self.store,
            retention_days,
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
            self.people_counter.on_frame(DOOR, frame, self.people)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"facestream_annotator_{name}", labels)

    async def ask(self, *by: str) -> list[stats_query.Row]:
        now = START_AT + self.now_s
        first = str(START_AT - 10 * DAY_S)
        asked = stats_query.parse_query(first, None, by, tz="UTC", now=now)
        return await self.people_counter.query(asked, self.is_disconnected)

    async def is_disconnected(self) -> bool:
        return self.has_disconnected


def test_a_visit_is_stored_exported_and_published() -> None:
    shop = Shop()
    shop.visit()
    shop.visit()
    rows = asyncio.run(shop.ask("camera", "age_band", "gender"))
    assert rows == [{"camera": "door", "age_band": "30-39", "gender": "female", "count": 2}]
    group = {"camera": "door", "age_band": "30-39", "gender": "female"}
    assert shop.metric("visits_total", **group) == 2
    shop.people_counter.publish_counts()
    with shop.events.subscribe() as listener:
        published = listener._pending["count:"].decode()
    assert '"total_since_start":2' in published
    assert published.count('"kind":"visit"') == 2


def test_a_full_disk_loses_nothing_and_is_reported() -> None:
    async def script(shop: Shop) -> None:
        shop.store.is_full = True
        shop.visit()
        await shop.people_counter.flush()
        assert shop.people_counter.storage_error == "database or disk is full"
        assert shop.health.ready()[1] == {
            "ready": True,
            "missing": {"counts": "database or disk is full"},
        }
        assert await shop.ask() == [{"count": 0}]
        shop.store.is_full = False
        shop.visit()
        await shop.people_counter.flush()
        assert shop.people_counter.storage_error is None
        assert shop.health.ready()[1]["missing"] == {}
        assert await shop.ask() == [{"count": 2}]

    shop = Shop()
    asyncio.run(script(shop))
    assert shop.metric("count_write_errors_total") == 2
    assert shop.metric("counts_dropped_total") == 0


def test_pending_counts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    for minute in range(MAX_PENDING + 5):
        key = CountKey(minute * 60, "door", "visit", "", "70+", "male")
        shop.people_counter._add_pending(key, 1)
    assert len(shop.people_counter._pending) == MAX_PENDING
    assert shop.metric("counts_dropped_total") == 5


def test_concurrent_queries_are_bounded_and_skipped_after_a_disconnect() -> None:
    async def script(shop: Shop) -> None:
        shop.store.goes_on.clear()
        asking = [asyncio.create_task(shop.ask()) for _ in range(MAX_CONCURRENT_QUERIES)]
        while not shop.store.asked:
            await asyncio.sleep(0.001)
        with pytest.raises(CountStoreError, match="too many concurrent queries"):
            await shop.ask()
        shop.has_disconnected = True
        shop.store.goes_on.set()
        assert await asyncio.gather(*asking) == [[{"count": 0}]] + [[]] * (
            MAX_CONCURRENT_QUERIES - 1
        )
        assert shop.store.asked == 1
        shop.has_disconnected = False
        assert await shop.ask() == [{"count": 0}]

    asyncio.run(script(Shop()))


def test_a_batch_of_a_canceled_flush_is_added_once() -> None:
    """The service stops while a batch is being written; the same batch is retried."""

    async def script(shop: Shop) -> None:
        shop.visit()
        writing = asyncio.create_task(shop.people_counter.flush())
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        assert writing.cancelled()
        assert await shop.ask() == [{"count": 1}]

    asyncio.run(script(Shop()))


def test_counts_that_were_not_stored_at_shutdown_are_counted_as_dropped() -> None:
    async def script(shop: Shop) -> None:
        shop.store.is_full = True
        shop.visit()
        await shop.people_counter.close()

    shop = Shop()
    asyncio.run(script(shop))
    assert shop.metric("counts_dropped_total") == 1


def test_counts_older_than_the_retention_are_deleted() -> None:
    async def script(shop: Shop) -> None:
        shop.visit()
        await shop.people_counter.flush()
        shop.now_s += 2 * DAY_S
        shop.visit()
        assert await shop.ask() == [{"count": 2}]
        shop.now_s += 2 * DAY_S
        await shop.people_counter.flush()
        assert await shop.ask() == [{"count": 1}]

    asyncio.run(script(Shop(retention_days=3)))


def test_a_clock_that_is_temporarily_ahead_deletes_nothing() -> None:
    async def script(shop: Shop) -> None:
        shop.visit()
        shop.ahead_s = 10 * DAY_S  # as before NTP sets the clock
        await shop.people_counter.flush()
        shop.now_s += 300.0
        await shop.people_counter.flush()
        shop.ahead_s = 0.0
        shop.now_s += 3600.0
        await shop.people_counter.flush()
        assert await shop.ask() == [{"count": 1}]

    asyncio.run(script(Shop(retention_days=3)))


def test_open_visits_are_counted_at_shutdown() -> None:
    async def script(shop: Shop) -> list[stats_query.Row]:
        shop.visit()
        shop.people_counter.finalize_all()
        shop.people_counter.finalize_all()
        return await shop.ask()

    assert asyncio.run(script(Shop())) == [{"count": 1}]


@pytest.mark.parametrize(("interval_s", "share"), [(0.5, 1.0), (4.0, 0.5)])
def test_coverage_is_exported_and_stored_in_seconds(interval_s: float, share: float) -> None:
    async def script(shop: Shop) -> None:
        for seq in range(round(120 / interval_s)):
            frame = Frame(
                camera="door",
                session=9,
                seq=seq,
                captured_us=round((START_AT + shop.now_s) * 1e6),
                width=1280,
                height=720,
                detected=True,
            )
            shop.people_counter.on_frame(DOOR, frame, shop.people)
            shop.now_s += interval_s
        shop.people_counter.publish_counts()
        assert shop.metric("coverage_ratio", camera="door") == pytest.approx(share, abs=0.1)
        query = stats_query.parse_query(
            str(START_AT - 60),
            None,
            ("camera",),
            tz="UTC",
            now=START_AT + shop.now_s,
            kind="coverage",
        )
        (row,) = await shop.people_counter.query(query, shop.is_disconnected)
        assert row["count"] == pytest.approx(120 * share, abs=8)
        assert await shop.ask() == [{"count": 0}]  # coverage is not counted as people

    asyncio.run(script(Shop()))
