"""Statistics queries: parse a request, aggregate counts by hour, day or group, format CSV.

No I/O except through the count store passed to `run_query`. Hours and days are those of the query's
time zone. The store sums up by quarters of an hour, because every current UTC offset is a multiple
of 15 minutes. This module sums the quarters up to hours and days, so that days of 23 or 25 hours
get correct totals.
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
from facestream.common.core.csv_cells import neutralize_formula

By = Literal["age_band", "gender", "camera", "region", "minute", "hour", "day"]
Kind = Literal["visit", "enter", "leave", "coverage"]
TIMES = ("minute", "hour", "day")
MAX_ROWS = 20_000
MAX_PERIOD = timedelta(days=3700)
_MAX_STORE_ROWS = 400_000  # rows that the store returns for one query
_QUARTER_S = 900
_SINGLE_STEP_S = 2**40  # one step for the whole period: longer than any time since 1970
_TOO_MANY_ROWS = f"more than {MAX_ROWS} rows; use a shorter period or a longer time step"

_UNIX_SECONDS = re.compile(r"\d{9,12}(\.\d*)?")  # 20250131 is an ISO 8601 date

Row = dict[str, str | int]
StoreRows = list[tuple[int, tuple[str, ...], int]]


class InvalidQueryError(ValueError):
    """The query is malformed or returns too many rows; the message names the parameter."""


@dataclass(frozen=True, slots=True)
class StatsQuery:
    """Sum of the counts of `kind` from `since` until before `until`, grouped by these columns."""

    since: datetime
    until: datetime
    by: tuple[By, ...]
    kind: Kind = "visit"
    camera: str | None = None
    region: str | None = None

    @property
    def timezone(self) -> tzinfo:
        """The time zone of hours and days."""
        return self.since.tzinfo or UTC

    @property
    def time_column(self) -> str | None:
        """The time step to group by: minute, hour, day or None."""
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
    """Parse and check the parameters of a request.

    Args:
        since: ISO 8601 date or time, or Unix seconds; default: the start of today.
        until: the same; default: now.
        by: columns to group by; each item may hold several, separated by commas.
        tz: IANA name of the time zone of days and of times without offset; default: this
            machine's time zone.
        now: Unix time.
        kind: what to count.
        camera: only counts of this camera.
        region: only counts of this zone or line.

    Raises:
        InvalidQueryError: a parameter cannot be parsed, or the period is empty or too long.
    """
    timezone = _parse_timezone(tz)
    names = [column.strip() for item in by for column in item.split(",") if column.strip()]
    columns = tuple(dict.fromkeys(names))
    for column in columns:
        if column not in get_args(By):
            raise InvalidQueryError(
                f"by: unknown column {column[:40]!r}; use {', '.join(get_args(By))}"
            )
    if sum(column in TIMES for column in columns) > 1:
        raise InvalidQueryError("by: use only one of minute, hour and day")
    local_now = datetime.fromtimestamp(now, timezone)
    midnight = local_now.replace(hour=0, minute=0, second=0, microsecond=0)
    start = _parse_time("from", since, timezone) if since else midnight
    # Not `local_now` plus a minute: that loses the fold when clocks are set back.
    default_end = datetime.fromtimestamp(now + MINUTE_S, timezone)
    end = _parse_time("to", until, timezone) if until else default_end
    if start.timestamp() >= end.timestamp():
        raise InvalidQueryError("from: must be before to")
    if end - start > MAX_PERIOD:
        raise InvalidQueryError(f"to: must be at most {MAX_PERIOD.days} days after from")
    return StatsQuery(start, end, columns, kind, camera, region)  # type: ignore[arg-type]


def run_query(
    query: StatsQuery, aggregate: Callable[[AggregateQuery, int], StoreRows]
) -> list[Row]:
    """Return sorted rows of the queried columns, in their order, and `count`.

    Args:
        query: a parsed query.
        aggregate: the method `aggregate` of the count store.

    Raises:
        InvalidQueryError: too many rows.
        CountStoreError: the store cannot be read now.
    """
    step = query.time_column
    groups = [column for column in query.by if column not in TIMES]
    since, until = query.since.timestamp(), query.until.timestamp()
    store_query = AggregateQuery(
        # Both rounded up to a full minute, so that adjacent periods do not overlap.
        since=-int(-since // MINUTE_S) * MINUTE_S,
        until=-int(-until // MINUTE_S) * MINUTE_S,
        kind=query.kind,
        camera=query.camera,
        region=query.region,
        step_s=_store_step_s(step),
        columns=groups,
    )
    store_rows = aggregate(store_query, _MAX_STORE_ROWS)
    if len(store_rows) == _MAX_STORE_ROWS:
        raise InvalidQueryError(_TOO_MANY_ROWS)
    totals: dict[tuple[str, ...], int] = {}
    starts: dict[tuple[str, ...], int] = {}
    for time, group, number in store_rows:
        label = (_time_label(time, step, query.timezone),) if step else ()
        totals[label + group] = totals.get(label + group, 0) + number
        if step:
            starts[label] = min(time, starts.get(label, time))
    if len(totals) > MAX_ROWS:
        raise InvalidQueryError(_TOO_MANY_ROWS)
    rows = []
    # Labels do not sort by time in the hour when clocks are set back: 02:30+02:00 is the earlier.
    for key in sorted(totals, key=lambda key: (starts.get(key[:1], 0), key)):
        values = dict(zip([*([step] if step else []), *groups], key, strict=True))
        row: Row = {column: values[column] for column in query.by}
        rows.append(row | {"count": totals[key]})
    if not query.by and not rows:
        rows = [{"count": 0}]
    return rows


def to_csv(query: StatsQuery, rows: Sequence[Row], *, has_bom: bool = False) -> str:
    """Format the rows as CSV (RFC 4180) with a header line.

    Args:
        query: of the rows.
        rows: as from `run_query`.
        has_bom: whether to begin with a byte order mark, without which Excel reads no UTF-8.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [*query.by, "count"])
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {k: neutralize_formula(v) if isinstance(v, str) else v for k, v in row.items()}
        )
    return ("\ufeff" if has_bom else "") + text.getvalue()


def _store_step_s(step: str | None) -> int:
    if step is None:
        return _SINGLE_STEP_S
    return MINUTE_S if step == "minute" else _QUARTER_S


def _time_label(time: int, step: str, timezone: tzinfo) -> str:
    at = datetime.fromtimestamp(time, timezone)
    if step == "day":
        return at.date().isoformat()
    if step == "hour":
        at = at.replace(minute=0)
    return at.isoformat(timespec="minutes")


def _parse_time(name: str, text: str, timezone: tzinfo) -> datetime:
    try:
        if _UNIX_SECONDS.fullmatch(text):
            at = datetime.fromtimestamp(float(text), timezone)
        else:
            at = datetime.fromisoformat(
                text.replace(" ", "+")
            )  # a + in a URL is decoded as a space
        if not MINYEAR < at.year < MAXYEAR:
            raise ValueError("out of range in another time zone")
    except (ValueError, OverflowError, OSError):
        raise InvalidQueryError(
            f"{name}: write it as 2025-01-31, 2025-01-31T18:00+01:00 or Unix seconds"
        ) from None
    return at.replace(tzinfo=timezone) if at.tzinfo is None else at.astimezone(timezone)


def _parse_timezone(name: str | None) -> tzinfo:
    if not name:
        return _LocalTimezone()
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidQueryError(
            f"tz: unknown time zone {name[:40]!r} (example: Europe/Berlin)"
        ) from None


class _LocalTimezone(tzinfo):
    """This machine's time zone, with the UTC offset that is valid at each time."""

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
