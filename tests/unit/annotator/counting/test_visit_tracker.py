"""Visit tracking: each person is counted once per visit, however often the track breaks."""

from __future__ import annotations

import pytest
from facestream.annotator.counting.visit_tracker import SILENCE_TIMEOUT_S

from tests.fixtures.counting_scene import HEIGHT, POLICY, START_AT, STEP_S, Scene


def test_a_person_is_counted_once_when_the_visit_has_ended() -> None:
    scene = Scene()
    scene.put(1)
    scene.predict(1, 35, 0.95, times=3)
    scene.run(3)
    assert scene.visits() == []
    scene.remove(1)
    scene.run(10)
    (person,) = scene.visits()
    assert person.timestamp == START_AT
    assert 2.5 < person.dwell_s < 3.1
    assert person.estimate.female_probability is not None
    assert person.estimate.female_probability > 0.5
    assert person.estimate.age is not None


def test_a_short_track_is_not_counted() -> None:
    scene = Scene()
    scene.put(1)
    scene.run(0.6)
    scene.remove(1)
    scene.run(10)
    assert scene.events == []


def test_a_person_without_a_prediction_is_counted_without_an_estimate() -> None:
    scene = Scene()
    scene.put(1)
    scene.run(2)
    scene.remove(1)
    scene.run(10)
    (person,) = scene.visits()
    assert (person.estimate.age, person.estimate.female_probability) == (None, None)


def test_looking_away_briefly_is_one_visit() -> None:
    scene = Scene()
    scene.put(1)
    scene.predict(1, 35, 0.95, times=3)
    scene.run(3)
    x, y = scene.remove(1)
    scene.run(2.5)
    scene.put(2, x + 60, y + 10)
    scene.predict(2, 38, 0.9, times=4)
    scene.run(3)
    scene.remove(2)
    scene.run(10)
    (person,) = scene.visits()
    assert 5.4 < person.dwell_s < 6.1
    assert person.estimate.predictions == 7


def test_many_short_tracks_at_one_position_are_one_visit() -> None:
    scene = Scene()
    for track in range(1, 9):
        scene.put(track)
        scene.run(0.4)
        scene.remove(track)
        scene.run(0.8)
    scene.run(10)
    assert len(scene.visits()) == 1


def test_coming_back_after_long_is_two_visits() -> None:
    scene = Scene()
    for track in (1, 2):
        scene.put(track)
        scene.run(2)
        scene.remove(track)
        scene.run(8)
    assert len(scene.visits()) == 2


def test_another_gender_at_the_same_position_is_a_second_visit() -> None:
    scene = Scene()
    scene.put(1)
    scene.predict(1, 35, 0.95, times=3)
    scene.run(3)
    scene.remove(1)
    scene.run(1)
    scene.put(2)
    scene.run(0.4)  # no prediction yet: it may be the first person
    scene.predict(2, 36, 0.05, times=3)
    scene.run(3)
    scene.remove(2)
    scene.run(10)
    first, second = scene.visits()
    assert (first.estimate.female_probability or 0) > 0.5
    assert (second.estimate.female_probability or 1) < 0.5
    assert first.dwell_s < 3.1
    assert second.timestamp > START_AT + 3.5


def test_another_age_at_the_same_position_is_a_second_visit() -> None:
    scene = Scene()
    scene.put(1)
    scene.predict(1, 70, 0.95, times=3)
    scene.run(3)
    scene.remove(1)
    scene.run(1)
    scene.put(2)
    scene.predict(2, 20, 0.95, times=3)
    scene.run(3)
    scene.remove(2)
    scene.run(10)
    assert len(scene.visits()) == 2


def test_a_distant_position_is_a_second_visit() -> None:
    scene = Scene()
    scene.put(1, 200)
    scene.run(3)
    scene.remove(1)
    scene.run(1)
    scene.put(2, 900)
    scene.run(3)
    scene.remove(2)
    scene.run(10)
    assert len(scene.visits()) == 2


def test_two_people_side_by_side_are_two_visits() -> None:
    scene = Scene()
    scene.put(1, 500)
    scene.run(0.4)
    scene.put(2, 620)
    scene.run(3)
    scene.remove(1)
    scene.run(1)
    scene.remove(2)
    scene.run(10)
    assert len(scene.visits()) == 2


def test_a_lost_walker_is_matched_ahead_of_the_last_position() -> None:
    scene = Scene()
    scene.put(1, 200)
    scene.run(1.4, dx=400)
    x, y = scene.remove(1)
    scene.run(0.6)
    scene.put(2, x + 0.6 * 400, y)
    scene.run(1.4, dx=400)
    scene.remove(2)
    scene.run(10)
    assert len(scene.visits()) == 1


def test_leaving_at_an_edge_and_entering_there_are_two_visits() -> None:
    scene = Scene()
    scene.put(1, 1000)
    scene.run(1.4, dx=180)
    x, y = scene.remove(1)
    scene.run(2)
    scene.put(2, x, y)
    scene.run(2, dx=-180)
    scene.remove(2)
    scene.run(10)
    assert len(scene.visits()) == 2


def test_a_long_visit_is_counted_once_before_it_ends() -> None:
    scene = Scene()
    scene.put(1)
    scene.run(POLICY.count_after_s + 1)
    assert len(scene.visits()) == 1
    scene.run(60)
    scene.remove(1)
    scene.run(10)
    assert len(scene.visits()) == 1


def test_predicted_boxes_do_not_add_dwell_time() -> None:
    scene = Scene()
    scene.put(1, 300)
    scene.run(0.4)
    scene.last_detected_us[1] = round((scene.now_at - STEP_S) * 1e6)
    scene.run(5, dx=100)
    scene.remove(1)
    scene.run(10)
    assert scene.events == []


def test_predicted_boxes_do_not_change_the_velocity() -> None:
    scene = Scene()
    scene.put(1, 200)
    for i in range(8):
        sight_us = round(scene.now_at * 1e6)
        # Frames come unevenly, and each derives the detection time again.
        for late_s, off_us in ((0.0, 0), (0.009, 2), (-0.008, 700)):
            x, y = scene.positions[1]
            scene.last_detected_us[1] = sight_us + off_us
            at_s = scene.now_s
            scene.now_s += late_s
            scene.frame()
            scene.now_s = at_s + STEP_S / 3
            scene.positions[1] = (x + 300 * STEP_S / 3, y)
        assert i < 5 or scene.tracker._visits[0].last.vx * HEIGHT == pytest.approx(300, rel=0.1)


def test_a_predicted_track_is_matched_at_its_last_detection() -> None:
    scene = Scene()
    scene.put(1, 300)
    scene.run(1.6, dx=300)
    scene.last_detected_us[1] = round((scene.now_at - STEP_S) * 1e6)
    x, y = scene.positions[1]
    scene.put(2, x - 30, y)  # has stopped, while the first track is predicted to move on
    scene.run(0.4)
    scene.remove(1)
    scene.run(2)
    scene.remove(2)
    scene.run(10)
    assert len(scene.visits()) == 1


def test_a_track_that_misses_a_detection_is_not_continued_by_another_person() -> None:
    scene = Scene()
    scene.put(1, 500)
    scene.run(2)
    place = scene.remove(1)
    scene.run(0.2)
    scene.put(2, 520)
    scene.run(0.6)
    scene.put(1, *place)
    scene.run(2)
    scene.remove(1)
    scene.remove(2)
    scene.run(10)
    assert len(scene.visits()) == 2


def test_an_outage_of_the_camera_does_not_end_a_visit() -> None:
    scene = Scene()
    scene.put(1)
    scene.run(2)
    scene.remove(1)
    scene.now_s += 30
    scene.session, scene.seq = 2, 0
    scene.put(2)
    scene.run(2)
    scene.remove(2)
    scene.run(10)
    assert len(scene.visits()) == 1


def test_a_silent_camera_ends_its_visits() -> None:
    scene = Scene()
    scene.put(1)
    scene.run(2)
    scene.tracker.expire(scene.now_s + SILENCE_TIMEOUT_S / 2)
    assert scene.visits() == []
    scene.tracker.expire(scene.now_s + SILENCE_TIMEOUT_S + 1)
    assert len(scene.visits()) == 1


def test_a_late_frame_is_ignored() -> None:
    scene = Scene()
    scene.put(1)
    scene.run(2)
    scene.seq -= 5
    scene.put(9, 100)
    scene.frame()
    scene.remove(9)
    scene.seq += 5
    scene.tracker.finalize_all()
    assert len(scene.visits()) == 1


def test_the_number_of_open_visits_is_bounded() -> None:
    scene = Scene()
    for track in range(1, 700):
        scene.put(track, 20 + (track * 37) % 1200, 20 + (track * 91) % 680)
    scene.run(0.4)
    assert len(scene.tracker._visits) == 512


def test_a_person_in_view_at_startup_is_counted_with_an_estimate() -> None:
    scene = Scene()
    scene.now_s = 600.0
    scene.put(1)
    scene.first_detected_us[1] = round(START_AT * 1e6)
    scene.frame()
    assert scene.events == []
    scene.predict(1, 35, 0.95, times=3)
    scene.run(POLICY.count_after_s + 1)
    (person,) = scene.visits()
    assert person.estimate.female_probability is not None


def test_a_clock_that_is_set_back_counts_no_person_twice() -> None:
    class Behind(Scene):
        behind_s = 0.0

        @property
        def now_at(self) -> float:
            return super().now_at - self.behind_s

    scene = Behind()
    for track, x in ((1, 200), (2, 600), (3, 1000)):
        scene.put(track, x)
    scene.run(5)
    scene.behind_s = 60.0
    scene.run(15)
    scene.tracker.finalize_all()
    assert len(scene.visits()) == 3


def test_a_visit_of_many_tracks_uses_bounded_memory() -> None:
    scene = Scene()
    for track in range(1, 60):
        scene.put(track)
        scene.predict(track, 35, 0.95, times=3)
        scene.run(1.2)
        scene.remove(track)
        scene.run(1.0)
    (visit,) = scene.tracker._visits
    assert len(visit.segments) < 5
    assert len(scene.tracker._by_track) < 5
    assert visit.dwell_s() == pytest.approx(59 * 1.0, rel=0.15)
    assert visit.estimate().predictions == 3 * 59


def test_a_returning_person_is_known_by_a_new_detection_in_any_frame() -> None:
    """While a viewer watches, frames are newer than the detection that they report."""
    scene = Scene()
    scene.put(1, 600)
    scene.predict(1, 35, 0.95, times=3)
    scene.run(2)
    scene.remove(1)  # hidden by a person who steps in front
    scene.run(1)
    scene.put(2, 620)
    scene.run(2)
    scene.put(1, 500)
    for _ in range(10):
        seen_us = round(scene.now_at * 1e6)
        scene.last_detected_us = {1: seen_us, 2: seen_us}
        scene.now_s += STEP_S
        scene.frame()
    scene.last_detected_us = {}
    scene.remove(1)
    scene.remove(2)
    scene.run(10)
    assert len(scene.visits()) == 2


def test_a_slightly_later_time_of_one_detection_is_no_new_detection() -> None:
    """One face with two alternating tracks: the lost one is still reported for a while."""
    scene = Scene()
    scene.put(1)
    scene.predict(1, 35, 0.95, times=3)
    scene.run(2)
    for _ in range(4):
        for seen, missed in ((2, 1), (1, 2)):
            last_us = round((scene.now_at - STEP_S) * 1e6)
            scene.put(seen, 610)
            scene.last_detected_us = {missed: last_us + 3}
            scene.frame()
            scene.now_s += STEP_S
            scene.remove(missed)
            scene.last_detected_us = {}
            scene.run(1.0)
    scene.tracker.finalize_all()
    assert len(scene.visits()) == 1
