"""Zone entry, zone exit and line crossing of one person. No I/O.

A person's position is the center of the face, because feet are often outside the frame. A position
within `MARGIN` of a border is on neither side, so that jitter of a person who stands on a line is
not counted as crossings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from facestream.common.cameras.regions import Line, Zone

MARGIN = 0.01  # as a fraction of the frame's sides

Direction = Literal["enter", "leave"]
Point = tuple[float, float]  # x, y as fractions of the frame's sides


@dataclass(frozen=True, slots=True)
class Crossing:
    """One entry into a zone, exit from a zone, or crossing of a line."""

    region: str
    direction: Direction


class RegionCrossingTracker:
    """Track which zones one person is in and on which side of each line."""

    def __init__(self, zones: Sequence[Zone], lines: Sequence[Line]) -> None:
        self._zones, self._lines = zones, lines
        self._inside: set[str] = set()
        # By line: the last position that was clearly on one side of it.
        self._last_clear: dict[str, Point] = {}

    def update(self, position: Point) -> list[Crossing]:
        """Move the person to this position; return the crossings on the way."""
        crossings: list[Crossing] = []
        for zone in self._zones:
            was_inside = zone.name in self._inside
            if _distance_to_border(zone.points, position) < MARGIN or was_inside == _is_inside(
                zone.points, position
            ):
                continue
            if was_inside:
                self._inside.discard(zone.name)
            else:
                self._inside.add(zone.name)
            crossings.append(Crossing(zone.name, "leave" if was_inside else "enter"))
        for line in self._lines:
            side = _signed_distance(*line.points, position)
            if abs(side) < MARGIN:
                continue
            previous = self._last_clear.get(line.name)
            self._last_clear[line.name] = position
            if previous is not None and _segments_cross(previous, position, *line.points):
                crossings.append(Crossing(line.name, "enter" if side > 0 else "leave"))
        return crossings

    def set_regions(self, zones: Sequence[Zone], lines: Sequence[Line]) -> None:
        """Replace zones and lines after an admin changed them.

        A person inside a zone that moved leaves it with the next update, unless still inside.
        """
        unchanged_lines = {line.name for line in lines if line in self._lines}
        self._inside &= {zone.name for zone in zones}
        self._last_clear = {
            name: position for name, position in self._last_clear.items() if name in unchanged_lines
        }
        self._zones, self._lines = zones, lines

    def copy(self) -> RegionCrossingTracker:
        """Return an independent copy."""
        copy = RegionCrossingTracker(self._zones, self._lines)
        copy._inside, copy._last_clear = set(self._inside), dict(self._last_clear)
        return copy

    def end(self) -> list[Crossing]:
        """Let the person leave every zone; return these crossings."""
        crossings = [Crossing(z.name, "leave") for z in self._zones if z.name in self._inside]
        self._inside.clear()
        return crossings


def _signed_distance(a: Point, b: Point, point: Point) -> float:
    """Return the distance from the straight line through a and b; positive right of a → b."""
    along_x, along_y = b[0] - a[0], b[1] - a[1]
    across = along_x * (point[1] - a[1]) - along_y * (point[0] - a[0])
    return across / math.hypot(along_x, along_y)


def _segments_cross(p: Point, q: Point, a: Point, b: Point) -> bool:
    """Return whether the segments p–q and a–b cross."""
    if (_signed_distance(a, b, p) > 0) == (_signed_distance(a, b, q) > 0) or p == q:
        return False
    return (_signed_distance(p, q, a) > 0) != (_signed_distance(p, q, b) > 0)


def _is_inside(corners: Sequence[Point], point: Point) -> bool:
    """Apply the even-odd rule to a ray from the point to the right."""
    x, y = point
    inside = False
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax):
            inside = not inside
    return inside


def _distance_to_border(corners: Sequence[Point], point: Point) -> float:
    return min(
        _distance_to_edge(a, b, point)
        for a, b in zip(corners, [*corners[1:], corners[0]], strict=True)
    )


def _distance_to_edge(a: Point, b: Point, point: Point) -> float:
    along_x, along_y = b[0] - a[0], b[1] - a[1]
    length_squared = along_x * along_x + along_y * along_y
    share = 0.0
    if length_squared > 0:
        share = ((point[0] - a[0]) * along_x + (point[1] - a[1]) * along_y) / length_squared
    share = min(1.0, max(0.0, share))
    return math.hypot(point[0] - a[0] - share * along_x, point[1] - a[1] - share * along_y)
