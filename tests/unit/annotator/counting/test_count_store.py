"""Count stores: counts add up, survive a restart and expire; errors name their cause."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from facestream.annotator.counting import sqlalchemy_store
from facestream.annotator.counting.count_store import (
    AggregateQuery,
    CountBatch,
    CountKey,
    CountStore,
)
from facestream.annotator.counting.sqlalchemy_store import RETRY_AFTER_S, SqlAlchemyCountStore
from facestream.annotator.counting.sqlite_store import SqliteCountStore
from facestream.common.core.errors import CountStoreError, SettingsError, StartError
from sqlalchemy.engine.default import DefaultDialect

from tests.fixtures.count_stores import KINDS, Opener, opener
from tests.fixtures.databases import PASSWORD, Postgres

MINUTE = 1_700_000_040

_numbers = count(1)


@pytest.fixture(params=KINDS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return opener(request.param, tmp_path, request)


def key(
    minute: int = MINUTE, camera: str = "door", kind: str = "visit", region: str = ""
) -> CountKey:
    return CountKey(minute, camera, kind, region, "30-39", "female")


def query(*columns: str, step_s: int = 60, camera: str | None = None) -> AggregateQuery:
    return AggregateQuery(0, 2**33, "visit", camera, None, step_s, columns)


def put(store: CountStore, counts: Mapping[CountKey, int]) -> None:
    """Add the counts as a new batch."""
    store.add(CountBatch(next(_numbers), counts))


def test_counts_of_one_key_add_up_and_survive_a_restart(opened: Opener) -> None:
    store = opened()
    put(store, {key(): 2})
    store.close()
    store = opened()
    put(store, {key(): 3, key(camera="hall"): 1})
    assert store.aggregate(query("camera"), 10) == [
        (MINUTE, ("door",), 5),
        (MINUTE, ("hall",), 1),
    ]
    assert store.aggregate(query("camera"), 1) == [(MINUTE, ("door",), 5)]
    assert store.aggregate(query(camera="hall"), 10) == [(MINUTE, (), 1)]
    assert store.aggregate(query(), 10) == [(MINUTE, (), 6)]
    store.close()


def test_counts_of_two_processes_add_up(opened: Opener) -> None:
    one, other = opened(), opened()
    one.add(CountBatch(1, {key(): 1}))
    other.add(CountBatch(1, {key(): 1}))
    assert one.aggregate(query(), 10) == [(MINUTE, (), 2)]
    one.close()
    other.close()


def test_a_repeated_batch_is_added_once(opened: Opener) -> None:
    store = opened()
    store.add(CountBatch(1, {key(): 1}))
    store.add(CountBatch(1, {key(): 1}))
    store.add(CountBatch(2, {key(): 1}))
    assert store.aggregate(query(), 10) == [(MINUTE, (), 2)]
    store.close()


def test_kinds_and_regions_are_separate(opened: Opener) -> None:
    store = opened()
    line, shelf = (key(kind="enter", region=region) for region in ("line", "shelf"))
    put(store, {key(): 1, line: 2, shelf: 4})
    entered = AggregateQuery(0, 2**33, "enter", "door", "shelf", 2**40, ("region", "gender"))
    assert store.aggregate(entered, 10) == [(0, ("shelf", "female"), 4)]
    until = AggregateQuery(MINUTE - 60, MINUTE, "visit", None, None, 60, ())
    assert store.aggregate(until, 10) == []
    store.close()


def test_times_are_rounded_down_to_steps(opened: Opener) -> None:
    store = opened()
    put(store, {key(MINUTE + 60 * i): 1 for i in range(60)})
    found = store.aggregate(query(step_s=900), 10)
    assert sum(number for _, _, number in found) == 60
    assert all(time % 900 == 0 for time, _, _ in found)
    assert len(found) == 5
    store.close()


def test_old_counts_are_deleted(opened: Opener) -> None:
    store = opened()
    assert store.delete_before(MINUTE) == 0
    put(store, {key(): 1, key(MINUTE + 60): 1})
    assert store.delete_before(MINUTE + 60) == 1
    assert store.aggregate(query(), 10) == [(MINUTE + 60, (), 1)]
    store.close()


def test_a_failed_write_adds_nothing_and_the_next_one_does(tmp_path: Path) -> None:
    path = tmp_path / "counts.sqlite3"
    store = SqliteCountStore(path)
    assert store._connection is not None
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")  # a full disk, as SQLite sees it
    many = {key(MINUTE + 60 * i): 1 for i in range(2000)}
    with pytest.raises(CountStoreError, match="full"):
        put(store, many)
    assert store.aggregate(query(), 10) == []
    store._connection.execute("PRAGMA max_page_count = 100000")
    put(store, many)
    assert sum(number for _, _, number in store.aggregate(query(), 5000)) == 2000
    store.close()


# As facestream 0.1.0 created them.
SQLITE_0_1_0 = """
CREATE TABLE counts (
    minute INTEGER NOT NULL,
    camera TEXT NOT NULL,
    what TEXT NOT NULL,
    place TEXT NOT NULL,
    age_band TEXT NOT NULL,
    gender TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (minute, camera, what, place, age_band, gender)
) WITHOUT ROWID;
"""
SERVER_0_1_0 = (
    """
    CREATE TABLE facestream_counts (
        minute BIGINT NOT NULL,
        camera VARCHAR(32) NOT NULL,
        what VARCHAR(32) NOT NULL,
        place VARCHAR(32) NOT NULL,
        age_band VARCHAR(32) NOT NULL,
        gender VARCHAR(32) NOT NULL,
        number BIGINT NOT NULL,
        PRIMARY KEY (minute, camera, what, place, age_band, gender)
    )
    """,
    """
    CREATE TABLE facestream_writers (
        writer VARCHAR(32) NOT NULL,
        batch BIGINT NOT NULL,
        minute BIGINT NOT NULL,
        PRIMARY KEY (writer)
    )
    """,
    f"INSERT INTO facestream_counts VALUES ({MINUTE}, 'door', 'visit', '', '30-39', 'female', 5)",
    f"INSERT INTO facestream_counts VALUES ({MINUTE}, 'door', 'enter', 'a', '30-39', 'female', 7)",
    f"INSERT INTO facestream_writers VALUES ('{'0' * 32}', 3, {MINUTE})",
)


def file_of_0_1_0(path: Path, version: int = 1) -> None:
    file = sqlite3.connect(path)
    file.execute("PRAGMA journal_mode = WAL")
    file.executescript(SQLITE_0_1_0)
    row = (MINUTE, "door", "visit", "", "30-39", "female", 5)
    with file:
        file.execute("INSERT INTO counts VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        file.execute(f"PRAGMA user_version = {version}")
    file.close()


@pytest.mark.parametrize("version", [1, 0])  # 0: killed before the file had its version
def test_a_file_of_0_1_0_is_migrated_once_and_keeps_its_counts(
    tmp_path: Path, version: int
) -> None:
    path = tmp_path / "counts.sqlite3"
    file_of_0_1_0(path, version)
    for total in (6, 7):
        store = SqliteCountStore(path)
        put(store, {key(): 1})
        assert store.aggregate(query("camera"), 10) == [(MINUTE, ("door",), total)]
        store.close()
    file = sqlite3.connect(path)
    assert file.execute("PRAGMA user_version").fetchone() == (2,)
    assert [row[1] for row in file.execute("PRAGMA table_info(counts)")] == [
        *CountKey._fields,
        "count",
    ]
    file.close()


def test_a_failed_migration_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "counts.sqlite3"
    file_of_0_1_0(path)
    file = sqlite3.connect(path)
    file.execute("ALTER TABLE counts ADD COLUMN count INTEGER")  # in the way of the new name
    file.close()
    store = SqliteCountStore(path)
    with pytest.raises(CountStoreError, match=r"cannot open counts file .*duplicate column name"):
        put(store, {key(): 1})
    store.close()
    file = sqlite3.connect(path)
    assert file.execute("SELECT what, place, number FROM counts").fetchall() == [("visit", "", 5)]
    assert file.execute("PRAGMA user_version").fetchone() == (1,)
    file.close()


def corrupt_copies(folder: Path) -> list[Path]:
    """Return the damaged files without their write-ahead logs."""
    files = folder.glob("counts.sqlite3.corrupt-*")
    return sorted(file for file in files if not file.name.endswith(("-wal", "-shm")))


def test_a_damaged_file_of_0_1_0_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "counts.sqlite3"
    file_of_0_1_0(path)
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * (4096 - 100)  # the page that holds the schema
    path.write_bytes(content)
    store = SqliteCountStore(path)
    put(store, {key(): 1})
    assert store.aggregate(query(), 10) == [(MINUTE, (), 1)]
    (copy,) = corrupt_copies(tmp_path)
    assert copy.read_bytes() == content
    assert store.corrupt_copy == copy.name
    store.close()


def test_a_file_damaged_while_open_is_put_aside_and_the_batch_is_added_later(
    tmp_path: Path,
) -> None:
    path = tmp_path / "counts.sqlite3"
    store = SqliteCountStore(path)
    put(store, {key(MINUTE + 60 * i): 1 for i in range(2000)})
    store.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)  # the pages of the table
    path.write_bytes(content)
    store = SqliteCountStore(path)  # reads only the first page
    batch = CountBatch(next(_numbers), {key(): 1})
    with pytest.raises(CountStoreError, match="damaged"):
        store.add(batch)
    store.add(batch)
    assert store.aggregate(query(), 10) == [(MINUTE, (), 1)]
    (copy,) = corrupt_copies(tmp_path)
    assert len(copy.read_bytes()) == len(content)
    store.close()


def assert_migrated(execute: Callable[[str], object], url: str) -> None:
    """The tables of 0.1.0 are there; both stores add to them, whichever comes first."""
    for statement in SERVER_0_1_0:
        execute(statement)
    for total in (6, 7):
        store = SqlAlchemyCountStore(url)
        store.add(CountBatch(1, {key(): 1}))
        assert store.aggregate(query("camera"), 10) == [(MINUTE, ("door",), total)]
    entered = AggregateQuery(0, 2**33, "enter", None, "a", 60, ())
    assert store.aggregate(entered, 10) == [(MINUTE, (), 7)]
    assert store.delete_before(MINUTE + 60) == 2


def test_tables_of_0_1_0_are_migrated_by_sqlalchemy(tmp_path: Path) -> None:
    path = tmp_path / "counts.sqlite3"
    file = sqlite3.connect(path, isolation_level=None)
    assert_migrated(file.execute, f"sqlite+pysqlite:///{path}")
    tables = {row[0] for row in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {"facestream_counts", "facestream_batches"}
    file.close()


def test_tables_of_0_1_0_are_migrated_in_postgresql(database: Postgres) -> None:
    assert_migrated(database.execute, database.url)


def test_a_half_migrated_database_is_completed(tmp_path: Path) -> None:
    """MySQL commits after every ALTER TABLE, so a migration may stop between two of them."""
    path = tmp_path / "counts.sqlite3"
    file = sqlite3.connect(path, isolation_level=None)
    for statement in (
        *SERVER_0_1_0,
        "ALTER TABLE facestream_counts RENAME COLUMN what TO kind",
    ):
        file.execute(statement)
    store = SqlAlchemyCountStore(f"sqlite+pysqlite:///{path}")
    assert store.aggregate(query(), 10) == [(MINUTE, (), 5)]
    file.close()


def test_files_of_another_format_are_put_aside_and_none_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "counts.sqlite3"
    texts = {f"Dear diary {number}, " * 100 for number in range(3)}
    for text in texts:
        path.write_text(text)
        store = SqliteCountStore(path)
        put(store, {key(): 1})
        store.close()
    assert {copy.read_text() for copy in corrupt_copies(tmp_path)} == texts


def test_a_file_of_a_later_version_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "counts.sqlite3"
    SqliteCountStore(path).close()
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 7")
    file.close()
    with pytest.raises(StartError, match=r"later version of facestream \(format 7\)"):
        SqliteCountStore(path)


def test_a_file_that_cannot_be_opened_at_start_is_opened_later(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = SqliteCountStore(tmp_path / "file" / "counts.sqlite3")
    for _ in range(2):
        with pytest.raises(CountStoreError, match=r"cannot open counts file .*: File exists"):
            put(store, {key(): 1})
    (tmp_path / "file").unlink()
    put(store, {key(): 1})
    assert store.aggregate(query(), 10) == [(MINUTE, (), 1)]
    store.close()


def test_a_full_disk_at_start_is_no_error_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def connect_full(*args: Any, **options: Any) -> sqlite3.Connection:
        file = connect(*args, **options)
        file.execute("PRAGMA max_page_count = 1")  # a full disk, as SQLite sees it
        return file

    monkeypatch.setattr(sqlite3, "connect", connect_full)
    store = SqliteCountStore(tmp_path / "counts.sqlite3")
    with pytest.raises(CountStoreError, match=r"cannot open counts file .*full"):
        put(store, {key(): 1})
    monkeypatch.undo()
    put(store, {key(): 1})
    assert store.aggregate(query(), 10) == [(MINUTE, (), 1)]
    assert store.corrupt_copy is None
    store.close()


def test_a_database_recovers_from_a_hang_and_a_restart(
    database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch without a reply is written once; calls meanwhile fail at once."""
    monkeypatch.setattr(sqlalchemy_store, "REPLY_TIMEOUT_S", 0.5)
    now_s = 0.0
    store = SqlAlchemyCountStore(database.url, clock=lambda: now_s)
    store.add(CountBatch(1, {key(): 1}))
    database.hang()
    with pytest.raises(CountStoreError, match="timed out"):
        store.add(CountBatch(2, {key(): 1}))
    monkeypatch.setattr(store, "_engine", None)  # no connection is tried before the retry
    with pytest.raises(CountStoreError, match="timed out"):
        store.add(CountBatch(2, {key(): 1}))
    monkeypatch.undo()
    database.stop()
    now_s += RETRY_AFTER_S
    with pytest.raises(CountStoreError, match="cannot reach the database: Connection refused"):
        store.aggregate(query(), 10)
    database.start()
    with pytest.raises(CountStoreError, match="refused"):
        store.aggregate(query(), 10)
    now_s += RETRY_AFTER_S
    store.add(CountBatch(2, {key(): 1}))
    assert store.aggregate(query(), 10) == [(MINUTE, (), 2)]


def test_a_batch_with_a_lost_commit_reply_is_added_once(
    database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit: Any = DefaultDialect.do_commit

    def cut_off(self: DefaultDialect, connection: Any) -> None:
        monkeypatch.undo()
        commit(self, connection)
        raise TimeoutError("the reply is lost")

    now_s = 0.0
    store = SqlAlchemyCountStore(database.url, clock=lambda: now_s)
    store.add(CountBatch(1, {key(): 1}))
    monkeypatch.setattr(DefaultDialect, "do_commit", cut_off)
    with pytest.raises(CountStoreError, match="the reply is lost"):
        store.add(CountBatch(2, {key(): 1}))
    now_s += RETRY_AFTER_S
    store.add(CountBatch(2, {key(): 1}))
    assert store.aggregate(query(), 10) == [(MINUTE, (), 2)]


def test_concurrent_writers_of_one_key_lose_nothing(database: Postgres) -> None:
    """The second writer of a new key fails, and adds to it at the next attempt."""
    refused: list[str] = []

    def write() -> None:
        store = SqlAlchemyCountStore(database.url)
        for number in range(1, 5):
            batch = CountBatch(number, {key(MINUTE + 60 * number): 1, key(camera=f"c{number}"): 1})
            for _ in range(5):
                try:
                    store.add(batch)
                    break
                except CountStoreError as error:
                    refused.append(str(error))

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert all("duplicate key" in reason for reason in refused), refused
    found = SqlAlchemyCountStore(database.url).aggregate(query(step_s=2**40), 10)
    assert found == [(0, (), 24)]


def test_dropped_tables_are_created_again(database: Postgres) -> None:
    now_s = 0.0
    store = SqlAlchemyCountStore(database.url, clock=lambda: now_s)
    store.add(CountBatch(1, {key(): 1}))
    database.empty()
    with pytest.raises(CountStoreError, match="does not exist"):
        store.add(CountBatch(2, {key(): 1}))
    now_s += RETRY_AFTER_S
    store.add(CountBatch(2, {key(): 1}))
    assert store.aggregate(query(), 10) == [(MINUTE, (), 1)]


def test_a_wrong_password_is_reported_without_it(database: Postgres) -> None:
    url = database.url.replace(quote(PASSWORD, safe=""), "geheim99")
    with pytest.raises(CountStoreError) as caught:
        SqlAlchemyCountStore(url).delete_before(0)
    assert str(caught.value) == 'password authentication failed for user "counter"'


def test_sslmode_decides_whether_the_certificate_is_verified(
    database: Postgres, tmp_path: Path
) -> None:
    for mode in ("disable", "prefer", "require"):
        SqlAlchemyCountStore(f"{database.url}?sslmode={mode}").delete_before(0)
    SqlAlchemyCountStore(
        f"{database.url}?sslmode=verify-full&sslrootcert={database.ca}"
    ).delete_before(0)
    with pytest.raises(CountStoreError, match="certificate verify failed"):
        SqlAlchemyCountStore(f"{database.url}?sslmode=verify-full").delete_before(0)
    elsewhere = database.url.replace("127.0.0.1", "127.0.0.2")
    with pytest.raises(CountStoreError, match="cannot reach the database"):
        SqlAlchemyCountStore(
            f"{elsewhere}?sslmode=verify-full&sslrootcert={database.ca}"
        ).delete_before(0)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("counts", "invalid counts database URL; write it as postgresql://"),
        ("postgresql://u:geheim99@h:port/x", "invalid counts database URL"),
        ("gopher://u:geheim99@h/x", "SQLAlchemy does not know 'gopher'"),
        ("oracle://u:geheim99@h/x", "driver is not installed: No module named"),
        ("postgresql://u:geheim99@h", "no database name"),
        ("postgresql://u:geheim99@h/x?sslmode=maybe", "unknown parameter sslmode=maybe"),
        ("postgresql://u:geheim99@h/x?sslmod=require", "unknown parameter sslmod;"),
        ("postgresql://u:geheim99@h/x?sslmode=require&sslrootcert=/none", "/none: No such file"),
    ],
)
def test_an_invalid_url_is_rejected_without_its_password(url: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        SqlAlchemyCountStore(url)
    assert message in str(caught.value)
    assert "geheim99" not in str(caught.value)
