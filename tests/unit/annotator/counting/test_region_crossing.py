"""Zones and lines: who enters, who leaves, and who only trembles."""

from __future__ import annotations

import pytest
from facestream.annotator.counting.region_crossing import Crossing, Point, RegionCrossingTracker
from facestream.common.cameras.regions import Line, Lines, Zone, Zones
from pydantic import TypeAdapter, ValidationError

# From top to bottom in the middle: its left, looking down, is the picture's right.
DOOR = Line(name="door", points=((0.5, 0.2), (0.5, 0.8)))
SHELF = Zone(name="shelf", points=((0.6, 0.2), (0.9, 0.2), (0.9, 0.6), (0.6, 0.6)))
# An L: not convex.
CORNER = Zone(
    name="corner", points=((0.1, 0.1), (0.9, 0.1), (0.9, 0.3), (0.3, 0.3), (0.3, 0.9), (0.1, 0.9))
)


def crossings(walk: RegionCrossingTracker, *spots: Point) -> list[Crossing]:
    return [crossing for spot in spots for crossing in walk.update(spot)]


def test_a_line_is_entered_from_its_left_to_its_right_and_left_the_other_way() -> None:
    walk = RegionCrossingTracker([], [DOOR])
    assert crossings(walk, (0.8, 0.5), (0.6, 0.5), (0.4, 0.5)) == [Crossing("door", "enter")]
    assert crossings(walk, (0.2, 0.5), (0.7, 0.5)) == [Crossing("door", "leave")]


def test_turning_the_line_round_turns_the_direction() -> None:
    walk = RegionCrossingTracker([], [Line(name="door", points=((0.5, 0.8), (0.5, 0.2)))])
    assert crossings(walk, (0.8, 0.5), (0.2, 0.5)) == [Crossing("door", "leave")]


def test_who_passes_beyond_the_ends_of_a_line_does_not_cross_it() -> None:
    walk = RegionCrossingTracker([], [DOOR])
    assert crossings(walk, (0.8, 0.9), (0.2, 0.9), (0.2, 0.5)) == []


def test_trembling_on_a_line_is_one_crossing_at_most() -> None:
    walk = RegionCrossingTracker([], [DOOR])
    trembling = [(0.5 + 0.008 * (-1) ** i, 0.5) for i in range(20)]
    assert crossings(walk, (0.6, 0.5), *trembling) == []
    assert crossings(walk, (0.4, 0.5), *trembling) == [Crossing("door", "enter")]


def test_a_zone_is_entered_and_left() -> None:
    walk = RegionCrossingTracker([SHELF], [])
    way = [(0.3, 0.4), (0.7, 0.4), (0.8, 0.5), (0.7, 0.9)]
    assert crossings(walk, *way) == [Crossing("shelf", "enter"), Crossing("shelf", "leave")]


def test_who_is_in_a_zone_from_the_start_entered_it_and_leaves_it_with_the_picture() -> None:
    walk = RegionCrossingTracker([SHELF, CORNER], [])
    assert crossings(walk, (0.8, 0.4)) == [Crossing("shelf", "enter")]
    assert walk.end() == [Crossing("shelf", "leave")]
    assert walk.end() == []


@pytest.mark.parametrize(
    ("spot", "is_inside"), [((0.2, 0.8), True), ((0.8, 0.2), True), ((0.6, 0.6), False)]
)
def test_a_zone_need_not_be_convex(spot: Point, is_inside: bool) -> None:
    assert bool(RegionCrossingTracker([CORNER], []).update(spot)) == is_inside


@pytest.mark.parametrize(
    "zones",
    [
        [{"name": "a", "points": [[0, 0], [1, 1]]}],
        [{"name": "a", "points": [[0, 0], [1, 1], [1.5, 0]]}],
        [{"name": "A b", "points": [[0, 0], [1, 1], [1, 0]]}],
        [{"name": "a", "points": [[0, 0], [1, 1], [1, 0]]}] * 2,
        [{"name": f"z{i}", "points": [[0, 0], [1, 1], [1, 0]]} for i in range(9)],
    ],
)
def test_zones_that_make_no_sense_are_refused(zones: list[dict[str, object]]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Zones).validate_python(zones)


def test_a_line_of_one_point_is_refused() -> None:
    with pytest.raises(ValidationError, match="same point"):
        TypeAdapter(Lines).validate_python([{"name": "a", "points": [[0, 0], [0, 0]]}])
