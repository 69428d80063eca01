"""Counts in one SQLite file: the default, which needs no package outside the standard library."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facestream.annotator.counting.count_store import AggregateQuery, CountBatch, CountKey
from facestream.common.core.errors import CountStoreError, StartError

_VERSION = 2
_READABLE_VERSIONS = (0, 1, _VERSION)  # 0 is a new file, 1 is of facestream 0.1.0
_RENAMED_COLUMNS = {"what": "kind", "place": "region", "number": "count"}  # since version 1
_BUSY_TIMEOUT_S = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS counts (
    minute INTEGER NOT NULL,
    camera TEXT NOT NULL,
    kind TEXT NOT NULL,
    region TEXT NOT NULL,
    age_band TEXT NOT NULL,
    gender TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (minute, camera, kind, region, age_band, gender)
) WITHOUT ROWID
"""
_ADD = (
    "INSERT INTO counts (minute, camera, kind, region, age_band, gender, count) "
    "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count"
)


class SqliteCountStore:
    """Counts in an open SQLite file; see `CountStore`. A file of facestream 0.1.0 is migrated.

    Args:
        path: the file; it and its folder are created if missing. None keeps the counts in memory.

    Raises:
        StartError: the file cannot be opened, is no SQLite file or is of a later version.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._last_batch: int | None = None
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(
                path or ":memory:",
                timeout=_BUSY_TIMEOUT_S,
                check_same_thread=False,
                isolation_level=None,
            )
            version = self._file.execute("PRAGMA user_version").fetchone()[0]
            if version not in _READABLE_VERSIONS:
                raise StartError(
                    f"cannot open counts file {path}: written by a later version of facestream "
                    f"(format {version}); update facestream or move the file away"
                )
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = NORMAL")
            with self._transaction(self._file):
                _migrate(self._file)
        except OSError as error:
            raise StartError(f"cannot open counts file {path}: {error.strerror}") from None
        except sqlite3.DatabaseError as error:
            raise StartError(
                f"cannot open counts file {path}: {error}; "
                "set FACESTREAM_ANNOTATOR_COUNTS_DB_FILE to another file"
            ) from None

    def add(self, batch: CountBatch) -> None:
        """See `CountStore`."""
        rows = [(*key, number) for key, number in batch.counts.items()]
        with self._access() as file:
            if batch.number == self._last_batch:
                return
            with self._transaction(file):
                file.executemany(_ADD, rows)
            self._last_batch = batch.number

    def aggregate(
        self, query: AggregateQuery, limit: int
    ) -> list[tuple[int, tuple[str, ...], int]]:
        """See `CountStore`."""
        columns = [column for column in query.columns if column in CountKey._fields]
        names = "".join(f", {column}" for column in columns)
        where, values = "", []
        for column, value in (("camera", query.camera), ("region", query.region)):
            if value is not None:
                where += f" AND {column} = ?"
                values.append(value)
        statement = (
            f"SELECT minute / ? * ? AS time{names}, SUM(count) FROM counts "  # noqa: S608  our names
            f"WHERE minute >= ? AND minute < ? AND kind = ?{where} "
            f"GROUP BY time{names} ORDER BY time{names} LIMIT ?"
        )
        step_s = query.step_s
        parameters = (step_s, step_s, query.since, query.until, query.kind, *values, limit)
        with self._access() as file:
            rows = file.execute(statement, parameters).fetchall()
        return [(row[0], tuple(row[1:-1]), row[-1]) for row in rows]

    def delete_before(self, minute: int) -> int:
        """See `CountStore`."""
        with self._access() as file:
            return file.execute("DELETE FROM counts WHERE minute < ?", (minute,)).rowcount

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    @contextmanager
    def _access(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._file
            except sqlite3.Error as error:
                raise CountStoreError(str(error)) from None

    @staticmethod
    @contextmanager
    def _transaction(file: sqlite3.Connection) -> Iterator[None]:
        file.execute("BEGIN IMMEDIATE")
        try:
            yield
            file.execute("COMMIT")
        except sqlite3.Error:
            if file.in_transaction:
                file.execute("ROLLBACK")
            raise


def _migrate(file: sqlite3.Connection) -> None:
    """Create the table, or give the columns of facestream 0.1.0 their new names."""
    # By the columns, not the version: 0.1.0 could be killed between creating and numbering.
    columns = {row[1] for row in file.execute("PRAGMA table_info(counts)")}
    for old, new in _RENAMED_COLUMNS.items():
        if old in columns:
            file.execute(f"ALTER TABLE counts RENAME COLUMN {old} TO {new}")
    file.execute(_SCHEMA)
    file.execute(f"PRAGMA user_version = {_VERSION}")
