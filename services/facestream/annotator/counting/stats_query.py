"""Questions to the counts: what may be asked, and answers as rows or CSV. Pure but for the ledger
that is asked.

Hours and days are those of a time zone. The ledger sums up by quarters of an hour, since every zone
of today is whole quarters off UTC; these are put into the zone's hours and days here, so a day of
23 or 25 hours is one day.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta, tzinfo
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from facestream.annotator.counting.count_store import MINUTE_S, AggregateQuery

By = Literal["age_band", "gender", "camera", "region", "minute", "hour", "day"]
Kind = Literal["visit", "enter", "leave"]
TIMES = ("minute", "hour", "day")
MAX_ROWS = 20_000
MAX_PERIOD = timedelta(days=3700)
_MAX_READ = 400_000  # rows of the ledger for one answer
_QUARTER_S = 900
_EVER_S = 2**40  # one step for all: longer than any time since 1970
_TOO_MANY = f"more than {MAX_ROWS} rows; ask for a shorter period, or for longer steps"

_UNIX_SECONDS = re.compile(r"\d{9,12}(\.\d*)?")  # 20250131 is a date of ISO 8601

Row = dict[str, str | int]
Rows = list[tuple[int, tuple[str, ...], int]]


class InvalidQuery(ValueError):
    """What was asked for makes no sense or is too much; its text says why."""


@dataclass(frozen=True, slots=True)
class StatsQuery:
    """Sum up the counts of `kind` from `since` until before `until`, by these columns."""

    since: datetime
    until: datetime
    by: tuple[By, ...]
    kind: Kind = "visit"
    camera: str | None = None
    region: str | None = None

    @property
    def timezone(self) -> tzinfo:
        """The time zone of its hours and days."""
        return self.since.tzinfo or UTC

    @property
    def time(self) -> str | None:
        """Its step in time, if it asks for one."""
        return next((column for column in self.by if column in TIMES), None)


def parse_query(
    since: str | None,
    until: str | None,
    by: Sequence[str],
    *,
    tz: str | None,
    now: float,
    kind: Kind = "visit",
    camera: str | None = None,
    region: str | None = None,
) -> StatsQuery:
    """What was asked, checked.

    Args:
        since: ISO 8601 date or time, or Unix seconds; without one, today's beginning.
        until: the same; without one, now.
        by: columns, each also several with commas between.
        tz: IANA name of the time zone that days and times without an offset are of; without
            one, this machine's.
        now: Unix time.

    Raises:
        InvalidQuery: one of them cannot be read, or the period is empty or too long.
    """
    timezone = _timezone(tz)
    asked = [column.strip() for some in by for column in some.split(",") if column.strip()]
    columns = tuple(dict.fromkeys(asked))
    for column in columns:
        if column not in get_args(By):
            raise InvalidQuery(f"by: {column[:40]!r} is none of {', '.join(get_args(By))}")
    if sum(column in TIMES for column in columns) > 1:
        raise InvalidQuery("by: only one of minute, hour and day")
    at = datetime.fromtimestamp(now, timezone)
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    begin = _moment("from", since, timezone) if since else midnight
    # Not by adding to `at`, which forgets which of the two hours of a night in autumn it is.
    end = _moment("to", until, timezone) if until else datetime.fromtimestamp(now + MINUTE_S, timezone)
    if begin.timestamp() >= end.timestamp():
        raise InvalidQuery("from: must lie before to")
    if end - begin > MAX_PERIOD:
        raise InvalidQuery(f"to: {MAX_PERIOD.days} days after from at most")
    return StatsQuery(begin, end, columns, kind, camera, region)  # type: ignore[arg-type]


def run_query(asked: StatsQuery, sums: Callable[[AggregateQuery, int], Rows]) -> list[Row]:
    """The rows: the columns asked for, in their order, and `count`; sorted.

    Args:
        sums: of the ledger.

    Raises:
        InvalidQuery: too many rows.
    """
    step = asked.time
    groups = [column for column in asked.by if column not in TIMES]
    since, until = asked.since.timestamp(), asked.until.timestamp()
    wanted = AggregateQuery(
        # Both up to the next full minute, so that one period begins where the other ends.
        since=-int(-since // MINUTE_S) * MINUTE_S,
        until=-int(-until // MINUTE_S) * MINUTE_S,
        kind=asked.kind,
        camera=asked.camera,
        region=asked.region,
        step_s=_step_s(step),
        columns=groups,
    )
    found = sums(wanted, _MAX_READ)
    if len(found) == _MAX_READ:
        raise InvalidQuery(_TOO_MANY)
    totals: dict[tuple[str, ...], int] = {}
    for time, group, number in found:
        when = (_named(time, step, asked.timezone),) if step else ()
        totals[when + group] = totals.get(when + group, 0) + number
    if len(totals) > MAX_ROWS:
        raise InvalidQuery(_TOO_MANY)
    rows = []
    for key in sorted(totals):
        values = dict(zip([*([step] if step else []), *groups], key, strict=True))
        row: Row = {column: values[column] for column in asked.by}
        rows.append(row | {"count": totals[key]})
    if not asked.by and not rows:
        rows = [{"count": 0}]
    return rows


def to_csv(asked: StatsQuery, rows: Sequence[Row]) -> str:
    """The rows as CSV (RFC 4180) with a line of names."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*asked.by, "count"])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _step_s(step: str | None) -> int:
    if step is None:
        return _EVER_S
    return MINUTE_S if step == "minute" else _QUARTER_S


def _named(time: int, step: str, zone: tzinfo) -> str:
    at = datetime.fromtimestamp(time, zone)
    if step == "day":
        return at.date().isoformat()
    if step == "hour":
        at = at.replace(minute=0)
    return at.isoformat(timespec="minutes")


def _moment(name: str, text: str, zone: tzinfo) -> datetime:
    try:
        if _UNIX_SECONDS.fullmatch(text):
            at = datetime.fromtimestamp(float(text), zone)
        else:
            at = datetime.fromisoformat(text.replace(" ", "+"))  # a + in a URL means a space
        if not MINYEAR < at.year < MAXYEAR:
            raise ValueError("in another zone it may be in no year at all")
    except (ValueError, OverflowError, OSError):
        raise InvalidQuery(
            f"{name}: write it as 2025-01-31, 2025-01-31T18:00+01:00 or Unix seconds"
        ) from None
    return at.replace(tzinfo=zone) if at.tzinfo is None else at.astimezone(zone)


def _timezone(name: str | None) -> tzinfo:
    if not name:
        return _Local()
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidQuery(f"tz: unknown time zone {name[:40]!r} (example: Europe/Berlin)") from None


class _Local(tzinfo):
    """This machine's time zone, with the offset that holds at each time."""

    def utcoffset(self, at: datetime | None) -> timedelta:
        local = (at or datetime.now()).replace(tzinfo=None).astimezone()
        return local.utcoffset() or timedelta(0)

    def fromutc(self, at: datetime) -> datetime:
        local = at.replace(tzinfo=UTC).astimezone()
        first = local.replace(tzinfo=None, fold=0)
        is_second = first.astimezone().utcoffset() != local.utcoffset()
        return first.replace(tzinfo=self, fold=int(is_second))

    def dst(self, at: datetime | None) -> None:
        return None

    def tzname(self, at: datetime | None) -> str:
        return "local"
