"""The file of counts: adds up, survives, forgets, and says what is wrong with it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from services.annotator.counting.ledger import Key, Ledger, Wanted
from services.common.errors import StartError

MINUTE = 1_700_000_040


def key(minute: int = MINUTE, camera: str = "door", what: str = "visit", place: str = "") -> Key:
    return Key(minute, camera, what, place, "30-39", "female")


def wanted(*columns: str, step_s: int = 60, camera: str | None = None) -> Wanted:
    return Wanted(0, 2**33, "visit", camera, None, step_s, columns)


def test_what_is_added_twice_is_added_up_and_survives(tmp_path: Path) -> None:
    path = tmp_path / "new" / "counts.sqlite3"
    ledger = Ledger(path)
    ledger.add({key(): 2})
    ledger.close()
    ledger = Ledger(path)
    ledger.add({key(): 3, key(camera="hall"): 1})
    assert ledger.sums(wanted("camera"), 10) == [(MINUTE, ("door",), 5), (MINUTE, ("hall",), 1)]
    assert ledger.sums(wanted(camera="hall"), 10) == [(MINUTE, (), 1)]
    assert ledger.sums(wanted(), 10) == [(MINUTE, (), 6)]
    ledger.close()


def test_two_processes_may_write_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "counts.sqlite3"
    one, other = Ledger(path), Ledger(path)
    one.add({key(): 1})
    other.add({key(): 1})
    assert one.sums(wanted(), 10) == [(MINUTE, (), 2)]
    one.close()
    other.close()


def test_times_are_cut_to_steps() -> None:
    ledger = Ledger(None)
    ledger.add({key(MINUTE + 60 * i): 1 for i in range(60)})
    found = ledger.sums(wanted(step_s=900), 10)
    assert sum(number for _, _, number in found) == 60
    assert all(time % 900 == 0 for time, _, _ in found)
    assert len(found) == 5


def test_what_is_old_is_deleted() -> None:
    ledger = Ledger(None)
    ledger.add({key(): 1, key(MINUTE + 60): 1})
    assert ledger.forget_before(MINUTE + 60) == 1
    assert ledger.sums(wanted(), 10) == [(MINUTE + 60, (), 1)]


def test_a_failed_write_adds_nothing_and_the_next_one_does(tmp_path: Path) -> None:
    path = tmp_path / "counts.sqlite3"
    ledger = Ledger(path)
    pages = ledger._file.execute("PRAGMA page_count").fetchone()[0]
    ledger._file.execute(f"PRAGMA max_page_count = {pages}")  # a full disk, as SQLite sees it
    many = {key(MINUTE + 60 * i): 1 for i in range(2000)}
    with pytest.raises(sqlite3.Error, match="full"):
        ledger.add(many)
    assert ledger.sums(wanted(), 10) == []
    ledger._file.execute("PRAGMA max_page_count = 100000")
    ledger.add(many)
    assert sum(number for _, _, number in ledger.sums(wanted(), 5000)) == 2000
    ledger.close()


def test_a_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "counts.sqlite3"
    path.write_text("Dear diary, " * 100)
    with pytest.raises(StartError, match=r"counts\.sqlite3: cannot keep counts: file is not"):
        Ledger(path)


def test_counts_of_a_later_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "counts.sqlite3"
    Ledger(path).close()
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 7")
    file.close()
    with pytest.raises(StartError, match=r"another version \(7\)"):
        Ledger(path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="cannot keep counts"):
        Ledger(tmp_path / "file" / "counts.sqlite3")
