"""Zone entry and exit, line crossing, and jitter at a border."""

from __future__ import annotations

import pytest
from facestream.annotator.counting.region_crossing import Crossing, Point, RegionCrossingTracker
from facestream.common.cameras.regions import Line, Lines, Zone, Zones
from pydantic import TypeAdapter, ValidationError

# From top to bottom: the left-hand side of its direction is the right half of the frame.
DOOR = Line(name="door", points=((0.5, 0.2), (0.5, 0.8)))
SHELF = Zone(name="shelf", points=((0.6, 0.2), (0.9, 0.2), (0.9, 0.6), (0.6, 0.6)))
# An L: not convex.
CORNER = Zone(
    name="corner", points=((0.1, 0.1), (0.9, 0.1), (0.9, 0.3), (0.3, 0.3), (0.3, 0.9), (0.1, 0.9))
)


def crossings(tracker: RegionCrossingTracker, *positions: Point) -> list[Crossing]:
    return [crossing for position in positions for crossing in tracker.update(position)]


def test_crossing_a_line_to_its_right_is_entering() -> None:
    tracker = RegionCrossingTracker([], [DOOR])
    assert crossings(tracker, (0.8, 0.5), (0.6, 0.5), (0.4, 0.5)) == [Crossing("door", "enter")]
    assert crossings(tracker, (0.2, 0.5), (0.7, 0.5)) == [Crossing("door", "leave")]


def test_reversing_the_line_reverses_the_direction() -> None:
    tracker = RegionCrossingTracker([], [Line(name="door", points=((0.5, 0.8), (0.5, 0.2)))])
    assert crossings(tracker, (0.8, 0.5), (0.2, 0.5)) == [Crossing("door", "leave")]


def test_passing_beyond_the_ends_of_a_line_is_no_crossing() -> None:
    tracker = RegionCrossingTracker([], [DOOR])
    assert crossings(tracker, (0.8, 0.9), (0.2, 0.9), (0.2, 0.5)) == []


def test_jitter_on_a_line_is_one_crossing_at_most() -> None:
    tracker = RegionCrossingTracker([], [DOOR])
    jitter = [(0.5 + 0.008 * (-1) ** i, 0.5) for i in range(20)]
    assert crossings(tracker, (0.6, 0.5), *jitter) == []
    assert crossings(tracker, (0.4, 0.5), *jitter) == [Crossing("door", "enter")]


def test_a_zone_is_entered_and_left() -> None:
    tracker = RegionCrossingTracker([SHELF], [])
    path = [(0.3, 0.4), (0.7, 0.4), (0.8, 0.5), (0.7, 0.9)]
    assert crossings(tracker, *path) == [Crossing("shelf", "enter"), Crossing("shelf", "leave")]


def test_a_person_first_detected_in_a_zone_enters_it_and_leaves_it_at_the_end() -> None:
    tracker = RegionCrossingTracker([SHELF, CORNER], [])
    assert crossings(tracker, (0.8, 0.4)) == [Crossing("shelf", "enter")]
    assert tracker.end() == [Crossing("shelf", "leave")]
    assert tracker.end() == []


@pytest.mark.parametrize(
    ("position", "is_inside"), [((0.2, 0.8), True), ((0.8, 0.2), True), ((0.6, 0.6), False)]
)
def test_a_zone_need_not_be_convex(position: Point, is_inside: bool) -> None:
    assert bool(RegionCrossingTracker([CORNER], []).update(position)) == is_inside


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
def test_invalid_zones_are_rejected(zones: list[dict[str, object]]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Zones).validate_python(zones)


def test_a_line_of_one_point_is_rejected() -> None:
    with pytest.raises(ValidationError, match="same point"):
        TypeAdapter(Lines).validate_python([{"name": "a", "points": [[0, 0], [0, 0]]}])
