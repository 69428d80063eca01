"""Zones entered and lines crossed during a visit."""

from __future__ import annotations

import pytest
from facestream.annotator.counting.visit_tracker import SILENT_S
from facestream.common.cameras.regions import Line, Zone

from tests.fixtures.counting_scene import STEP_S, Door

LINE = Line(name="door", points=((0.5, 1.0), (0.5, 0.0)))  # at 640 pixels


def crossings(door: Door) -> list[tuple[str, str]]:
    return [(c.kind, c.region) for c in door.counted if c.kind != "visit"]


def test_crossings_are_counted_with_the_person_and_only_for_people() -> None:
    line = Line(name="door", points=((0.5, 1.0), (0.5, 0.0)))
    zone = Zone(name="left", points=((0.0, 0.0), (0.45, 0.0), (0.45, 1.0), (0.0, 1.0)))
    door = Door(zones=[zone], lines=[line])
    door.put(1, 400)
    door.answer(1, 35, 0.95, times=3)
    door.run(2, dx=200)
    door.put(2, 400, 600)  # too short to be a person, though it crosses
    door.run(0.6, dx=500)
    door.take(2)
    door.take(1)
    door.run(10)
    assert [(c.kind, c.region) for c in door.counted] == [
        ("visit", ""),
        ("enter", "left"),
        ("leave", "left"),
        ("enter", "door"),
    ]
    assert all((c.estimate.female_probability or 0) > 0.5 for c in door.counted)


def test_a_line_drawn_while_somebody_is_in_view_counts_for_him() -> None:
    door = Door()
    door.put(1, 400)
    door.run(2)
    door.lines = [LINE]
    door.run(4, dx=100)
    door.take(1)
    door.run(10)
    assert crossings(door) == [("enter", "door")]


def test_a_line_that_was_not_moved_goes_on_as_it_was() -> None:
    door = Door(lines=[LINE])
    door.put(1, 560)
    door.run(1)
    door.lines = [LINE, Line(name="other", points=((0.9, 1.0), (0.9, 0.0)))]
    door.put(1, 720)
    door.run(2)
    door.visits.finalize_all()
    assert crossings(door) == [("enter", "door")]


def test_who_crosses_a_line_out_of_sight_has_crossed_it() -> None:
    door = Door(lines=[LINE])
    door.put(1, 520)
    door.answer(1, 35, 0.95, times=3)
    door.run(2)
    door.take(1)
    door.run(1)
    door.put(2, 680)  # beyond the line, and gone again as soon as it is known who it is
    door.answer(2, 35, 0.95, times=3)
    door.run(0.6)
    door.take(2)
    door.run(10)
    assert crossings(door) == [("enter", "door")]
    assert len(door.people()) == 1


def test_who_turns_out_to_be_somebody_else_has_not_crossed_for_the_other() -> None:
    door = Door(lines=[LINE])
    door.put(1, 520)
    door.answer(1, 30, 0.97, times=4)
    door.run(2)
    door.take(1)
    door.run(1)
    door.put(2, 680)  # nothing is known of him yet, so it might be her
    door.run(1)
    door.answer(2, 60, 0.02, times=4)
    door.run(2)
    door.take(2)
    door.run(10)
    assert crossings(door) == []
    assert len(door.people()) == 2


def test_a_camera_that_died_was_left_when_it_did() -> None:
    zone = Zone(name="all", points=((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)))
    door = Door(zones=[zone])
    door.put(1)
    door.run(3)
    died_at = door.now_at
    door.now_s += SILENT_S + 1
    door.visits.expire(door.now_s)
    (left,) = (c for c in door.counted if c.kind == "leave")
    assert left.timestamp == pytest.approx(died_at, abs=2 * STEP_S)


def test_a_zone_that_is_moved_is_left_once_and_not_entered_again() -> None:
    def zone(right: float) -> Zone:
        return Zone(name="shelf", points=((0.0, 0.0), (right, 0.0), (right, 1.0), (0.0, 1.0)))

    door = Door(zones=[zone(0.6)])
    door.put(1, 500)
    door.run(2)
    door.zones = [zone(0.7)]
    door.run(2)
    door.zones = [zone(0.2)]
    door.run(2)
    door.visits.finalize_all()
    assert crossings(door) == [("enter", "shelf"), ("leave", "shelf")]
