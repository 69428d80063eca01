"""Statistics routes: `/api/stats` as JSON and `/api/stats.csv` as CSV."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from facestream.annotator.counting import stats_query
from facestream.annotator.counting.people_counter import PeopleCounter
from facestream.annotator.counting.stats_query import InvalidQueryError, StatsQuery
from facestream.common.core.errors import CountStoreError
from facestream.common.core.names import Name

_BY_HELP = "age_band, gender, camera, region, minute, hour, day; separate several with commas"
_TIME_HELP = "ISO 8601 date or time, or Unix seconds; default: "


class StatsRow(BaseModel):
    """One count with the columns that the query groups by."""

    model_config = ConfigDict(extra="forbid")

    count: int
    age_band: str | None = Field(None, description="such as 30-39, or unknown")
    gender: str | None = Field(None, description="female, male or unknown")
    camera: str | None = None
    region: str | None = Field(None, description="zone or line; empty for visits")
    minute: str | None = Field(None, description="its start, ISO 8601 with offset")
    hour: str | None = Field(None, description="its start, ISO 8601 with offset")
    day: str | None = Field(None, description="ISO 8601 date")


class Stats(BaseModel):
    """Response of `GET /api/stats`; groups with a count of 0 have no row."""

    since: str = Field(alias="from")
    until: str = Field(alias="to")
    kind: str
    total: int
    rows: list[StatsRow]


def stats_query_params(
    since: Annotated[
        str | None, Query(alias="from", description=_TIME_HELP + "the start of today")
    ] = None,
    until: Annotated[str | None, Query(alias="to", description=_TIME_HELP + "now")] = None,
    by: Annotated[list[str] | None, Query(description=_BY_HELP, max_length=7)] = None,
    kind: Annotated[
        stats_query.Kind,
        Query(description="visits, crossings of zones and lines, or seconds of coverage"),
    ] = "visit",
    camera: Annotated[Name | None, Query(description="only this camera")] = None,
    region: Annotated[Name | None, Query(description="only this zone or line")] = None,
    tz: Annotated[
        str | None,
        Query(max_length=64, description="time zone, such as Europe/Berlin; default: server's"),
    ] = None,
) -> StatsQuery:
    """Parse the query parameters of a request; a FastAPI dependency."""
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
    except InvalidQueryError as error:
        raise HTTPException(422, str(error)) from None


def routes(people_counter: PeopleCounter) -> APIRouter:
    """Return the routes of the statistics of a people counter."""
    router = APIRouter()

    async def run(query: StatsQuery, request: Request) -> list[stats_query.Row]:
        try:
            return await people_counter.query(query, request.is_disconnected)
        except InvalidQueryError as error:
            raise HTTPException(422, str(error)) from None
        except CountStoreError as error:
            raise HTTPException(503, f"cannot read counts: {error}") from None

    @router.get("/api/stats", response_model_exclude_unset=True)
    async def get_stats(
        query: Annotated[StatsQuery, Depends(stats_query_params)], request: Request
    ) -> Stats:
        rows = await run(query, request)
        return Stats.model_validate(
            {
                "from": query.since.isoformat(timespec="seconds"),
                "to": query.until.isoformat(timespec="seconds"),
                "kind": query.kind,
                "total": sum(int(row["count"]) for row in rows),
                "rows": rows,
            }
        )

    @router.get(
        "/api/stats.csv",
        response_class=Response,
        responses={200: {"content": {"text/csv": {}}, "description": "the same as CSV"}},
    )
    async def get_stats_csv(
        query: Annotated[StatsQuery, Depends(stats_query_params)],
        request: Request,
        bom: Annotated[bool, Query(description="begin with a byte order mark, for Excel")] = False,
    ) -> Response:
        rows = await run(query, request)
        return Response(
            stats_query.to_csv(query, rows, has_bom=bom),
            media_type="text/csv",
            headers={"Content-Disposition": 'attachment; filename="facestream.csv"'},
        )

    return router
