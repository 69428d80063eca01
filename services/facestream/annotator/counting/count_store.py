"""Storage of counts: the number of people per minute, camera, kind, region and group.

No row describes one person. `sqlite_store.py` keeps the rows in a file, `sqlalchemy_store.py` in a
database server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

MINUTE_S = 60
COVERAGE_KIND = "coverage"  # seconds in which the camera was watched closely enough to count


class CountKey(NamedTuple):
    """The key of one count.

    minute: Unix time of its start, seconds; kind: "visit", "enter", "leave" or "coverage" (seconds,
    without region and group); region: the zone or line, empty for visits.
    """

    minute: int
    camera: str
    kind: str
    region: str
    age_band: str
    gender: str


@dataclass(frozen=True, slots=True)
class CountBatch:
    """Counts that are added in one transaction.

    number: unique among the batches of a process, so that no batch is added twice.
    """

    number: int
    counts: Mapping[CountKey, int]


@dataclass(frozen=True, slots=True)
class AggregateQuery:
    """Filter and grouping of counts to sum up; since ≤ minute < until.

    step_s: times are rounded down to multiples of it; columns: fields of `CountKey` to group by.
    """

    since: int
    until: int
    kind: str
    camera: str | None
    region: str | None
    step_s: int
    columns: Sequence[str]


class CountStore(Protocol):
    """Persistent counts. Thread-safe; a call blocks for seconds at most.

    Counts of several processes that write to one store add up.

    Attributes:
        corrupt_copy: new name of a damaged file that this process put aside, or None.
    """

    corrupt_copy: str | None

    def add(self, batch: CountBatch) -> None:
        """Add the whole batch or, on an error, nothing.

        A batch with the number of the last added one is skipped. If an error does not
        show whether a batch was added, add the same batch again.

        Raises:
            CountStoreError: the store cannot be written now.
        """

    def aggregate(
        self, query: AggregateQuery, limit: int
    ) -> list[tuple[int, tuple[str, ...], int]]:
        """Return rows of time (rounded down), the queried columns and the sum, ordered by time.

        Args:
            query: filter and grouping.
            limit: at most this many rows.

        Raises:
            CountStoreError: the store cannot be read now.
        """

    def delete_before(self, minute: int) -> int:
        """Delete counts older than this minute; return the number of deleted rows.

        Raises:
            CountStoreError: the store cannot be written now.
        """

    def close(self) -> None:
        """Close the file or the database."""
