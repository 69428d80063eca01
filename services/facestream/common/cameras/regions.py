"""Places in a camera's picture at which people are counted: zones and lines. Pure data.

Both are drawn in fractions of the upright picture (0-1 from the left and from the top), so they
stay where they are when the camera changes its resolution.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from facestream.common.core.names import Name

MAX_PLACES = 8  # zones, and lines, of one camera
MAX_CORNERS = 16

Fraction = Annotated[float, Field(ge=0, le=1)]
Point = tuple[Fraction, Fraction]


class _Place(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name


class Zone(_Place):
    """An area: a person enters and leaves it."""

    points: tuple[Point, ...] = Field(
        min_length=3, max_length=MAX_CORNERS, description="corners in order: [[x, y], …], 0-1"
    )


class Line(_Place):
    """A line to cross. Looking along it from the first point to the second, a person enters from
    the left to the right.
    """

    points: tuple[Point, Point] = Field(description="both ends: [[x, y], [x, y]], 0-1")

    @field_validator("points")
    @classmethod
    def _has_length(cls, points: tuple[Point, Point]) -> tuple[Point, Point]:
        if points[0] == points[1]:
            raise ValueError("both ends are the same point")
        return points


def _unique(places: tuple[_Place, ...]) -> tuple[_Place, ...]:
    names = [place.name for place in places]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} stands twice")
    return places


def check_distinct_names(zones: Iterable[Zone], lines: Iterable[Line]) -> None:
    """What happens at a place is counted under its name.

    Raises:
        ValueError: a zone and a line have the same one.
    """
    for name in {zone.name for zone in zones} & {line.name for line in lines}:
        raise ValueError(f"{name!r} is the name of a zone and of a line: rename one of them")


Zones = Annotated[tuple[Zone, ...], Field(max_length=MAX_PLACES), AfterValidator(_unique)]
Lines = Annotated[tuple[Line, ...], Field(max_length=MAX_PLACES), AfterValidator(_unique)]
