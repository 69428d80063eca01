"""Face accounting: how many faces were published, and the outcome of each. No I/O.

Every published face has one outcome or waits in its stream: published = processed + dead-lettered
+ dropped by reason + waiting. The counts are in Redis beside the stream and change atomically with
it (`face_accounting_scripts`), so a service that dies cannot separate a change from its count. If
Redis loses its memory, capture carries the last counts it read over into the new one; faces that
waited then count as `lost`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

PUBLISHED, WAITING, LOST = "published", "waiting", "lost"
# processed: its result was published; dead_lettered: its metadata is in the dead letters. Others:
# stale (too old), invalid (cannot be read), broker_error (Redis refused or lost the result),
# overflow (pushed out by newer faces), expired (no worker read it), lost (with Redis memory).
OUTCOMES = (
    "processed",
    "dead_lettered",
    "stale",
    "invalid",
    "broker_error",
    "overflow",
    "expired",
    LOST,
)
METRIC = "facestream_worker_face_outcomes"
_CAPTURE_DROPS_METRIC = "facestream_capture_faces_dropped_total"
_UNPUBLISHED_REASONS = ("broker_unavailable", "lease_lost", "encode_failed", "camera_removed")


@dataclass(frozen=True, slots=True)
class FaceAccounting:
    """Counts of faces since the accounting of a stream began.

    Attributes:
        published: faces added to the streams.
        outcomes: faces by outcome, one of `OUTCOMES`, without zeros.
        waiting: faces in the streams now, including those in flight.
    """

    published: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0

    @property
    def unaccounted(self) -> int:
        """Published faces without an outcome; negative if a stream has entries of other writers."""
        return self.published - sum(self.outcomes.values()) - self.waiting

    @property
    def dropped(self) -> dict[str, int]:
        """Faces with neither a result nor a dead letter, by reason, without zeros."""
        others = {
            name: n
            for name, n in self.outcomes.items()
            if name not in ("processed", "dead_lettered")
        }
        return {name: n for name, n in others.items() if n}

    def after_broker_loss(self) -> FaceAccounting:
        """Return the counts after Redis lost its memory: the waiting faces are lost."""
        lost = self.outcomes.get(LOST, 0) + self.waiting
        return FaceAccounting(self.published, {**self.outcomes, LOST: lost}, 0)

    def __add__(self, other: FaceAccounting) -> FaceAccounting:
        """Return the sum, for example of several shards."""
        return self._combine(other, 1)

    def since(self, earlier: FaceAccounting) -> FaceAccounting:
        """Return the difference to earlier counts; `waiting` may be negative."""
        return self._combine(earlier, -1)

    def _combine(self, other: FaceAccounting, sign: int) -> FaceAccounting:
        sums = {n: self.outcomes.get(n, 0) + sign * other.outcomes.get(n, 0) for n in OUTCOMES}
        return FaceAccounting(
            self.published + sign * other.published,
            {name: number for name, number in sums.items() if number},
            self.waiting + sign * other.waiting,
        )

    def as_metrics(self) -> dict[str, int]:
        """Return `published`, each outcome and `waiting` by the `outcome` label of `METRIC`."""
        outcomes = {name: self.outcomes.get(name, 0) for name in OUTCOMES}
        return {PUBLISHED: self.published, **outcomes, WAITING: self.waiting}


def from_fields(fields: Mapping[str, str], waiting: int) -> FaceAccounting:
    """Return the counts in the fields of the Redis hash; fields with a leading `_` are ignored."""
    counts = {name: int(value) for name, value in fields.items() if not name.startswith("_")}
    published = counts.pop(PUBLISHED, 0)
    return FaceAccounting(published, counts, waiting)


Sample = tuple[str, Mapping[str, str], float]  # name, labels, value


def from_samples(samples: Iterable[Sample]) -> FaceAccounting:
    """Return the counts in the metrics of all services.

    All workers publish the same counts; the ones with the most published faces are the newest.
    """
    workers: dict[str, dict[str, int]] = {}
    for name, labels, value in samples:
        if name == METRIC:
            workers.setdefault(labels.get("instance", ""), {})[labels["outcome"]] = int(value)
    newest = max(workers.values(), key=lambda counts: counts.get(PUBLISHED, 0), default={})
    outcomes = {name: number for name in OUTCOMES if (number := newest.get(name, 0))}
    return FaceAccounting(newest.get(PUBLISHED, 0), outcomes, newest.get(WAITING, 0))


def dropped_before_publish(samples: Iterable[Sample]) -> dict[str, int]:
    """Return the faces that capture dropped before publishing, by reason, from its metrics."""
    dropped: dict[str, int] = {}
    for name, labels, value in samples:
        reason = labels.get("reason", "")
        if name == _CAPTURE_DROPS_METRIC and reason in _UNPUBLISHED_REASONS and value:
            dropped[reason] = dropped.get(reason, 0) + int(value)
    return dropped
