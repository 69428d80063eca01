"""Questions to the counts: what is understood, what is refused, and what comes out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from facestream.annotator.counting import stats_query
from facestream.annotator.counting.count_store import CountBatch, CountKey, CountStore
from facestream.annotator.counting.sqlite_store import SqliteCountStore

from tests.fixtures.count_stores import KINDS, opener

BERLIN = "Europe/Berlin"
NOW = datetime(2025, 6, 15, 18, 30, tzinfo=ZoneInfo(BERLIN)).timestamp()


def ask(
    *by: str, since: str | None = None, until: str | None = None, **more: Any
) -> stats_query.StatsQuery:
    return stats_query.parse_query(since, until, by, tz=more.pop("tz", BERLIN), now=NOW, **more)


def at(*when: int) -> int:
    return int(datetime(*when, tzinfo=ZoneInfo(BERLIN)).timestamp())  # type: ignore[misc,arg-type]


@pytest.fixture(scope="module", params=KINDS)
def ledger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CountStore:
    """Asked by many, changed by none."""
    made = opener(request.param, tmp_path_factory.mktemp("ledger"), request)()
    made.add(
        CountBatch(
            1,
            {
                CountKey(at(2025, 6, 14, 23, 59), "door", "visit", "", "70+", "male"): 100,
                CountKey(at(2025, 6, 15, 0, 0), "door", "visit", "", "30-39", "female"): 1,
                CountKey(at(2025, 6, 15, 9, 14), "door", "visit", "", "30-39", "male"): 2,
                CountKey(at(2025, 6, 15, 9, 46), "hall", "visit", "", "unknown", "unknown"): 4,
                CountKey(at(2025, 6, 15, 9, 46), "hall", "enter", "till", "30-39", "male"): 8,
                CountKey(at(2025, 6, 15, 9, 47), "hall", "leave", "till", "30-39", "male"): 16,
                CountKey(at(2025, 6, 15, 18, 30), "hall", "visit", "", "30-39", "female"): 32,
            },
        )
    )
    return made


def test_without_anything_asked_it_is_the_number_of_people_of_today(ledger: CountStore) -> None:
    assert stats_query.run_query(ask(), ledger.aggregate) == [{"count": 39}]


def test_nobody_is_a_number_too(ledger: CountStore) -> None:
    assert stats_query.run_query(ask(since="2024-01-01", until="2024-02-01"), ledger.aggregate) == [
        {"count": 0}
    ]


def test_by_two_columns_in_the_order_that_was_asked(ledger: CountStore) -> None:
    rows = stats_query.run_query(ask("gender,age_band"), ledger.aggregate)
    assert rows == [
        {"gender": "female", "age_band": "30-39", "count": 33},
        {"gender": "male", "age_band": "30-39", "count": 2},
        {"gender": "unknown", "age_band": "unknown", "count": 4},
    ]


def test_by_hour_and_by_day_of_the_zone(ledger: CountStore) -> None:
    rows = stats_query.run_query(ask("hour", since="2025-06-14"), ledger.aggregate)
    assert rows == [
        {"hour": "2025-06-14T23:00+02:00", "count": 100},
        {"hour": "2025-06-15T00:00+02:00", "count": 1},
        {"hour": "2025-06-15T09:00+02:00", "count": 6},
        {"hour": "2025-06-15T18:00+02:00", "count": 32},
    ]
    rows = stats_query.run_query(ask("day", since="2025-06-14"), ledger.aggregate)
    assert rows == [{"day": "2025-06-14", "count": 100}, {"day": "2025-06-15", "count": 39}]
    rows = stats_query.run_query(
        ask("day", since="2025-06-14", tz="Asia/Kathmandu"), ledger.aggregate
    )
    assert rows == [{"day": "2025-06-15", "count": 139}]


def test_the_day_on_which_clocks_are_set_back_has_25_hours() -> None:
    ledger = SqliteCountStore(None)
    first = at(2025, 10, 26, 0, 0)
    ledger.add(
        CountBatch(
            1,
            {CountKey(first + 3600 * i, "door", "visit", "", "70+", "male"): 1 for i in range(25)},
        )
    )
    wanted = ask("day", since="2025-10-26", until="2025-10-27")
    assert stats_query.run_query(wanted, ledger.aggregate) == [{"day": "2025-10-26", "count": 25}]
    hours = stats_query.run_query(
        ask("hour", since="2025-10-26", until="2025-10-27"), ledger.aggregate
    )
    assert len(hours) == 25


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", BERLIN)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


# 26 October 2025 at 1:30 UTC it is 2:30 in Berlin, for the second time.
SECOND_TIME = datetime(2025, 10, 26, 1, 30, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("tz", [BERLIN, None])
def test_until_now_ends_now_in_the_hour_that_comes_twice(tz: str | None, in_berlin: None) -> None:
    asked = stats_query.parse_query(None, None, (), tz=tz, now=SECOND_TIME)
    assert asked.until.timestamp() == SECOND_TIME + 60


def test_a_period_may_lie_across_the_moment_at_which_the_hour_comes_again() -> None:
    before, after = "2025-10-26T00:50:00Z", "2025-10-26T01:10:00Z"  # 2:50 and 2:10 in Berlin
    asked = stats_query.parse_query(before, after, (), tz=BERLIN, now=SECOND_TIME)
    assert asked.until.timestamp() - asked.since.timestamp() == 20 * 60
    with pytest.raises(ValueError, match="before"):
        stats_query.parse_query(after, before, (), tz=BERLIN, now=SECOND_TIME)


@pytest.mark.parametrize("tz", [BERLIN, None])
def test_the_hours_that_have_one_name_are_two(tz: str | None, in_berlin: None) -> None:
    asked = stats_query.parse_query(
        "2025-10-26", "2025-10-27", ("hour",), tz=tz, now=SECOND_TIME
    )
    sums: stats_query.Rows = [(int(SECOND_TIME) - 3600, (), 1), (int(SECOND_TIME), (), 2)]
    assert [row["hour"] for row in stats_query.run_query(asked, lambda wanted, most: sums)] == [
        "2025-10-26T02:00+01:00",
        "2025-10-26T02:00+02:00",
    ]


def test_crossings_by_place_and_camera(ledger: CountStore) -> None:
    rows = stats_query.run_query(ask("camera", "region", kind="enter"), ledger.aggregate)
    assert rows == [{"camera": "hall", "region": "till", "count": 8}]
    assert stats_query.run_query(ask(kind="leave", region="till"), ledger.aggregate) == [
        {"count": 16}
    ]
    assert stats_query.run_query(ask(camera="door"), ledger.aggregate) == [{"count": 3}]


def test_two_periods_that_meet_share_no_minute(ledger: CountStore) -> None:
    middle = "2025-06-15T09:46:30"
    before = stats_query.run_query(ask(since="2025-06-15", until=middle), ledger.aggregate)
    after = stats_query.run_query(ask(since=middle), ledger.aggregate)
    assert (before, after) == ([{"count": 7}], [{"count": 32}])


@pytest.mark.parametrize(
    "text",
    [
        "2025-06-15",
        "20250615",
        "2025-06-15T00:00",
        "2025-06-14T22:00Z",
        "2025-06-14T22:00:00+00:00",
        "2025-06-14T22:00:00 00:00",
        str(at(2025, 6, 15)),
    ],
)
def test_a_moment_may_be_written_in_many_ways(text: str, ledger: CountStore) -> None:
    assert stats_query.run_query(ask(since=text), ledger.aggregate) == [{"count": 39}]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"since": "yesterday"}, "from: write it as"),
        ({"since": "2025-13-01"}, "from: write it as"),
        ({"until": "nan"}, "to: write it as"),
        ({"since": "999999999999"}, "from: write it as"),
        ({"since": "0001-01-01T00:00+14:00"}, "from: write it as"),
        ({"until": "9999-12-31T23:59-14:00"}, "to: write it as"),
        ({"since": "2025-06-16"}, "must lie before"),
        ({"since": "1970-01-01"}, "3700 days"),
        ({"tz": "Mars/Olympus"}, "unknown time zone"),
        ({"tz": "../../etc/passwd"}, "unknown time zone"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, str], says: str) -> None:
    with pytest.raises(stats_query.InvalidQuery, match=says):
        ask(**wrong)


@pytest.mark.parametrize("by", ["name", "hour,day", "gender; DROP TABLE counts"])
def test_columns_that_do_not_exist_are_refused(by: str) -> None:
    with pytest.raises(stats_query.InvalidQuery, match=r"^by: "):
        ask(by)


def test_too_many_rows_are_refused_rather_than_cut_off() -> None:
    ledger = SqliteCountStore(None)
    first = at(2025, 6, 1)
    ledger.add(
        CountBatch(
            1,
            {
                CountKey(first + 60 * i, "door", "visit", "", "70+", "male"): 1
                for i in range(stats_query.MAX_ROWS)
            },
        )
    )
    assert (
        len(stats_query.run_query(ask("minute", since="2025-06-01"), ledger.aggregate))
        == stats_query.MAX_ROWS
    )
    ledger.add(
        CountBatch(2, {CountKey(at(2025, 6, 15, 12), "door", "visit", "", "70+", "male"): 1})
    )
    with pytest.raises(stats_query.InvalidQuery, match="shorter period"):
        stats_query.run_query(ask("minute", since="2025-06-01"), ledger.aggregate)


def test_without_a_zone_days_are_this_machines() -> None:
    wanted = stats_query.parse_query(None, None, [], tz=None, now=NOW)
    local = datetime.fromtimestamp(NOW).replace(hour=0, minute=0).astimezone()
    assert wanted.since.timestamp() == local.timestamp()


def test_today_begins_at_its_first_minute(ledger: CountStore) -> None:
    asked = stats_query.parse_query(None, None, [], tz=BERLIN, now=NOW + 0.4)
    assert stats_query.run_query(asked, ledger.aggregate) == [{"count": 39}]


def test_csv_has_a_line_of_names(ledger: CountStore) -> None:
    wanted = ask("age_band", "gender")
    lines = stats_query.to_csv(wanted, stats_query.run_query(wanted, ledger.aggregate)).splitlines()
    assert lines[:2] == ["age_band,gender,count", "30-39,female,33"]
