"""Count people of all cameras: track visits, store counts, publish events, metrics and webhooks.

All methods run in the event loop; the count store is called in a thread. Counts that are not stored
yet are pending in memory, at most `MAX_PENDING` of them, and are retried. A full disk or an
unavailable database therefore stops nothing; health and log report it.

Longer than 300 lines: pending counts are added, stored, retried and queried under one lock.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from itertools import islice, product
from pathlib import Path

from facestream.annotator.api.sse import EventBus
from facestream.annotator.counting import stats_query
from facestream.annotator.counting.count_store import (
    COVERAGE_KIND,
    MINUTE_S,
    CountBatch,
    CountKey,
    CountStore,
)
from facestream.annotator.counting.settings import CountingSettings
from facestream.annotator.counting.sqlite_store import SqliteCountStore
from facestream.annotator.counting.visit import CountEvent
from facestream.annotator.counting.visit_tracker import VisitPolicy, VisitTracker
from facestream.annotator.counting.webhook import Webhook
from facestream.annotator.metrics import AnnotatorMetrics
from facestream.annotator.people import demographics
from facestream.annotator.people.camera_people import CameraPeople
from facestream.common.broker.messages import Frame
from facestream.common.cameras.models import Camera
from facestream.common.core.errors import CountStoreError
from facestream.common.observability.health import Health

FLUSH_INTERVAL_S = 5.0
# Old counts are deleted this often. Without visitors, the deletion also checks the store.
_RETENTION_INTERVAL_S = 60.0
# The wall clock decides which counts are old. It must have agreed with the monotonic clock for this
# long, within this tolerance.
_CLOCK_TRUST_S = 600.0
_CLOCK_TOLERANCE_S = 60.0
_WEBHOOK_STOP_TIMEOUT_S = 2.0
DEPENDENCY = "counts"
MAX_PENDING = 20_000  # counts that wait for the store
MAX_BATCH = 1_000  # counts that are stored in one transaction
MAX_RECENT = 20  # events that the web UI gets
# Queries that wait for their response; the web UI sends four at once. Writes wait behind them.
MAX_CONCURRENT_QUERIES = 256

_log = logging.getLogger(__name__)


class PeopleCounter:
    """Counter of the people of all cameras.

    Args:
        policy: which visits count as people.
        store: where counts are stored.
        retention_days: counts older than this are deleted.
        events: gets the event `count`.
        metrics: the annotator's metrics.
        health: gets the state of the dependency "counts".
        webhook: gets every event.
        clock: monotonic, seconds.
        wall_clock: Unix time, seconds.
    """

    def __init__(
        self,
        policy: VisitPolicy,
        store: CountStore,
        retention_days: int,
        events: EventBus,
        metrics: AnnotatorMetrics,
        health: Health,
        webhook: Webhook | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._policy, self._store, self._retention_days = policy, store, retention_days
        self._events, self._metrics, self._health = events, metrics, health
        self._webhook = webhook
        self._clock, self._wall_clock = clock, wall_clock
        self._trackers: dict[str, VisitTracker] = {}
        self._pending: Counter[CountKey] = Counter()
        # The batch that is being stored; the same one is retried until the store has it.
        self._batch: CountBatch | None = None
        self._batch_number = 0
        self._store_lock = asyncio.Lock()
        self._query_slots = asyncio.Semaphore(MAX_CONCURRENT_QUERIES)
        self._delete_at_s = float("-inf")
        # When both clocks last started to agree: a machine may start years ahead, until NTP sets
        # its clock.
        self._clock_agrees_since = (clock(), wall_clock())
        self._covered_s: dict[str, float] = {}  # not stored yet, less than a second
        self._recent: deque[dict[str, object]] = deque(maxlen=MAX_RECENT)
        self._run_id = secrets.token_hex(4)
        self._total = 0
        self.storage_error: str | None = None

    @classmethod
    def open(
        cls, settings: CountingSettings, events: EventBus, metrics: AnnotatorMetrics, health: Health
    ) -> PeopleCounter:
        """Open the count store and the webhook of the settings; call `close` at the end.

        Raises:
            StartError: the counts file is of a later version of facestream.
            SettingsError: the database URL is invalid, or its driver is not installed.
        """
        store = _open_store(settings)
        webhook = None
        if settings.webhook_url is not None:
            secret = settings.webhook_secret
            webhook = Webhook(
                settings.webhook_url.get_secret_value(),
                secret.get_secret_value() if secret else None,
                settings.webhook_egress_policy,
                metrics,
            )
            webhook.start()
        policy = VisitPolicy(settings.min_visit_s, settings.max_visit_gap_s, settings.count_after_s)
        return cls(policy, store, settings.counts_retention_days, events, metrics, health, webhook)

    async def close(self) -> None:
        """Count open visits, store and send what is pending, close store and webhook."""
        self.finalize_all()
        await self.flush()
        lost = self._pending.total() + sum(self._batch.counts.values() if self._batch else ())
        if lost:
            self._metrics.counts_dropped.inc(lost)
            _log.warning("lost %d counts: the store did not take them before shutdown", lost)
        if self._webhook is not None:
            await asyncio.to_thread(self._webhook.stop, _WEBHOOK_STOP_TIMEOUT_S)
        self._store.close()

    def on_frame(self, camera: Camera, frame: Frame, people: CameraPeople) -> None:
        """Update the visits of a camera; call after `people` got the frame."""
        tracker = self._trackers.get(camera.name)
        if tracker is None:
            name = camera.name
            tracker = self._trackers[name] = VisitTracker(
                self._policy,
                lambda event: self._on_event(name, event),
                lambda seconds: self._on_covered(name, seconds),
            )
            for band, gender in product(demographics.AGE_BANDS, demographics.GENDERS):
                # Export 0, so that the first visit shows as an increase.
                self._metrics.visits.labels(name, band, gender)
        tracker.on_frame(
            frame,
            lambda track: people.estimate(frame.session, track),
            camera.zones,
            camera.lines,
            self._clock(),
            self._wall_clock(),
        )

    def remove_camera(self, camera: str) -> None:
        """End the visits of a camera that was removed."""
        tracker = self._trackers.pop(camera, None)
        self._covered_s.pop(camera, None)
        if tracker is not None:
            tracker.finalize_all()

    def coverage(self) -> dict[str, float]:
        """Return each camera's coverage: the share of the last minute it was watched well, 0-1."""
        now_s = self._clock()
        shares = {name: tracker.coverage(now_s) for name, tracker in self._trackers.items()}
        return {name: share for name, share in shares.items() if share is not None}

    def finalize_all(self) -> None:
        """End the visits of all cameras: the service stops."""
        for camera in list(self._trackers):
            self.remove_camera(camera)

    def publish_counts(self) -> None:
        """Expire visits of silent cameras; publish the newest events if they have changed."""
        for tracker in self._trackers.values():
            tracker.expire(self._clock())
        for camera, share in self.coverage().items():
            self._metrics.coverage.labels(camera).set(share)
        self._events.publish(
            "count", {"total_since_start": self._total, "recent": list(self._recent)}
        )

    async def flush(self) -> None:
        """Store pending counts and delete expired ones; report an error to health and log."""
        async with self._store_lock:
            try:
                while self._has_pending:
                    if self._batch is None:
                        self._batch = self._next_batch()
                    await asyncio.to_thread(self._store.add, self._batch)
                    self._batch = None
                await self._delete_expired()
                self._report_storage(None)
            except CountStoreError as error:
                self._metrics.count_write_errors.inc()
                self._report_storage(str(error))

    async def query(
        self, query: stats_query.StatsQuery, is_disconnected: Callable[[], Awaitable[bool]]
    ) -> list[stats_query.Row]:
        """Store pending counts, then run a query.

        Args:
            query: a parsed query.
            is_disconnected: returns whether the client has gone; the query is skipped then.

        Raises:
            InvalidQueryError: too many rows.
            CountStoreError: the store cannot be read, or too many queries wait.
        """
        if self._query_slots.locked():
            raise CountStoreError("too many concurrent queries; try again shortly")
        async with self._query_slots:
            if self._has_pending:
                await self.flush()
            async with self._store_lock:
                if await is_disconnected():
                    return []
                return await asyncio.to_thread(stats_query.run_query, query, self._store.aggregate)

    def _next_batch(self) -> CountBatch:
        keys = list(islice(self._pending, MAX_BATCH))
        self._batch_number += 1
        return CountBatch(self._batch_number, {key: self._pending.pop(key) for key in keys})

    async def _delete_expired(self) -> None:
        now_s, now_at = self._clock(), self._wall_clock()
        if now_s < self._delete_at_s:
            return
        since_s, since_at = self._clock_agrees_since
        if abs((now_at - since_at) - (now_s - since_s)) > _CLOCK_TOLERANCE_S:
            since_s = now_s
            self._clock_agrees_since = (now_s, now_at)
        minute = 0  # deletes nothing, but checks from the start that the store is available
        if now_s - since_s >= _CLOCK_TRUST_S:
            oldest = datetime.fromtimestamp(now_at) - timedelta(days=self._retention_days)
            minute = int(oldest.timestamp()) // MINUTE_S * MINUTE_S
        await asyncio.to_thread(self._store.delete_before, minute)
        self._delete_at_s = now_s + _RETENTION_INTERVAL_S

    def _on_event(self, camera: str, event: CountEvent) -> None:
        band = demographics.age_band(event.estimate)
        gender = demographics.gender_label(event.estimate)
        minute = int(event.timestamp) // MINUTE_S * MINUTE_S
        self._add_pending(CountKey(minute, camera, event.kind, event.region, band, gender), 1)
        if event.kind == "visit":
            self._metrics.visits.labels(camera, band, gender).inc()
        else:
            self._metrics.crossings.labels(camera, event.region, event.kind).inc()
        self._total += 1
        payload: dict[str, object] = {
            "id": f"{self._run_id}-{self._total}",
            "timestamp": round(event.timestamp, 1),
            "camera": camera,
            "kind": event.kind,
            "region": event.region,
            "age_band": band,
            "gender": gender,
            "dwell_s": round(event.dwell_s, 1),
        }
        self._recent.append(payload)
        if self._webhook is not None:
            self._webhook.put(payload)

    def _on_covered(self, camera: str, seconds: float) -> None:
        """Store the whole seconds in which the camera was watched closely enough to count."""
        covered_s = self._covered_s.get(camera, 0.0) + seconds
        whole_s = int(covered_s)
        self._covered_s[camera] = covered_s - whole_s
        if whole_s:
            minute = int(self._wall_clock()) // MINUTE_S * MINUTE_S
            self._add_pending(CountKey(minute, camera, COVERAGE_KIND, "", "", ""), whole_s)

    def _add_pending(self, key: CountKey, number: int) -> None:
        in_batch = len(self._batch.counts) if self._batch else 0
        if key in self._pending or len(self._pending) + in_batch < MAX_PENDING:
            self._pending[key] += number
        else:
            self._metrics.counts_dropped.inc(number)

    @property
    def corrupt_counts_file(self) -> str | None:
        """New name of a damaged counts file that was put aside since the start, or None."""
        return self._store.corrupt_copy

    @property
    def _has_pending(self) -> bool:
        return self._batch is not None or bool(self._pending)

    def _report_storage(self, error: str | None) -> None:
        if error is not None and self.storage_error is None:
            _log.warning("cannot store counts: %s; retrying", error)
        elif error is None and self.storage_error is not None:
            _log.info("count storage recovered")
        if error is None:
            self._health.mark_available(DEPENDENCY)
        else:
            self._health.mark_unavailable(DEPENDENCY, error)
        self.storage_error = error


def _open_store(settings: CountingSettings) -> CountStore:
    url = settings.database_url()
    if url is None:
        return SqliteCountStore(settings.counts_db_file)
    if url.startswith("sqlite:///"):
        return SqliteCountStore(Path(url.removeprefix("sqlite:///")))
    # Imported on demand: SQLAlchemy costs 20 MB of memory and 0.3 s.
    from facestream.annotator.counting.sqlalchemy_store import SqlAlchemyCountStore

    return SqlAlchemyCountStore(url)
