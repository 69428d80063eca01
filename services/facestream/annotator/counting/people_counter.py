"""The counting as a whole: frames of all cameras in; counts kept, shown, measured and told.

Event loop only, but for the ledger, which is asked in a thread. What is not yet in the ledger waits
here, bounded, and is tried again: a full disk or a database that is away stops nothing, and is
told.
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
from facestream.annotator.counting.count_store import MINUTE_S, CountBatch, CountKey, CountStore
from facestream.annotator.counting.settings import CountingSettings
from facestream.annotator.counting.sqlite_store import SqliteCountStore
from facestream.annotator.counting.visit_tracker import CountEvent, VisitPolicy, VisitTracker
from facestream.annotator.counting.webhook import Webhook
from facestream.annotator.metrics import AnnotatorMetrics
from facestream.annotator.people import demographics
from facestream.annotator.people.camera_people import CameraPeople
from facestream.common.broker.messages import Frame
from facestream.common.cameras.models import Camera
from facestream.common.core.errors import CountStoreError
from facestream.common.observability.health import Health

KEEP_EVERY_S = 5.0
# Old counts are deleted so often; where nobody comes, it also tells whether the ledger is there.
_FORGET_EVERY_S = 60.0
_TRUSTED_AFTER_S = 600.0  # a clock that was not set for so long says which counts are old …
_CLOCK_SET_S = 60.0  # … and it was set when it is off by so much from the steady one
_TELL_LAST_S = 2.0
DEPENDENCY = "counts"
MAX_PENDING = 20_000  # numbers that wait for the disk or the database
MAX_BATCH = 1_000  # of them, written together
MAX_RECENT = 20  # people whom a page is told of
# That wait for their answer, a page's four at once; what is counted is written after them.
MAX_CONCURRENT_QUERIES = 256

_log = logging.getLogger(__name__)


class PeopleCounter:
    """Counts the people of all cameras.

    Args:
        keep_days: what is older is deleted.
        health: told when counts cannot be kept.
        webhook: told of every event, if there is one.
        clock: steady, seconds.
        wall_clock: Unix time, seconds.
    """

    def __init__(
        self,
        rule: VisitPolicy,
        ledger: CountStore,
        keep_days: int,
        events: EventBus,
        metrics: AnnotatorMetrics,
        health: Health,
        webhook: Webhook | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._rule, self._ledger, self._keep_days = rule, ledger, keep_days
        self._events, self._metrics, self._health = events, metrics, health
        self._webhook = webhook
        self._clock, self._wall_clock = clock, wall_clock
        self._visits: dict[str, VisitTracker] = {}
        self._pending: Counter[CountKey] = Counter()
        self._batch: CountBatch | None = (
            None  # being written, and given again as it is until it was
        )
        self._batches = 0
        self._keeping = asyncio.Lock()
        self._questions = asyncio.Semaphore(MAX_CONCURRENT_QUERIES)
        self._forget_at_s = float("-inf")
        # Since when the clock was not set, by the steady one and by itself: a machine may start
        # years ahead, until it hears what time it is.
        self._trusted_since = (clock(), wall_clock())
        self._recent: deque[dict[str, object]] = deque(maxlen=MAX_RECENT)
        self._run = secrets.token_hex(4)
        self._number = 0
        self.storage_error: str | None = None

    @classmethod
    def open(
        cls, settings: CountingSettings, events: EventBus, metrics: AnnotatorMetrics, health: Health
    ) -> PeopleCounter:
        """With the ledger and the webhook of the settings; to be closed.

        Raises:
            StartError: the ledger's file cannot be opened.
            SettingsError: the URL of the counts is none, or needs a driver that is not here.
        """
        ledger = _open_ledger(settings)
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
        rule = VisitPolicy(settings.min_visit_s, settings.max_visit_gap_s, settings.count_after_s)
        return cls(rule, ledger, settings.counts_retention_days, events, metrics, health, webhook)

    async def close(self) -> None:
        """Count who is in view, keep and tell it, and close what was opened."""
        self.finalize_all()
        await self.flush()
        lost = self._pending.total() + sum(self._batch.counts.values() if self._batch else ())
        if lost:
            self._metrics.counts_dropped.inc(lost)
            _log.warning("%d counts are lost: they could not be kept", lost)
        if self._webhook is not None:
            await asyncio.to_thread(self._webhook.stop, _TELL_LAST_S)
        self._ledger.close()

    def see(self, camera: Camera, frame: Frame, people: CameraPeople) -> None:
        """A frame came from this camera; `people` has seen it."""
        visits = self._visits.get(camera.name)
        if visits is None:
            name = camera.name
            visits = self._visits[name] = VisitTracker(
                self._rule, lambda counted: self._count(name, counted)
            )
            for band, gender in product(demographics.AGE_BANDS, demographics.GENDERS):
                self._metrics.visits.labels(name, band, gender)  # at 0: the first is an increase
        visits.see(
            frame,
            lambda track: people.estimate(frame.session, track),
            camera.zones,
            camera.lines,
            self._clock(),
            self._wall_clock(),
        )

    def forget(self, camera: str) -> None:
        """This camera was removed; who was in view has left."""
        visits = self._visits.pop(camera, None)
        if visits is not None:
            visits.finalize_all()

    def finalize_all(self) -> None:
        """Count who is in view: the service ends."""
        for camera in list(self._visits):
            self.forget(camera)

    def publish_counts(self) -> None:
        """Send every page what was counted last, if that is news."""
        for visits in self._visits.values():
            visits.expire(self._clock())
        self._events.publish("count", {"total_since_start": self._number, "recent": list(self._recent)})

    async def flush(self) -> None:
        """Write to the ledger what is not in it yet, and delete what is too old."""
        async with self._keeping:
            try:
                while self._is_waiting:
                    if self._batch is None:
                        self._batch = self._next_batch()
                    await asyncio.to_thread(self._ledger.add, self._batch)
                    self._batch = None
                await self._forget_old()
                self._say(None)
            except CountStoreError as error:
                self._metrics.count_write_errors.inc()
                self._say(str(error))

    async def query(
        self, asked: stats_query.StatsQuery, is_gone: Callable[[], Awaitable[bool]]
    ) -> list[stats_query.Row]:
        """Ask the ledger, with everything counted until now in it.

        Args:
            is_gone: whether nobody waits for the answer any more; the ledger is not asked then.

        Raises:
            BadQuestion: too many rows.
            CountStoreError: the ledger cannot be read, or too many ask.
        """
        if self._questions.locked():
            raise CountStoreError("too many ask at once; try again shortly")
        async with self._questions:
            if self._is_waiting:
                await self.flush()
            async with self._keeping:
                if await is_gone():
                    return []
                return await asyncio.to_thread(stats_query.run_query, asked, self._ledger.aggregate)

    def _next_batch(self) -> CountBatch:
        keys = list(islice(self._pending, MAX_BATCH))
        self._batches += 1
        return CountBatch(self._batches, {key: self._pending.pop(key) for key in keys})

    async def _forget_old(self) -> None:
        now_s, now_at = self._clock(), self._wall_clock()
        if now_s < self._forget_at_s:
            return
        since_s, since_at = self._trusted_since
        if abs((now_at - since_at) - (now_s - since_s)) > _CLOCK_SET_S:
            since_s = now_s
            self._trusted_since = (now_s, now_at)
        minute = 0  # nothing, but whether the ledger answers is told from the start
        if now_s - since_s >= _TRUSTED_AFTER_S:
            oldest = datetime.fromtimestamp(now_at) - timedelta(days=self._keep_days)
            minute = int(oldest.timestamp()) // MINUTE_S * MINUTE_S
        await asyncio.to_thread(self._ledger.delete_before, minute)
        self._forget_at_s = now_s + _FORGET_EVERY_S

    def _count(self, camera: str, counted: CountEvent) -> None:
        band, gender = (
            demographics.age_band(counted.estimate),
            demographics.gender_label(counted.estimate),
        )
        minute = int(counted.timestamp) // MINUTE_S * MINUTE_S
        self._remember(CountKey(minute, camera, counted.kind, counted.region, band, gender), 1)
        if counted.kind == "visit":
            self._metrics.visits.labels(camera, band, gender).inc()
        else:
            self._metrics.crossings.labels(camera, counted.region, counted.kind).inc()
        self._number += 1
        event: dict[str, object] = {
            "id": f"{self._run}-{self._number}",
            "timestamp": round(counted.timestamp, 1),
            "camera": camera,
            "kind": counted.kind,
            "region": counted.region,
            "age_band": band,
            "gender": gender,
            "dwell_s": round(counted.dwell_s, 1),
        }
        self._recent.append(event)
        if self._webhook is not None:
            self._webhook.put(event)

    def _remember(self, key: CountKey, number: int) -> None:
        in_batch = len(self._batch.counts) if self._batch else 0
        if key in self._pending or len(self._pending) + in_batch < MAX_PENDING:
            self._pending[key] += number
        else:
            self._metrics.counts_dropped.inc(number)

    @property
    def _is_waiting(self) -> bool:
        """Whether anything is not in the ledger, as far as is known."""
        return self._batch is not None or bool(self._pending)

    def _say(self, trouble: str | None) -> None:
        if trouble is not None and self.storage_error is None:
            _log.warning("counts cannot be kept: %s; trying again", trouble)
        elif trouble is None and self.storage_error is not None:
            _log.info("counts are kept again")
        if trouble is None:
            self._health.mark_available(DEPENDENCY)
        else:
            self._health.mark_unavailable(DEPENDENCY, trouble)
        self.storage_error = trouble


def _open_ledger(settings: CountingSettings) -> CountStore:
    url = settings.database_url()
    if url is None:
        return SqliteCountStore(settings.counts_db_file)
    if url.startswith("sqlite:///"):
        return SqliteCountStore(Path(url.removeprefix("sqlite:///")))
    # Costs 20 MB and a third of a second, so only where it is asked for.
    from facestream.annotator.counting.sqlalchemy_store import SqlAlchemyCountStore

    return SqlAlchemyCountStore(url)
