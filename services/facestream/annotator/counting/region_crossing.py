"""One person's way through a camera's zones and over its lines. Pure.

The person's place is the middle of the face: feet are often out of the picture. A place within
`MARGIN` of a border is on neither side of it, so that somebody who stands on a line is not counted
again with every tremble.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from facestream.common.cameras.regions import Line, Zone

MARGIN = 0.01  # of the picture's sides

Direction = Literal["enter", "leave"]
Point = tuple[float, float]  # x, y in fractions of the picture's sides


@dataclass(frozen=True, slots=True)
class Crossing:
    """A zone was entered or left, or a line crossed."""

    region: str
    direction: Direction


class RegionCrossingTracker:
    """Follows one person through these zones and over these lines."""

    def __init__(self, zones: Sequence[Zone], lines: Sequence[Line]) -> None:
        self._zones, self._lines = zones, lines
        self._inside: set[str] = set()
        # For each line where the person was last surely on one side of it.
        self._sure: dict[str, Point] = {}

    def update(self, spot: Point) -> list[Crossing]:
        """The person is here now."""
        crossings: list[Crossing] = []
        for zone in self._zones:
            was_inside = zone.name in self._inside
            if _distance_to_border(zone.points, spot) < MARGIN or was_inside == _is_inside(
                zone.points, spot
            ):
                continue
            if was_inside:
                self._inside.discard(zone.name)
            else:
                self._inside.add(zone.name)
            crossings.append(Crossing(zone.name, "leave" if was_inside else "enter"))
        for line in self._lines:
            side = _side(*line.points, spot)
            if abs(side) < MARGIN:
                continue
            before = self._sure.get(line.name)
            self._sure[line.name] = spot
            if before is not None and _meet(before, spot, *line.points):
                crossings.append(Crossing(line.name, "enter" if side > 0 else "leave"))
        return crossings

    def set_regions(self, zones: Sequence[Zone], lines: Sequence[Line]) -> None:
        """Zones and lines were drawn, moved or taken away.

        Who was in a zone that was moved leaves it with the next step, if it is no longer there.
        """
        same_lines = {line.name for line in lines if line in self._lines}
        self._inside &= {zone.name for zone in zones}
        self._sure = {name: spot for name, spot in self._sure.items() if name in same_lines}
        self._zones, self._lines = zones, lines

    def copy(self) -> RegionCrossingTracker:
        """One that goes its own way from here."""
        walk = RegionCrossingTracker(self._zones, self._lines)
        walk._inside, walk._sure = set(self._inside), dict(self._sure)
        return walk

    def end(self) -> list[Crossing]:
        """The person has gone, and so left every zone."""
        crossings = [Crossing(z.name, "leave") for z in self._zones if z.name in self._inside]
        self._inside.clear()
        return crossings


def _side(a: Point, b: Point, spot: Point) -> float:
    """Distance from the straight line through a and b; positive to the right of a → b."""
    along_x, along_y = b[0] - a[0], b[1] - a[1]
    across = along_x * (spot[1] - a[1]) - along_y * (spot[0] - a[0])
    return across / math.hypot(along_x, along_y)


def _meet(p: Point, q: Point, a: Point, b: Point) -> bool:
    """Whether the way from p to q leads over the line from a to b, not past its ends."""
    if (_side(a, b, p) > 0) == (_side(a, b, q) > 0) or p == q:
        return False
    return (_side(p, q, a) > 0) != (_side(p, q, b) > 0)


def _is_inside(corners: Sequence[Point], spot: Point) -> bool:
    """By the even-odd rule: how often a ray to the right meets the border."""
    x, y = spot
    inside = False
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax):
            inside = not inside
    return inside


def _distance_to_border(corners: Sequence[Point], spot: Point) -> float:
    return min(
        _distance_to_edge(a, b, spot)
        for a, b in zip(corners, [*corners[1:], corners[0]], strict=True)
    )


def _distance_to_edge(a: Point, b: Point, spot: Point) -> float:
    along_x, along_y = b[0] - a[0], b[1] - a[1]
    square = along_x * along_x + along_y * along_y
    share = 0.0
    if square > 0:
        share = ((spot[0] - a[0]) * along_x + (spot[1] - a[1]) * along_y) / square
    share = min(1.0, max(0.0, share))
    return math.hypot(spot[0] - a[0] - share * along_x, spot[1] - a[1] - share * along_y)
