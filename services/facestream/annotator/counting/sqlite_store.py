"""Counts in one SQLite file: the default, which needs nothing but Python."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facestream.annotator.counting.count_store import AggregateQuery, CountBatch, CountKey
from facestream.common.core.errors import CountStoreError, StartError

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


class SqliteCountStore:
    """An open file of counts; see `Ledger`.

    Args:
        path: the file; made with its folder if missing. None keeps the counts in memory.

    Raises:
        StartError: the file cannot be opened, or is something else.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._added: int | None = None  # number of the last batch
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
                f"{path}: cannot keep counts: {error}; "
                "set FACESTREAM_ANNOTATOR_COUNTS_DB_FILE to another file"
            ) from None

    def add(self, batch: CountBatch) -> None:
        """See `Ledger`."""
        rows = [(*key, number) for key, number in batch.counts.items()]
        with self._asked() as file:
            if batch.number == self._added:
                return
            file.execute("BEGIN IMMEDIATE")
            try:
                file.executemany(_ADD, rows)
                file.execute("COMMIT")
            except sqlite3.Error:
                if file.in_transaction:
                    file.execute("ROLLBACK")
                raise
            self._added = batch.number

    def aggregate(
        self, wanted: AggregateQuery, limit: int
    ) -> list[tuple[int, tuple[str, ...], int]]:
        """See `Ledger`."""
        columns = [column for column in wanted.columns if column in CountKey._fields]
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
        with self._asked() as file:
            rows = file.execute(query, given).fetchall()
        return [(row[0], tuple(row[1:-1]), row[-1]) for row in rows]

    def delete_before(self, minute: int) -> int:
        """See `Ledger`."""
        with self._asked() as file:
            return file.execute("DELETE FROM counts WHERE minute < ?", (minute,)).rowcount

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    @contextmanager
    def _asked(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._file
            except sqlite3.Error as error:
                raise CountStoreError(str(error)) from None
