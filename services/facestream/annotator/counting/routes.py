"""The routes of the counts: `/api/stats` as JSON and as CSV."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from facestream.annotator.counting import stats_query
from facestream.annotator.counting.people_counter import PeopleCounter
from facestream.annotator.counting.stats_query import InvalidQuery, StatsQuery
from facestream.common.core.errors import CountStoreError
from facestream.common.core.names import Name

_BY = "age_band, gender, camera, region, minute, hour, day; several with commas between"
_MOMENT = "ISO 8601 date or time, or Unix seconds; "


class StatsRow(BaseModel):
    """One number, beside it the columns that were asked for."""

    model_config = ConfigDict(extra="forbid")

    count: int
    age_band: str | None = Field(None, description="as 30-39, or unknown")
    gender: str | None = Field(None, description="female, male or unknown")
    camera: str | None = None
    region: str | None = Field(None, description="zone or line; empty for visits")
    minute: str | None = Field(None, description="its beginning, ISO 8601 with offset")
    hour: str | None = Field(None, description="its beginning, ISO 8601 with offset")
    day: str | None = Field(None, description="ISO 8601 date")


class Stats(BaseModel):
    """The answer of `GET /api/stats`; groups of which nobody came have no row."""

    since: str = Field(alias="from")
    until: str = Field(alias="to")
    kind: str
    total: int
    rows: list[StatsRow]


def stats_query_params(
    since: Annotated[
        str | None, Query(alias="from", description=_MOMENT + "without it, today's beginning")
    ] = None,
    until: Annotated[str | None, Query(alias="to", description=_MOMENT + "without it, now")] = None,
    by: Annotated[list[str] | None, Query(description=_BY, max_length=7)] = None,
    kind: Annotated[
        stats_query.Kind, Query(description="visits, or crossings of zones and lines")
    ] = "visit",
    camera: Annotated[Name | None, Query(description="of this camera alone")] = None,
    region: Annotated[Name | None, Query(description="of this zone or line")] = None,
    tz: Annotated[
        str | None,
        Query(max_length=64, description="time zone, as Europe/Berlin; else the server's"),
    ] = None,
) -> StatsQuery:
    """The question of a request."""
    try:
        return stats_query.parse_query(
            since,
            until,
            by or (),
            tz=tz,
            now=time.time(),
            kind=kind,
            camera=camera,
            region=region,
        )
    except InvalidQuery as error:
        raise HTTPException(422, str(error)) from None


def routes(tally: PeopleCounter) -> APIRouter:
    """The routes around a tally."""
    router = APIRouter()

    async def rows(wanted: StatsQuery, request: Request) -> list[stats_query.Row]:
        try:
            return await tally.query(wanted, request.is_disconnected)
        except InvalidQuery as error:
            raise HTTPException(422, str(error)) from None
        except CountStoreError as error:
            raise HTTPException(503, f"the counts cannot be read: {error}") from None

    @router.get("/api/stats", response_model_exclude_unset=True)
    async def get_stats(
        wanted: Annotated[StatsQuery, Depends(stats_query_params)], request: Request
    ) -> Stats:
        found = await rows(wanted, request)
        return Stats.model_validate(
            {
                "from": wanted.since.isoformat(timespec="seconds"),
                "to": wanted.until.isoformat(timespec="seconds"),
                "kind": wanted.kind,
                "total": sum(int(row["count"]) for row in found),
                "rows": found,
            }
        )

    @router.get(
        "/api/stats.csv",
        response_class=Response,
        responses={200: {"content": {"text/csv": {}}, "description": "the same as CSV"}},
    )
    async def get_stats_csv(
        wanted: Annotated[StatsQuery, Depends(stats_query_params)], request: Request
    ) -> Response:
        found = await rows(wanted, request)
        return Response(
            stats_query.to_csv(wanted, found),
            media_type="text/csv",
            headers={"Content-Disposition": 'attachment; filename="facestream.csv"'},
        )

    return router
