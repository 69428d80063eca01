"""The kept counts: a number per minute, camera, kind and group, wherever it is kept.

No row is about one person: it says how many of a group came in a minute. `sqlite_ledger.py` keeps
them in a file, `sql_ledger.py` in a database by URL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

MINUTE_S = 60


class CountKey(NamedTuple):
    """What a number stands for.

    minute: Unix time of its beginning; what: "visit", "enter" or "leave"; place: the zone or line,
    empty for visits.
    """

    minute: int
    camera: str
    what: str
    place: str
    age_band: str
    gender: str


@dataclass(frozen=True, slots=True)
class CountBatch:
    """Counts that are added together.

    number: different for each batch of a process, so that none is added twice.
    """

    number: int
    counts: Mapping[CountKey, int]


@dataclass(frozen=True, slots=True)
class AggregateQuery:
    """Which counts to sum up: since ≤ minute < until, and how.

    step_s: times are cut to multiples of it; columns: of `CountKey`.
    """

    since: int
    until: int
    what: str
    camera: str | None
    place: str | None
    step_s: int
    columns: Sequence[str]


class CountStore(Protocol):
    """Keeps counts. Every call blocks for seconds at most; any thread. Two processes that write to
    one ledger add up.
    """

    def add(self, batch: CountBatch) -> None:
        """Add to what is kept: all of it or, on an error, nothing.

        The batch that was added last is passed over: after an error that leaves open whether it
        was added, it is to be given again as it is.

        Raises:
            CountStoreError: it cannot be written now.
        """

    def aggregate(
        self, wanted: AggregateQuery, limit: int
    ) -> list[tuple[int, tuple[str, ...], int]]:
        """Time (cut to the step), the columns asked for, and the number; by time.

        Args:
            limit: most rows to return.

        Raises:
            CountStoreError: it cannot be read now.
        """

    def delete_before(self, minute: int) -> int:
        """Delete what is older; returns how many rows that were.

        Raises:
            CountStoreError: it cannot be written now.
        """

    def close(self) -> None:
        """Let go of the file or the database."""
