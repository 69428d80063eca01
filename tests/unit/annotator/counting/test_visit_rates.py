"""Visits do not depend on how often the detector runs."""

from __future__ import annotations

import pytest
from facestream.annotator.counting.visit_tracker import VisitPolicy

from tests.fixtures.counting_scene import Scene

RATES = (5.0, 2.5, 1.0, 0.5, 0.25)  # detections per second


@pytest.mark.parametrize("rate", RATES)
def test_one_person_who_stays_is_one_visit(rate: float) -> None:
    scene = Scene(VisitPolicy(), step_s=1 / rate)
    scene.put(1)
    scene.run(40)
    scene.remove(1)
    scene.run(20)
    assert len(scene.visits()) == 1


@pytest.mark.parametrize("rate", RATES)
def test_two_people_at_one_place_6_s_apart_are_two_visits(rate: float) -> None:
    scene = Scene(VisitPolicy(), step_s=1 / rate)
    scene.put(1)
    scene.run(8)
    scene.remove(1)
    scene.run(8)  # the gap between two detections is longer than 6 s at every rate
    scene.put(2)
    scene.run(8)
    scene.remove(2)
    scene.run(20)
    assert len(scene.visits()) == 2


@pytest.mark.parametrize("rate", RATES)
def test_one_person_who_looks_away_is_one_visit(rate: float) -> None:
    scene = Scene(VisitPolicy(), step_s=1 / rate)
    place = (600.0, 300.0)
    scene.put(1, *place)
    scene.run(8)
    scene.remove(1)
    scene.put(2, *place)  # the tracker lost the face in between
    scene.run(8)
    scene.remove(2)
    scene.run(20)
    assert len(scene.visits()) == 1


def test_dwell_follows_real_time_at_a_low_rate() -> None:
    scene = Scene(VisitPolicy(), step_s=4.0)
    scene.put(1)
    scene.run(60)
    scene.remove(1)
    scene.run(20)
    (visit,) = scene.visits()
    assert visit.dwell_s >= 24  # counted after 30 s, when the detections are 4 s apart


def test_frames_that_arrive_late_and_in_a_burst_keep_the_time_of_their_capture() -> None:
    scene = Scene(VisitPolicy())
    scene.put(1)
    scene.run(3)
    arrives_s = scene.now_s + 20.0
    for _ in range(50):  # 10 s of frames, held back by the network
        scene.frame(arrives_s)
        scene.now_s += scene.step_s
    scene.now_s = arrives_s
    scene.remove(1)
    scene.run(20)
    (visit,) = scene.visits()
    assert visit.dwell_s == pytest.approx(13, abs=1.5)
