"""Counts in a database server by URL: PostgreSQL, MariaDB, MySQL, or another SQLAlchemy dialect.

The SQL is portable. Each call opens a new connection, so that no idle connection goes stale
and a restarted or moved server is found again. The number of each batch is written in the
transaction of the batch, so that a batch is not added twice when the reply to COMMIT is lost.
"""

from __future__ import annotations

import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from facestream.common.core.errors import CountStoreError, SettingsError, StartError
from facestream.common.security.redaction import redact

try:
    import sqlalchemy as sql
    from sqlalchemy.exc import (
        ArgumentError,
        IntegrityError,
        NoSuchModuleError,
        ProgrammingError,
    )
    from sqlalchemy.pool import NullPool
except ImportError:
    raise StartError(
        "a database for counts needs SQLAlchemy and a driver: "
        "pip install -r requirements/database.txt"
    ) from None

from facestream.annotator.counting.count_store import AggregateQuery, CountBatch, CountKey

# Time limit of each reply, so that the service can stop in time; for the drivers listed here.
REPLY_TIMEOUT_S = 5.0
# Calls fail at once for this long after a failure: each call to a host that drops packets would
# cost the whole time limit.
RETRY_AFTER_S = 2.0
_DRIVERS = {
    "postgres": "postgresql+pg8000",
    "postgresql": "postgresql+pg8000",
    "mariadb": "mariadb+pymysql",
    "mysql": "mysql+pymysql",
}
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "pymysql": {
        "connect_timeout": REPLY_TIMEOUT_S,
        "read_timeout": REPLY_TIMEOUT_S,
        "write_timeout": REPLY_TIMEOUT_S,
    }
}
_SSL_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
_URL_HINT = "write it as postgresql://user:password@host/name"

_tables = sql.MetaData()
_counts = sql.Table(
    "facestream_counts",
    _tables,
    sql.Column("minute", sql.BigInteger, primary_key=True, autoincrement=False),
    *(sql.Column(name, sql.String(32), primary_key=True) for name in CountKey._fields[1:]),
    sql.Column("count", sql.BigInteger, nullable=False),
)
_count = _counts.c["count"]
_batches = sql.Table(
    "facestream_batches",
    _tables,
    sql.Column("writer", sql.String(32), primary_key=True),
    sql.Column("batch", sql.BigInteger, nullable=False),
    sql.Column("minute", sql.BigInteger, nullable=False),  # the latest minute that it counted in
)
# Names of facestream 0.1.0.
_RENAMED_COLUMNS = {"what": "kind", "place": "region", "number": "count"}
_OLD_BATCHES = "facestream_writers"
_ADD = (
    sql.update(_counts)
    .where(*(_counts.c[name] == sql.bindparam(f"key_{name}") for name in CountKey._fields))
    .values({_count: _count + sql.bindparam("increment")})
)


class SqlAlchemyCountStore:
    """Counts in a database server; see `CountStore`.

    The first successful connection creates the tables, or migrates those of facestream 0.1.0.

    Raises:
        SettingsError: the URL is invalid, or its driver is not installed.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.corrupt_copy: str | None = None  # the database server repairs its files
        self._lock = threading.Lock()
        self._engine = _create_engine(url)
        self._writer = secrets.token_hex(16)  # this process among all that write there
        self._has_tables = False
        self._failure, self._retry_at_s = "", float("-inf")

    def add(self, batch: CountBatch) -> None:
        """See `CountStore`."""
        with self._transaction() as database:
            is_own = _batches.c.writer == self._writer
            last = database.execute(sql.select(_batches.c.batch).where(is_own)).scalar()
            if last == batch.number:
                return
            self._add(database, batch)
            values = {"batch": batch.number, "minute": max(key.minute for key in batch.counts)}
            if last is None:
                database.execute(sql.insert(_batches), {"writer": self._writer, **values})
            else:
                database.execute(sql.update(_batches).where(is_own), values)

    def _add(self, database: sql.Connection, batch: CountBatch) -> None:
        minutes = {key.minute for key in batch.counts}
        keys = sql.select(*(_counts.c[name] for name in CountKey._fields))
        known = {
            CountKey(*row) for row in database.execute(keys.where(_counts.c.minute.in_(minutes)))
        }
        # Sorted, so that two processes lock rows in the same order and cannot deadlock.
        counts = sorted(batch.counts.items())
        new = [{**key._asdict(), "count": n} for key, n in counts if key not in known]
        increments = [
            {"increment": n, **{f"key_{name}": value for name, value in key._asdict().items()}}
            for key, n in counts
            if key in known
        ]
        if increments:
            database.execute(_ADD, increments)
        if new:
            database.execute(sql.insert(_counts), new)

    def aggregate(
        self, query: AggregateQuery, limit: int
    ) -> list[tuple[int, tuple[str, ...], int]]:
        """See `CountStore`."""
        minute = _counts.c.minute
        # A literal: PostgreSQL takes a parameter for a different expression in each clause.
        step_s = sql.bindparam("step_s", query.step_s, sql.BigInteger, literal_execute=True)
        time_column = minute - minute % step_s
        groups = [
            time_column,
            *(_counts.c[name] for name in query.columns if name in CountKey._fields),
        ]
        statement = sql.select(*groups, sql.func.sum(_count)).where(
            minute >= query.since, minute < query.until, _counts.c.kind == query.kind
        )
        for column, value in ((_counts.c.camera, query.camera), (_counts.c.region, query.region)):
            if value is not None:
                statement = statement.where(column == value)
        statement = statement.group_by(*groups).order_by(*groups).limit(limit)
        with self._transaction() as database:
            rows = database.execute(statement).fetchall()
        return [(int(row[0]), tuple(row[1:-1]), int(row[-1])) for row in rows]

    def delete_before(self, minute: int) -> int:
        """See `CountStore`."""
        with self._transaction() as database:
            database.execute(sql.delete(_batches).where(_batches.c.minute < minute))
            return database.execute(sql.delete(_counts).where(_counts.c.minute < minute)).rowcount

    def close(self) -> None:
        """Do nothing: no connection is open between calls."""

    @contextmanager
    def _transaction(self) -> Iterator[sql.Connection]:
        with self._lock:
            if self._clock() < self._retry_at_s:
                raise CountStoreError(self._failure)
            try:
                if not self._has_tables:
                    self._ensure_tables()
                    self._has_tables = True
                with self._engine.begin() as database:
                    yield database
            except Exception as error:  # drivers raise exceptions of any class
                self._has_tables = False
                self._failure = _describe_error(error)
                # Another process inserted the same key first: the next attempt updates it.
                if not isinstance(error, IntegrityError):
                    self._retry_at_s = self._clock() + RETRY_AFTER_S
                raise CountStoreError(self._failure) from None

    def _ensure_tables(self) -> None:
        """Create or migrate the tables; another process may do the same at this moment."""
        try:
            self._create_tables()
        except (IntegrityError, ProgrammingError):
            # PostgreSQL refuses the second of two concurrent CREATE TABLE IF NOT EXISTS.
            self._create_tables()

    def _create_tables(self) -> None:
        with self._engine.begin() as database:
            _migrate(database)
            _tables.create_all(database)


def _migrate(database: sql.Connection) -> None:
    """Rename tables and columns of facestream 0.1.0; do nothing if they have the current names.

    Each name is checked by itself: MariaDB and MySQL commit after every ALTER TABLE.
    """
    inspector = sql.inspect(database)
    quote = database.dialect.identifier_preparer.quote
    if inspector.has_table(_counts.name):
        columns = {column["name"] for column in inspector.get_columns(_counts.name)}
        for old, new in _RENAMED_COLUMNS.items():
            if old in columns:
                database.execute(
                    sql.text(
                        f"ALTER TABLE {_counts.name} RENAME COLUMN {quote(old)} TO {quote(new)}"
                    )
                )
    if inspector.has_table(_OLD_BATCHES) and not inspector.has_table(_batches.name):
        database.execute(sql.text(f"ALTER TABLE {_OLD_BATCHES} RENAME TO {_batches.name}"))


def _create_engine(text: str) -> sql.Engine:
    try:
        url = sql.make_url(text)
        url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
        dialect = url.get_dialect()
        driver = url.get_driver_name()
        url, options = (
            _pg8000_options(url) if driver == "pg8000" else (url, _OPTIONS.get(driver, {}))
        )
        engine = sql.create_engine(
            url, poolclass=NullPool, hide_parameters=True, connect_args=dict(options)
        )
    except NoSuchModuleError:
        raise SettingsError(
            f"invalid counts database URL: SQLAlchemy does not know {text.partition(':')[0]!r}; "
            f"{_URL_HINT}"
        ) from None
    except (ArgumentError, ValueError):
        raise SettingsError(f"invalid counts database URL; {_URL_HINT}") from None
    except ImportError as error:
        raise SettingsError(f"counts database: driver is not installed: {error}") from None
    if dialect.is_async or not url.database:
        problem = "asynchronous driver" if dialect.is_async else "no database name"
        raise SettingsError(f"invalid counts database URL: {problem}; {_URL_HINT}")
    return engine


def _pg8000_options(url: sql.URL) -> tuple[sql.URL, dict[str, Any]]:
    """Translate `sslmode` and `sslrootcert`, which pg8000 does not know, to its options.

    They have the meaning that libpq gives them:
    https://www.postgresql.org/docs/current/libpq-ssl.html
    """
    parameters = dict(url.query)
    mode, root = str(parameters.pop("sslmode", "prefer")), parameters.pop("sslrootcert", None)
    if parameters or mode not in _SSL_MODES:
        unknown = f"sslmode={mode}" if mode not in _SSL_MODES else next(iter(parameters))
        raise SettingsError(
            f"invalid counts database URL: unknown parameter {unknown}; use "
            f"sslmode={'|'.join(_SSL_MODES)} and sslrootcert=FILE"
        )
    options: dict[str, Any] = {"timeout": REPLY_TIMEOUT_S, "application_name": "facestream"}
    if mode == "disable":
        options["ssl_context"] = False
    elif mode != "prefer":
        try:
            context = ssl.create_default_context(cafile=str(root) if root else None)
        except OSError as error:
            raise SettingsError(
                f"cannot read sslrootcert {root}: {error.strerror or error}"
            ) from None
        context.check_hostname = mode == "verify-full"
        if mode == "require" and root is None:
            context.verify_mode = ssl.CERT_NONE
        options["ssl_context"] = context
    return url.set(query={}), options


def _describe_error(error: Exception) -> str:
    """Return the cause in one line, without the SQL statement and without secrets."""
    cause = getattr(error, "orig", None) or error
    if isinstance(cause.__cause__, OSError):
        text = f"cannot reach the database: {cause.__cause__.strerror or cause.__cause__}"
    elif cause.args and isinstance(cause.args[0], dict):  # pg8000: PostgreSQL's error fields
        text = str(cause.args[0].get("M"))
    else:
        text = str(cause.args[-1] if cause.args else "")
    return redact(" ".join(text.split()) or type(cause).__name__)
