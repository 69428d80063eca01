"""Zone entries, zone exits and line crossings during a visit."""

from __future__ import annotations

import pytest
from facestream.annotator.counting.visit_tracker import SILENCE_TIMEOUT_S
from facestream.common.cameras.regions import Line, Zone

from tests.fixtures.counting_scene import STEP_S, Scene

LINE = Line(name="door", points=((0.5, 1.0), (0.5, 0.0)))  # at 640 pixels


def crossings(scene: Scene) -> list[tuple[str, str]]:
    return [(c.kind, c.region) for c in scene.events if c.kind != "visit"]


def test_crossings_are_counted_with_their_visit_only() -> None:
    line = Line(name="door", points=((0.5, 1.0), (0.5, 0.0)))
    zone = Zone(name="left", points=((0.0, 0.0), (0.45, 0.0), (0.45, 1.0), (0.0, 1.0)))
    scene = Scene(zones=[zone], lines=[line])
    scene.put(1, 400)
    scene.predict(1, 35, 0.95, times=3)
    scene.run(2, dx=200)
    scene.put(2, 400, 600)  # too short for a visit, though it crosses
    scene.run(0.6, dx=500)
    scene.remove(2)
    scene.remove(1)
    scene.run(10)
    assert [(c.kind, c.region) for c in scene.events] == [
        ("visit", ""),
        ("enter", "left"),
        ("leave", "left"),
        ("enter", "door"),
    ]
    assert all((c.estimate.female_probability or 0) > 0.5 for c in scene.events)


def test_a_line_drawn_during_a_visit_counts_for_it() -> None:
    scene = Scene()
    scene.put(1, 400)
    scene.run(2)
    scene.lines = [LINE]
    scene.run(4, dx=100)
    scene.remove(1)
    scene.run(10)
    assert crossings(scene) == [("enter", "door")]


def test_an_unchanged_line_keeps_its_state() -> None:
    scene = Scene(lines=[LINE])
    scene.put(1, 560)
    scene.run(1)
    scene.lines = [LINE, Line(name="other", points=((0.9, 1.0), (0.9, 0.0)))]
    scene.put(1, 720)
    scene.run(2)
    scene.tracker.finalize_all()
    assert crossings(scene) == [("enter", "door")]


def test_a_crossing_between_two_tracks_is_counted() -> None:
    scene = Scene(lines=[LINE])
    scene.put(1, 520)
    scene.predict(1, 35, 0.95, times=3)
    scene.run(2)
    scene.remove(1)
    scene.run(1)
    scene.put(2, 680)  # beyond the line; removed as soon as the join is confirmed
    scene.predict(2, 35, 0.95, times=3)
    scene.run(0.6)
    scene.remove(2)
    scene.run(10)
    assert crossings(scene) == [("enter", "door")]
    assert len(scene.visits()) == 1


def test_an_undone_join_undoes_its_crossings() -> None:
    scene = Scene(lines=[LINE])
    scene.put(1, 520)
    scene.predict(1, 30, 0.97, times=4)
    scene.run(2)
    scene.remove(1)
    scene.run(1)
    scene.put(2, 680)  # no prediction yet, so the join is unconfirmed
    scene.run(1)
    scene.predict(2, 60, 0.02, times=4)
    scene.run(2)
    scene.remove(2)
    scene.run(10)
    assert crossings(scene) == []
    assert len(scene.visits()) == 2


def test_a_silent_camera_is_left_at_its_last_frame() -> None:
    zone = Zone(name="all", points=((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)))
    scene = Scene(zones=[zone])
    scene.put(1)
    scene.run(3)
    died_at = scene.now_at
    scene.now_s += SILENCE_TIMEOUT_S + 1
    scene.tracker.expire(scene.now_s)
    (left,) = (c for c in scene.events if c.kind == "leave")
    assert left.timestamp == pytest.approx(died_at, abs=2 * STEP_S)


def test_a_moved_zone_is_left_once_and_not_entered_again() -> None:
    def zone(right: float) -> Zone:
        return Zone(name="shelf", points=((0.0, 0.0), (right, 0.0), (right, 1.0), (0.0, 1.0)))

    scene = Scene(zones=[zone(0.6)])
    scene.put(1, 500)
    scene.run(2)
    scene.zones = [zone(0.7)]
    scene.run(2)
    scene.zones = [zone(0.2)]
    scene.run(2)
    scene.tracker.finalize_all()
    assert crossings(scene) == [("enter", "shelf"), ("leave", "shelf")]
