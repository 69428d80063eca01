"""The ledger of faces: how many were put into the streams, and what became of each. Pure.

Every face that is published has one outcome, or waits in its stream: published = processed + dead
letters + dropped by reason + waiting. The numbers stand in the broker beside the stream and are
changed together with it (`ledger_scripts`), so that no service can die between a deed and its
entry. A broker that dies takes its ledger along: capture remembers what it last said, and carries
it over into the next one, where the faces that waited then are `lost`.
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
_NOT_SENT = "facestream_capture_faces_dropped_total"
_NOT_SENT_REASONS = ("broker_unavailable", "lease_lost", "encode_failed", "camera_removed")


@dataclass(frozen=True, slots=True)
class FaceAccounting:
    """Faces put into the streams since there is a ledger.

    outcomes: faces by outcome, without zeros; waiting: faces in the streams now, including those that
    are in flight.
    """

    published: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0

    @property
    def unaccounted(self) -> int:
        """Faces of which nobody knows what became. Below 0: entries that nobody published."""
        return self.published - sum(self.outcomes.values()) - self.waiting

    @property
    def dropped(self) -> dict[str, int]:
        """Those that got neither a result nor a dead letter, by reason; none that are 0."""
        others = {
            name: n
            for name, n in self.outcomes.items()
            if name not in ("processed", "dead_lettered")
        }
        return {name: n for name, n in others.items() if n}

    def after_broker_loss(self) -> FaceAccounting:
        """As it stands when the broker has died: what waited is lost."""
        lost = self.outcomes.get(LOST, 0) + self.waiting
        return FaceAccounting(self.published, {**self.outcomes, LOST: lost}, 0)

    def __add__(self, other: FaceAccounting) -> FaceAccounting:
        """Of both, as of several shards."""
        return self._with(other, 1)

    def since(self, earlier: FaceAccounting) -> FaceAccounting:
        """What was added meanwhile; `waiting` is the growth of what waits."""
        return self._with(earlier, -1)

    def _with(self, other: FaceAccounting, sign: int) -> FaceAccounting:
        sums = {n: self.outcomes.get(n, 0) + sign * other.outcomes.get(n, 0) for n in OUTCOMES}
        return FaceAccounting(
            self.published + sign * other.published,
            {name: number for name, number in sums.items() if number},
            self.waiting + sign * other.waiting,
        )

    def as_metrics(self) -> dict[str, int]:
        """`published`, every outcome and `waiting`, as the metric's label and value."""
        outcomes = {name: self.outcomes.get(name, 0) for name in OUTCOMES}
        return {PUBLISHED: self.published, **outcomes, WAITING: self.waiting}


def of_fields(fields: Mapping[str, str], waiting: int) -> FaceAccounting:
    """From the fields of the broker's hash; those that begin with `_` are its own matter."""
    counts = {name: int(value) for name, value in fields.items() if not name.startswith("_")}
    published = counts.pop(PUBLISHED, 0)
    return FaceAccounting(published, counts, waiting)


Sample = tuple[str, Mapping[str, str], float]  # name, labels, value


def of_samples(samples: Iterable[Sample]) -> FaceAccounting:
    """From the metrics of all services.

    Every worker tells the same ledger, so the one that has come furthest is taken.
    """
    workers: dict[str, dict[str, int]] = {}
    for name, labels, value in samples:
        if name == METRIC:
            workers.setdefault(labels.get("instance", ""), {})[labels["outcome"]] = int(value)
    figures = max(workers.values(), key=lambda told: told.get(PUBLISHED, 0), default={})
    outcomes = {name: number for name in OUTCOMES if (number := figures.get(name, 0))}
    return FaceAccounting(figures.get(PUBLISHED, 0), outcomes, figures.get(WAITING, 0))


def dropped_before_publish(samples: Iterable[Sample]) -> dict[str, int]:
    """Faces that never came into a stream, by reason, from the metrics of capture."""
    found: dict[str, int] = {}
    for name, labels, value in samples:
        if name == _NOT_SENT and labels["reason"] in _NOT_SENT_REASONS and value:
            found[labels["reason"]] = found.get(labels["reason"], 0) + int(value)
    return found
