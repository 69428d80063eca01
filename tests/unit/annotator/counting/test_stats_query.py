"""Statistics queries: parsing, errors, grouping by time and columns."""

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
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CountStore:
    """A store that all tests of this module read."""
    made = opener(request.param, tmp_path_factory.mktemp("store"), request)()
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


def test_the_default_query_counts_people_of_today(store: CountStore) -> None:
    assert stats_query.run_query(ask(), store.aggregate) == [{"count": 39}]


def test_a_period_without_people_has_a_count_of_0(store: CountStore) -> None:
    assert stats_query.run_query(ask(since="2024-01-01", until="2024-02-01"), store.aggregate) == [
        {"count": 0}
    ]


def test_columns_come_in_the_order_of_the_query(store: CountStore) -> None:
    rows = stats_query.run_query(ask("gender,age_band"), store.aggregate)
    assert rows == [
        {"gender": "female", "age_band": "30-39", "count": 33},
        {"gender": "male", "age_band": "30-39", "count": 2},
        {"gender": "unknown", "age_band": "unknown", "count": 4},
    ]


def test_hours_and_days_are_of_the_time_zone(store: CountStore) -> None:
    rows = stats_query.run_query(ask("hour", since="2025-06-14"), store.aggregate)
    assert rows == [
        {"hour": "2025-06-14T23:00+02:00", "count": 100},
        {"hour": "2025-06-15T00:00+02:00", "count": 1},
        {"hour": "2025-06-15T09:00+02:00", "count": 6},
        {"hour": "2025-06-15T18:00+02:00", "count": 32},
    ]
    rows = stats_query.run_query(ask("day", since="2025-06-14"), store.aggregate)
    assert rows == [{"day": "2025-06-14", "count": 100}, {"day": "2025-06-15", "count": 39}]
    rows = stats_query.run_query(
        ask("day", since="2025-06-14", tz="Asia/Kathmandu"), store.aggregate
    )
    assert rows == [{"day": "2025-06-15", "count": 139}]


def test_the_day_of_a_clock_change_has_25_hours() -> None:
    store = SqliteCountStore(None)
    first = at(2025, 10, 26, 0, 0)
    store.add(
        CountBatch(
            1,
            {CountKey(first + 3600 * i, "door", "visit", "", "70+", "male"): 1 for i in range(25)},
        )
    )
    query = ask("day", since="2025-10-26", until="2025-10-27")
    assert stats_query.run_query(query, store.aggregate) == [{"day": "2025-10-26", "count": 25}]
    hours = stats_query.run_query(
        ask("hour", since="2025-10-26", until="2025-10-27"), store.aggregate
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
def test_the_default_end_is_now_in_a_repeated_hour(tz: str | None, in_berlin: None) -> None:
    asked = stats_query.parse_query(None, None, (), tz=tz, now=SECOND_TIME)
    assert asked.until.timestamp() == SECOND_TIME + 60


def test_a_period_may_lie_across_the_moment_at_which_the_hour_comes_again() -> None:
    before, after = "2025-10-26T00:50:00Z", "2025-10-26T01:10:00Z"  # 2:50 and 2:10 in Berlin
    asked = stats_query.parse_query(before, after, (), tz=BERLIN, now=SECOND_TIME)
    assert asked.until.timestamp() - asked.since.timestamp() == 20 * 60
    with pytest.raises(ValueError, match="before"):
        stats_query.parse_query(after, before, (), tz=BERLIN, now=SECOND_TIME)


@pytest.mark.parametrize("tz", [BERLIN, None])
def test_a_repeated_hour_has_two_rows(tz: str | None, in_berlin: None) -> None:
    asked = stats_query.parse_query("2025-10-26", "2025-10-27", ("hour",), tz=tz, now=SECOND_TIME)
    sums: stats_query.StoreRows = [(int(SECOND_TIME) - 3600, (), 1), (int(SECOND_TIME), (), 2)]
    assert [row["hour"] for row in stats_query.run_query(asked, lambda query, most: sums)] == [
        "2025-10-26T02:00+02:00",
        "2025-10-26T02:00+01:00",
    ]


def test_crossings_by_place_and_camera(store: CountStore) -> None:
    rows = stats_query.run_query(ask("camera", "region", kind="enter"), store.aggregate)
    assert rows == [{"camera": "hall", "region": "till", "count": 8}]
    assert stats_query.run_query(ask(kind="leave", region="till"), store.aggregate) == [
        {"count": 16}
    ]
    assert stats_query.run_query(ask(camera="door"), store.aggregate) == [{"count": 3}]


def test_two_periods_that_meet_share_no_minute(store: CountStore) -> None:
    middle = "2025-06-15T09:46:30"
    before = stats_query.run_query(ask(since="2025-06-15", until=middle), store.aggregate)
    after = stats_query.run_query(ask(since=middle), store.aggregate)
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
def test_times_are_parsed_in_many_formats(text: str, store: CountStore) -> None:
    assert stats_query.run_query(ask(since=text), store.aggregate) == [{"count": 39}]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"since": "yesterday"}, "from: write it as"),
        ({"since": "2025-13-01"}, "from: write it as"),
        ({"until": "nan"}, "to: write it as"),
        ({"since": "999999999999"}, "from: write it as"),
        ({"since": "0001-01-01T00:00+14:00"}, "from: write it as"),
        ({"until": "9999-12-31T23:59-14:00"}, "to: write it as"),
        ({"since": "2025-06-16"}, "must be before to"),
        ({"since": "1970-01-01"}, "3700 days"),
        ({"tz": "Mars/Olympus"}, "unknown time zone"),
        ({"tz": "../../etc/passwd"}, "unknown time zone"),
    ],
)
def test_invalid_parameters_are_rejected(wrong: dict[str, str], message: str) -> None:
    with pytest.raises(stats_query.InvalidQueryError, match=message):
        ask(**wrong)


@pytest.mark.parametrize("by", ["name", "hour,day", "gender; DROP TABLE counts"])
def test_unknown_columns_are_rejected(by: str) -> None:
    with pytest.raises(stats_query.InvalidQueryError, match=r"^by: "):
        ask(by)


def test_too_many_rows_are_refused_rather_than_cut_off() -> None:
    store = SqliteCountStore(None)
    first = at(2025, 6, 1)
    store.add(
        CountBatch(
            1,
            {
                CountKey(first + 60 * i, "door", "visit", "", "70+", "male"): 1
                for i in range(stats_query.MAX_ROWS)
            },
        )
    )
    assert (
        len(stats_query.run_query(ask("minute", since="2025-06-01"), store.aggregate))
        == stats_query.MAX_ROWS
    )
    store.add(CountBatch(2, {CountKey(at(2025, 6, 15, 12), "door", "visit", "", "70+", "male"): 1}))
    with pytest.raises(stats_query.InvalidQueryError, match="shorter period"):
        stats_query.run_query(ask("minute", since="2025-06-01"), store.aggregate)


def test_without_a_zone_days_are_this_machines() -> None:
    query = stats_query.parse_query(None, None, [], tz=None, now=NOW)
    local = datetime.fromtimestamp(NOW).replace(hour=0, minute=0).astimezone()
    assert query.since.timestamp() == local.timestamp()


def test_today_begins_at_its_first_minute(store: CountStore) -> None:
    asked = stats_query.parse_query(None, None, [], tz=BERLIN, now=NOW + 0.4)
    assert stats_query.run_query(asked, store.aggregate) == [{"count": 39}]


def test_csv_has_a_line_of_names(store: CountStore) -> None:
    query = ask("age_band", "gender")
    lines = stats_query.to_csv(query, stats_query.run_query(query, store.aggregate)).splitlines()
    assert lines[:2] == ["age_band,gender,count", "30-39,female,33"]


def test_csv_neutralizes_formulas_and_may_begin_with_a_byte_order_mark() -> None:
    query = ask("camera")
    rows: list[stats_query.Row] = [
        {"camera": name, "count": 1} for name in ("=1+1", "+a", "-a", "@a", "\ta", "door")
    ]
    text = stats_query.to_csv(query, rows)
    assert text.startswith("camera")
    cells = [line.rpartition(",")[0] for line in text.splitlines()[1:]]
    assert cells == ["'=1+1", "'+a", "'-a", "'@a", "'\ta", "door"]
    assert stats_query.to_csv(query, rows, has_bom=True).encode() == (
        b"\xef\xbb\xbf" + text.encode()
    )
