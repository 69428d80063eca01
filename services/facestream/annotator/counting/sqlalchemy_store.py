"""Counts in a database by URL: PostgreSQL, MariaDB, MySQL, or any other that SQLAlchemy speaks to.

The SQL is of the plainest kind, so that it is the same in all. A connection for each call: nothing
goes stale while nobody comes, and a database that came back, or elsewhere under the same name, is
simply used. With each batch its number is written in the same transaction, so one whose COMMIT was
not answered is not added twice.
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
    from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError
    from sqlalchemy.pool import NullPool
except ImportError:
    raise StartError(
        "counts by URL need SQLAlchemy and a driver: pip install -r requirements/database.txt"
    ) from None

from facestream.annotator.counting.count_store import AggregateQuery, CountBatch, CountKey

# For each answer, so that the service can end in time; for the drivers that we know.
DEADLINE_S = 5.0
# After a failure the same is answered at once for so long: a host that drops packets costs the
# whole deadline each time.
REST_S = 2.0
_DRIVERS = {
    "postgres": "postgresql+pg8000",
    "postgresql": "postgresql+pg8000",
    "mariadb": "mariadb+pymysql",
    "mysql": "mysql+pymysql",
}
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "pymysql": {
        "connect_timeout": DEADLINE_S,
        "read_timeout": DEADLINE_S,
        "write_timeout": DEADLINE_S,
    }
}
_SSL_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
_WRITE_IT = "write it as postgresql://user:password@host/name"

_tables = sql.MetaData()
_counts = sql.Table(
    "facestream_counts",
    _tables,
    sql.Column("minute", sql.BigInteger, primary_key=True, autoincrement=False),
    *(sql.Column(name, sql.String(32), primary_key=True) for name in CountKey._fields[1:]),
    sql.Column("number", sql.BigInteger, nullable=False),
)
_writers = sql.Table(
    "facestream_writers",
    _tables,
    sql.Column("writer", sql.String(32), primary_key=True),
    sql.Column("batch", sql.BigInteger, nullable=False),
    sql.Column("minute", sql.BigInteger, nullable=False),  # the latest that it counted in
)
_ADD = (
    sql.update(_counts)
    .where(*(_counts.c[name] == sql.bindparam(f"the_{name}") for name in CountKey._fields))
    .values(number=_counts.c.number + sql.bindparam("more"))
)


class SqlAlchemyCountStore:
    """Counts in a database; see `Ledger`. Its tables are made when it is first reached.

    Raises:
        SettingsError: the URL is none, or of a database whose driver is not installed.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._engine = _engine(url)
        self._writer = secrets.token_hex(16)  # this process among all that write there
        self._has_tables = False
        self._failure, self._rest_until_s = "", float("-inf")

    def add(self, batch: CountBatch) -> None:
        """See `Ledger`."""
        with self._transaction() as database:
            of_us = _writers.c.writer == self._writer
            last = database.execute(sql.select(_writers.c.batch).where(of_us)).scalar()
            if last == batch.number:
                return
            self._add(database, batch)
            now = {"batch": batch.number, "minute": max(key.minute for key in batch.counts)}
            if last is None:
                database.execute(sql.insert(_writers), {"writer": self._writer, **now})
            else:
                database.execute(sql.update(_writers).where(of_us), now)

    def _add(self, database: sql.Connection, batch: CountBatch) -> None:
        minutes = {key.minute for key in batch.counts}
        there = sql.select(*(_counts.c[name] for name in CountKey._fields))
        known = {
            CountKey(*row) for row in database.execute(there.where(_counts.c.minute.in_(minutes)))
        }
        # In order, so that two processes never wait for each other's rows.
        counts = sorted(batch.counts.items())
        new = [{**key._asdict(), "number": n} for key, n in counts if key not in known]
        more = [
            {"more": n, **{f"the_{name}": value for name, value in key._asdict().items()}}
            for key, n in counts
            if key in known
        ]
        if more:
            database.execute(_ADD, more)
        if new:
            database.execute(sql.insert(_counts), new)

    def aggregate(
        self, wanted: AggregateQuery, limit: int
    ) -> list[tuple[int, tuple[str, ...], int]]:
        """See `Ledger`."""
        minute = _counts.c.minute
        # Written out: as a parameter it would be another expression in each place for PostgreSQL.
        step_s = sql.bindparam("step_s", wanted.step_s, sql.BigInteger, literal_execute=True)
        at = minute - minute % step_s
        groups = [at, *(_counts.c[name] for name in wanted.columns if name in CountKey._fields)]
        query = sql.select(*groups, sql.func.sum(_counts.c.number)).where(
            minute >= wanted.since, minute < wanted.until, _counts.c.what == wanted.what
        )
        for column, value in ((_counts.c.camera, wanted.camera), (_counts.c.place, wanted.place)):
            if value is not None:
                query = query.where(column == value)
        query = query.group_by(*groups).order_by(*groups).limit(limit)
        with self._transaction() as database:
            rows = database.execute(query).fetchall()
        return [(int(row[0]), tuple(row[1:-1]), int(row[-1])) for row in rows]

    def delete_before(self, minute: int) -> int:
        """See `Ledger`."""
        with self._transaction() as database:
            database.execute(sql.delete(_writers).where(_writers.c.minute < minute))
            return database.execute(sql.delete(_counts).where(_counts.c.minute < minute)).rowcount

    def close(self) -> None:
        """Nothing is open between calls."""

    @contextmanager
    def _transaction(self) -> Iterator[sql.Connection]:
        with self._lock:
            if self._clock() < self._rest_until_s:
                raise CountStoreError(self._failure)
            try:
                with self._engine.begin() as database:
                    if not self._has_tables:
                        _tables.create_all(database)
                    yield database
                self._has_tables = True
            except Exception as error:  # drivers raise what they like
                self._has_tables = False
                self._failure = _reason(error)
                # Another process wrote the same key first: the next try finds it there.
                if not isinstance(error, IntegrityError):
                    self._rest_until_s = self._clock() + REST_S
                raise CountStoreError(self._failure) from None


def _engine(text: str) -> sql.Engine:
    try:
        url = sql.make_url(text)
        url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
        dialect = url.get_dialect()
        driver = url.get_driver_name()
        url, options = (
            _of_postgresql(url) if driver == "pg8000" else (url, _OPTIONS.get(driver, {}))
        )
        engine = sql.create_engine(
            url, poolclass=NullPool, hide_parameters=True, connect_args=dict(options)
        )
    except NoSuchModuleError:
        raise SettingsError(
            f"the URL of the counts: {text.partition(':')[0]!r} is no database that SQLAlchemy "
            f"knows; {_WRITE_IT}"
        ) from None
    except (ArgumentError, ValueError):
        raise SettingsError(f"the URL of the counts: not one of a database; {_WRITE_IT}") from None
    except ImportError as error:
        raise SettingsError(f"the URL of the counts: its driver is not here: {error}") from None
    if dialect.is_async or not url.database:
        what = "has an asynchronous driver" if dialect.is_async else "names no database"
        raise SettingsError(f"the URL of the counts: {what}; {_WRITE_IT}")
    return engine


def _of_postgresql(url: sql.URL) -> tuple[sql.URL, dict[str, Any]]:
    """The URL without `sslmode` and `sslrootcert`, which pg8000 does not know, and what they mean:
    as in PostgreSQL's own programs (https://www.postgresql.org/docs/current/libpq-ssl.html).
    """
    given = dict(url.query)
    mode, root = str(given.pop("sslmode", "prefer")), given.pop("sslrootcert", None)
    if given or mode not in _SSL_MODES:
        what = f"sslmode={mode}" if mode not in _SSL_MODES else next(iter(given))
        raise SettingsError(
            f"the URL of the counts: {what} is not known; sslmode={'|'.join(_SSL_MODES)} and "
            "sslrootcert=FILE are"
        )
    options: dict[str, Any] = {"timeout": DEADLINE_S, "application_name": "facestream"}
    if mode == "disable":
        options["ssl_context"] = False
    elif mode != "prefer":
        try:
            context = ssl.create_default_context(cafile=str(root) if root else None)
        except OSError as error:
            raise SettingsError(f"sslrootcert {root}: {error.strerror or error}") from None
        context.check_hostname = mode == "verify-full"
        if mode == "require" and root is None:
            context.verify_mode = ssl.CERT_NONE
        options["ssl_context"] = context
    return url.set(query={}), options


def _reason(error: Exception) -> str:
    """What went wrong in one line, without the statement and without secrets."""
    said = getattr(error, "orig", None) or error
    if isinstance(said.__cause__, OSError):
        text = f"the database does not answer: {said.__cause__.strerror or said.__cause__}"
    elif said.args and isinstance(said.args[0], dict):  # pg8000: the fields of PostgreSQL's answer
        text = str(said.args[0].get("M"))
    else:
        text = str(said.args[-1] if said.args else "")
    return redact(" ".join(text.split()) or type(said).__name__)
