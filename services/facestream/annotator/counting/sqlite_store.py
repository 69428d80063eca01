"""Counts in one SQLite file: the default, which needs no package outside the standard library.

A file that cannot be opened (disk full, read-only, folder missing) is opened again at each call,
so that video and live view start without it. A damaged file is renamed to `…corrupt-<time>` and a
new one is created; its content is never overwritten.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facestream.annotator.counting.count_store import AggregateQuery, CountBatch, CountKey
from facestream.common.core.errors import CountStoreError, StartError
from facestream.common.security.token_files import create_private

_VERSION = 2
_READABLE_VERSIONS = (0, 1, _VERSION)  # 0 is a new file, 1 is of facestream 0.1.0
_RENAMED_COLUMNS = {"what": "kind", "place": "region", "number": "count"}  # since version 1
_BUSY_TIMEOUT_S = 5.0
_CORRUPT_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# SQLite's files beside the database. They belong to its content and are renamed with it.
_SUFFIXES = ("", "-wal", "-shm", "-journal")
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


_log = logging.getLogger(__name__)


class SqliteCountStore:
    """Counts in a SQLite file; see `CountStore`. A file of facestream 0.1.0 is migrated.

    Args:
        path: the file; it and its folder are created if missing. None keeps the counts in memory.

    Raises:
        StartError: the file is of a later version of facestream.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._last_batch: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._inode: int | None = None
        self.corrupt_copy: str | None = None
        try:
            self._connection = self._open()
        except CountStoreError:
            pass  # the next call reports it

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
            self._close()

    @contextmanager
    def _access(self) -> Iterator[sqlite3.Connection]:
        """Yield the open file; open it first if necessary."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._open()
                yield self._connection
            except StartError as error:  # must not end the service, which has started
                raise CountStoreError(str(error)) from None
            except sqlite3.Error as error:
                if not _is_corrupt(error):
                    raise CountStoreError(str(error)) from None
                self._put_aside(error)
                raise CountStoreError(f"counts file was damaged: {error}") from None

    def _open(self) -> sqlite3.Connection:
        """Open the file; put a damaged one aside and create a new one.

        Raises:
            CountStoreError: the file cannot be opened now.
            StartError: the file is of a later version of facestream.
        """
        try:
            return self._connect()
        except sqlite3.Error as error:
            if not _is_corrupt(error):
                raise self._open_error(error) from None
            self._put_aside(error)
        except OSError as error:
            raise self._open_error(error.strerror or error) from None
        try:
            return self._connect()
        except (sqlite3.Error, OSError) as error:
            raise self._open_error(error) from None

    def _open_error(self, cause: object) -> CountStoreError:
        return CountStoreError(f"cannot open counts file {self._path}: {cause}")

    def _connect(self) -> sqlite3.Connection:
        path = self._path
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            create_private(path)
        file = sqlite3.connect(
            path or ":memory:",
            timeout=_BUSY_TIMEOUT_S,
            check_same_thread=False,
            isolation_level=None,
        )
        try:
            self._inode = None if path is None else path.stat().st_ino
            version = file.execute("PRAGMA user_version").fetchone()[0]
            if version not in _READABLE_VERSIONS:
                raise StartError(
                    f"cannot open counts file {path}: written by a later version of facestream "
                    f"(format {version}); update facestream or move the file away"
                )
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = NORMAL")
            with self._transaction(file):
                _migrate(file)
        except BaseException:
            file.close()
            raise
        return file

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _put_aside(self, cause: sqlite3.Error) -> None:
        """Rename the damaged file; keep it if another process has already replaced it.

        Raises:
            CountStoreError: the file cannot be renamed.
        """
        path = self._path
        if path is None:
            return
        parts = {suffix: path.with_name(path.name + suffix) for suffix in _SUFFIXES}
        copy = _free_name(path)
        try:
            if path.stat().st_ino == self._inode:
                for suffix, file in parts.items():
                    if file.exists():
                        os.rename(file, copy.with_name(copy.name + suffix))
                self.corrupt_copy = copy.name
                _log.error("counts file %s is damaged (%s); renamed to %s", path, cause, copy.name)
        except OSError as error:
            raise CountStoreError(
                f"counts file {path} is damaged ({cause}) and cannot be renamed: {error.strerror}; "
                "move it away"
            ) from None
        finally:
            self._close()

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


def _is_corrupt(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)  # None: raised by Python, not by SQLite
    return code is not None and code & 0xFF in _CORRUPT_CODES


def _free_name(path: Path) -> Path:
    """Return a name for the damaged file that no file has."""
    name = f"{path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%S')}"
    copy, number = path.with_name(name), 1
    while copy.exists():
        number += 1
        copy = path.with_name(f"{name}-{number}")
    return copy
