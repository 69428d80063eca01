"""The kept counts: one SQLite file with a number per minute, camera, kind and group.

No row is about one person: it says how many of a group came in a minute. Every call blocks for as
long as the disk takes; any thread. A file that two processes write to gets the counts of both.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from services.common.errors import StartError

MINUTE_S = 60
_VERSION = 1
_BUSY_S = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS counts (
    minute INTEGER NOT NULL,
    camera TEXT NOT NULL,
    what TEXT NOT NULL,
    place TEXT NOT NULL,
    age_band TEXT NOT NULL,
    gender TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (minute, camera, what, place, age_band, gender)
) WITHOUT ROWID
"""
_ADD = (
    "INSERT INTO counts VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET number = number + excluded.number"
)


class Key(NamedTuple):
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
class Wanted:
    """Which counts to sum up: since ≤ minute < until, and how.

    step_s: times are cut to multiples of it; columns: of `Key`.
    """

    since: int
    until: int
    what: str
    camera: str | None
    place: str | None
    step_s: int
    columns: Sequence[str]


class Ledger:
    """An open file of counts.

    Args:
        path: the file; made with its folder if missing. None keeps the counts in memory.

    Raises:
        StartError: the file cannot be opened, or is something else.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(
                path or ":memory:", timeout=_BUSY_S, check_same_thread=False, isolation_level=None
            )
            version = self._file.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise StartError(f"{path}: counts of another version ({version}); move it away")
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = NORMAL")
            self._file.execute(_SCHEMA)
            self._file.execute(f"PRAGMA user_version = {_VERSION}")
        except OSError as error:
            raise StartError(f"{path}: cannot keep counts: {error.strerror}") from None
        except sqlite3.DatabaseError as error:
            raise StartError(
                f"{path}: cannot keep counts: {error}; give another --counts-file"
            ) from None

    def add(self, counts: Mapping[Key, int]) -> None:
        """Add to what is kept: all of it or, on an error, nothing.

        Raises:
            sqlite3.Error: the disk is full, the file locked or gone.
        """
        rows = [(*key, number) for key, number in counts.items()]
        with self._lock:
            self._file.execute("BEGIN IMMEDIATE")
            try:
                self._file.executemany(_ADD, rows)
                self._file.execute("COMMIT")
            except sqlite3.Error:
                if self._file.in_transaction:
                    self._file.execute("ROLLBACK")
                raise

    def sums(self, wanted: Wanted, limit: int) -> list[tuple[int, tuple[str, ...], int]]:
        """Time (cut to the step), the columns asked for, and the number; by time.

        Args:
            limit: most rows to return.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        columns = [column for column in wanted.columns if column in Key._fields]
        names = "".join(f", {column}" for column in columns)
        where, values = "", []
        for column, value in (("camera", wanted.camera), ("place", wanted.place)):
            if value is not None:
                where += f" AND {column} = ?"
                values.append(value)
        query = (
            f"SELECT minute / ? * ? AS time{names}, SUM(number) FROM counts "  # noqa: S608  our names
            f"WHERE minute >= ? AND minute < ? AND what = ?{where} "
            f"GROUP BY time{names} ORDER BY time{names} LIMIT ?"
        )
        step_s = wanted.step_s
        given = (step_s, step_s, wanted.since, wanted.until, wanted.what, *values, limit)
        with self._lock:
            rows = self._file.execute(query, given).fetchall()
        return [(row[0], tuple(row[1:-1]), row[-1]) for row in rows]

    def forget_before(self, minute: int) -> int:
        """Delete what is older; returns how many rows that were.

        Raises:
            sqlite3.Error: the file cannot be written.
        """
        with self._lock:
            return self._file.execute("DELETE FROM counts WHERE minute < ?", (minute,)).rowcount

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()
