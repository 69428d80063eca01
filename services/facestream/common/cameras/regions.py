"""Regions of a camera's frame where people are counted: zones and lines. No I/O.

Coordinates are fractions of the upright frame (0-1 from the left and from the top), so a region
does not depend on the resolution of the camera.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from facestream.common.core.names import Name

MAX_REGIONS = 8  # zones of one camera; lines have the same limit
MAX_CORNERS = 16

Fraction = Annotated[float, Field(ge=0, le=1)]
Point = tuple[Fraction, Fraction]


class _Region(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name


class Zone(_Region):
    """Polygon that people enter and leave."""

    points: tuple[Point, ...] = Field(
        min_length=3, max_length=MAX_CORNERS, description="corners in order: [[x, y], …], 0-1"
    )


class Line(_Region):
    """Line that people cross.

    Seen from the first point to the second, a person who crosses from left to right enters.
    """

    points: tuple[Point, Point] = Field(description="both ends: [[x, y], [x, y]], 0-1")

    @field_validator("points")
    @classmethod
    def _has_length(cls, points: tuple[Point, Point]) -> tuple[Point, Point]:
        if points[0] == points[1]:
            raise ValueError("both ends are the same point")
        return points


def _check_unique(regions: tuple[_Region, ...]) -> tuple[_Region, ...]:
    names = [region.name for region in regions]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"duplicate name {name!r}")
    return regions


def check_distinct_names(zones: Iterable[Zone], lines: Iterable[Line]) -> None:
    """Check that no zone and line share a name, because counts are stored by name.

    Raises:
        ValueError: a zone and a line have the same name.
    """
    for name in {zone.name for zone in zones} & {line.name for line in lines}:
        raise ValueError(f"{name!r} is the name of a zone and of a line: rename one of them")


Zones = Annotated[tuple[Zone, ...], Field(max_length=MAX_REGIONS), AfterValidator(_check_unique)]
Lines = Annotated[tuple[Line, ...], Field(max_length=MAX_REGIONS), AfterValidator(_check_unique)]
