"""Where counts are kept: each adds up, survives, forgets, and says what is wrong with it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping
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
from facestream.annotator.counting.sqlalchemy_store import REST_S, SqlAlchemyCountStore
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
    minute: int = MINUTE, camera: str = "door", what: str = "visit", place: str = ""
) -> CountKey:
    return CountKey(minute, camera, what, place, "30-39", "female")


def wanted(*columns: str, step_s: int = 60, camera: str | None = None) -> AggregateQuery:
    return AggregateQuery(0, 2**33, "visit", camera, None, step_s, columns)


def put(ledger: CountStore, counts: Mapping[CountKey, int]) -> None:
    """As a new batch."""
    ledger.add(CountBatch(next(_numbers), counts))


def test_what_is_added_twice_is_added_up_and_survives(opened: Opener) -> None:
    ledger = opened()
    put(ledger, {key(): 2})
    ledger.close()
    ledger = opened()
    put(ledger, {key(): 3, key(camera="hall"): 1})
    assert ledger.aggregate(wanted("camera"), 10) == [
        (MINUTE, ("door",), 5),
        (MINUTE, ("hall",), 1),
    ]
    assert ledger.aggregate(wanted("camera"), 1) == [(MINUTE, ("door",), 5)]
    assert ledger.aggregate(wanted(camera="hall"), 10) == [(MINUTE, (), 1)]
    assert ledger.aggregate(wanted(), 10) == [(MINUTE, (), 6)]
    ledger.close()


def test_two_processes_may_write_to_one_ledger(opened: Opener) -> None:
    one, other = opened(), opened()
    one.add(CountBatch(1, {key(): 1}))
    other.add(CountBatch(1, {key(): 1}))
    assert one.aggregate(wanted(), 10) == [(MINUTE, (), 2)]
    one.close()
    other.close()


def test_a_batch_that_is_given_again_is_not_added_again(opened: Opener) -> None:
    ledger = opened()
    ledger.add(CountBatch(1, {key(): 1}))
    ledger.add(CountBatch(1, {key(): 1}))
    ledger.add(CountBatch(2, {key(): 1}))
    assert ledger.aggregate(wanted(), 10) == [(MINUTE, (), 2)]
    ledger.close()


def test_kinds_and_places_are_told_apart(opened: Opener) -> None:
    ledger = opened()
    put(ledger, {key(): 1, key(what="enter", place="line"): 2, key(what="enter", place="shelf"): 4})
    entered = AggregateQuery(0, 2**33, "enter", "door", "shelf", 2**40, ("place", "gender"))
    assert ledger.aggregate(entered, 10) == [(0, ("shelf", "female"), 4)]
    until = AggregateQuery(MINUTE - 60, MINUTE, "visit", None, None, 60, ())
    assert ledger.aggregate(until, 10) == []
    ledger.close()


def test_times_are_cut_to_steps(opened: Opener) -> None:
    ledger = opened()
    put(ledger, {key(MINUTE + 60 * i): 1 for i in range(60)})
    found = ledger.aggregate(wanted(step_s=900), 10)
    assert sum(number for _, _, number in found) == 60
    assert all(time % 900 == 0 for time, _, _ in found)
    assert len(found) == 5
    ledger.close()


def test_what_is_old_is_deleted(opened: Opener) -> None:
    ledger = opened()
    assert ledger.delete_before(MINUTE) == 0
    put(ledger, {key(): 1, key(MINUTE + 60): 1})
    assert ledger.delete_before(MINUTE + 60) == 1
    assert ledger.aggregate(wanted(), 10) == [(MINUTE + 60, (), 1)]
    ledger.close()


def test_a_failed_write_adds_nothing_and_the_next_one_does(tmp_path: Path) -> None:
    path = tmp_path / "counts.sqlite3"
    ledger = SqliteCountStore(path)
    pages = ledger._file.execute("PRAGMA page_count").fetchone()[0]
    ledger._file.execute(f"PRAGMA max_page_count = {pages}")  # a full disk, as SQLite sees it
    many = {key(MINUTE + 60 * i): 1 for i in range(2000)}
    with pytest.raises(CountStoreError, match="full"):
        put(ledger, many)
    assert ledger.aggregate(wanted(), 10) == []
    ledger._file.execute("PRAGMA max_page_count = 100000")
    put(ledger, many)
    assert sum(number for _, _, number in ledger.aggregate(wanted(), 5000)) == 2000
    ledger.close()


def test_a_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "counts.sqlite3"
    path.write_text("Dear diary, " * 100)
    with pytest.raises(StartError, match=r"counts\.sqlite3: cannot keep counts: file is not"):
        SqliteCountStore(path)


def test_counts_of_a_later_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "counts.sqlite3"
    SqliteCountStore(path).close()
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 7")
    file.close()
    with pytest.raises(StartError, match=r"another version \(7\)"):
        SqliteCountStore(path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot keep counts"):
        SqliteCountStore(tmp_path / "file" / "counts.sqlite3")


def test_a_database_may_hang_end_and_come_back(
    database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not answered is written once, and a look meanwhile costs the deadline only once."""
    monkeypatch.setattr(sqlalchemy_store, "DEADLINE_S", 0.5)
    now_s = 0.0
    ledger = SqlAlchemyCountStore(database.url, clock=lambda: now_s)
    ledger.add(CountBatch(1, {key(): 1}))
    database.hang()
    with pytest.raises(CountStoreError, match="timed out"):
        ledger.add(CountBatch(2, {key(): 1}))
    monkeypatch.setattr(ledger, "_engine", None)  # nothing is asked while it rests
    with pytest.raises(CountStoreError, match="timed out"):
        ledger.add(CountBatch(2, {key(): 1}))
    monkeypatch.undo()
    database.stop()
    now_s += REST_S
    with pytest.raises(CountStoreError, match="does not answer: Connection refused"):
        ledger.aggregate(wanted(), 10)
    database.start()
    with pytest.raises(CountStoreError, match="refused"):
        ledger.aggregate(wanted(), 10)
    now_s += REST_S
    ledger.add(CountBatch(2, {key(): 1}))
    assert ledger.aggregate(wanted(), 10) == [(MINUTE, (), 2)]


def test_a_batch_whose_commit_was_not_answered_is_added_once(
    database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit: Any = DefaultDialect.do_commit

    def cut_off(self: DefaultDialect, connection: Any) -> None:
        monkeypatch.undo()
        commit(self, connection)
        raise TimeoutError("the reply is lost")

    now_s = 0.0
    ledger = SqlAlchemyCountStore(database.url, clock=lambda: now_s)
    ledger.add(CountBatch(1, {key(): 1}))
    monkeypatch.setattr(DefaultDialect, "do_commit", cut_off)
    with pytest.raises(CountStoreError, match="the reply is lost"):
        ledger.add(CountBatch(2, {key(): 1}))
    now_s += REST_S
    ledger.add(CountBatch(2, {key(): 1}))
    assert ledger.aggregate(wanted(), 10) == [(MINUTE, (), 2)]


def test_processes_that_write_the_same_at_once_lose_nothing(database: Postgres) -> None:
    """Who comes second to a new number is refused, and adds to it at the next try."""
    refused: list[str] = []

    def write() -> None:
        ledger = SqlAlchemyCountStore(database.url)
        for number in range(1, 5):
            batch = CountBatch(number, {key(MINUTE + 60 * number): 1, key(camera=f"c{number}"): 1})
            for _ in range(5):
                try:
                    ledger.add(batch)
                    break
                except CountStoreError as error:
                    refused.append(str(error))

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert all("duplicate key" in reason for reason in refused)
    found = SqlAlchemyCountStore(database.url).aggregate(wanted(step_s=2**40), 10)
    assert found == [(0, (), 24)]


def test_tables_that_were_dropped_are_made_again(database: Postgres) -> None:
    now_s = 0.0
    ledger = SqlAlchemyCountStore(database.url, clock=lambda: now_s)
    ledger.add(CountBatch(1, {key(): 1}))
    database.empty()
    with pytest.raises(CountStoreError, match="does not exist"):
        ledger.add(CountBatch(2, {key(): 1}))
    now_s += REST_S
    ledger.add(CountBatch(2, {key(): 1}))
    assert ledger.aggregate(wanted(), 10) == [(MINUTE, (), 1)]


def test_a_wrong_password_is_told_without_it(database: Postgres) -> None:
    url = database.url.replace(quote(PASSWORD, safe=""), "geheim99")
    with pytest.raises(CountStoreError) as told:
        SqlAlchemyCountStore(url).delete_before(0)
    assert str(told.value) == 'password authentication failed for user "counter"'


def test_the_servers_certificate_is_checked_where_it_is_asked_for(
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
    with pytest.raises(CountStoreError, match="does not answer"):  # it listens on 127.0.0.1 alone
        SqlAlchemyCountStore(
            f"{elsewhere}?sslmode=verify-full&sslrootcert={database.ca}"
        ).delete_before(0)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("counts", "not one of a database; write it as postgresql://"),
        ("postgresql://u:geheim99@h:port/x", "not one of a database"),
        ("gopher://u:geheim99@h/x", "'gopher' is no database that SQLAlchemy knows"),
        ("oracle://u:geheim99@h/x", "its driver is not here: No module named"),
        ("postgresql://u:geheim99@h", "names no database"),
        ("postgresql://u:geheim99@h/x?sslmode=maybe", "sslmode=maybe is not known"),
        ("postgresql://u:geheim99@h/x?sslmod=require", "sslmod is not known"),
        ("postgresql://u:geheim99@h/x?sslmode=require&sslrootcert=/none", "/none: No such file"),
    ],
)
def test_what_is_no_url_of_a_database_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(SettingsError) as told:
        SqlAlchemyCountStore(url)
    assert said in str(told.value)
    assert "geheim99" not in str(told.value)
