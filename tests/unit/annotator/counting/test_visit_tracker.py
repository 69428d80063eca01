"""People out of tracks: each counted once a visit, however often the track breaks."""

from __future__ import annotations

import pytest
from facestream.annotator.counting.visit_tracker import SILENT_S

from tests.fixtures.counting_scene import HEIGHT, RULE, START_AT, STEP_S, Door


def test_a_person_is_counted_once_when_the_visit_has_ended() -> None:
    door = Door()
    door.put(1)
    door.answer(1, 35, 0.95, times=3)
    door.run(3)
    assert door.people() == []
    door.take(1)
    door.run(10)
    (person,) = door.people()
    assert person.timestamp == START_AT
    assert 2.5 < person.dwell_s < 3.1
    assert person.estimate.female_probability is not None
    assert person.estimate.female_probability > 0.5
    assert person.estimate.age is not None


def test_a_face_seen_for_a_moment_is_nobody() -> None:
    door = Door()
    door.put(1)
    door.run(0.6)
    door.take(1)
    door.run(10)
    assert door.counted == []


def test_who_was_never_answered_is_counted_without_an_estimate() -> None:
    door = Door()
    door.put(1)
    door.run(2)
    door.take(1)
    door.run(10)
    (person,) = door.people()
    assert (person.estimate.age, person.estimate.female_probability) == (None, None)


def test_who_looks_away_for_a_moment_is_one_person() -> None:
    door = Door()
    door.put(1)
    door.answer(1, 35, 0.95, times=3)
    door.run(3)
    x, y = door.take(1)
    door.run(2.5)
    door.put(2, x + 60, y + 10)
    door.answer(2, 38, 0.9, times=4)
    door.run(3)
    door.take(2)
    door.run(10)
    (person,) = door.people()
    assert 5.4 < person.dwell_s < 6.1
    assert person.estimate.predictions == 7


def test_many_short_tracks_at_one_place_are_one_person() -> None:
    door = Door()
    for track in range(1, 9):
        door.put(track)
        door.run(0.4)
        door.take(track)
        door.run(0.8)
    door.run(10)
    assert len(door.people()) == 1


def test_who_comes_back_after_long_is_two_visits() -> None:
    door = Door()
    for track in (1, 2):
        door.put(track)
        door.run(2)
        door.take(track)
        door.run(8)
    assert len(door.people()) == 2


def test_somebody_else_at_the_same_place_is_a_second_person() -> None:
    door = Door()
    door.put(1)
    door.answer(1, 35, 0.95, times=3)
    door.run(3)
    door.take(1)
    door.run(1)
    door.put(2)
    door.run(0.4)  # not answered yet: it might be the first one
    door.answer(2, 36, 0.05, times=3)
    door.run(3)
    door.take(2)
    door.run(10)
    first, second = door.people()
    assert (first.estimate.female_probability or 0) > 0.5 > (second.estimate.female_probability or 1)
    assert first.dwell_s < 3.1
    assert second.timestamp > START_AT + 3.5


def test_somebody_of_another_age_at_the_same_place_is_a_second_person() -> None:
    door = Door()
    door.put(1)
    door.answer(1, 70, 0.95, times=3)
    door.run(3)
    door.take(1)
    door.run(1)
    door.put(2)
    door.answer(2, 20, 0.95, times=3)
    door.run(3)
    door.take(2)
    door.run(10)
    assert len(door.people()) == 2


def test_somebody_elsewhere_is_a_second_person() -> None:
    door = Door()
    door.put(1, 200)
    door.run(3)
    door.take(1)
    door.run(1)
    door.put(2, 900)
    door.run(3)
    door.take(2)
    door.run(10)
    assert len(door.people()) == 2


def test_two_side_by_side_are_two_people() -> None:
    door = Door()
    door.put(1, 500)
    door.run(0.4)
    door.put(2, 620)
    door.run(3)
    door.take(1)
    door.run(1)
    door.take(2)
    door.run(10)
    assert len(door.people()) == 2


def test_a_walker_who_is_lost_on_the_way_is_found_again_ahead() -> None:
    door = Door()
    door.put(1, 200)
    door.run(1.4, dx=400)
    x, y = door.take(1)
    door.run(0.6)
    door.put(2, x + 0.6 * 400, y)
    door.run(1.4, dx=400)
    door.take(2)
    door.run(10)
    assert len(door.people()) == 1


def test_who_walks_out_at_an_edge_does_not_come_in_there_as_the_next() -> None:
    door = Door()
    door.put(1, 1000)
    door.run(1.4, dx=180)
    x, y = door.take(1)
    door.run(2)
    door.put(2, x, y)
    door.run(2, dx=-180)
    door.take(2)
    door.run(10)
    assert len(door.people()) == 2


def test_who_stays_is_counted_while_still_there_and_never_again() -> None:
    door = Door()
    door.put(1)
    door.run(RULE.count_after_s + 1)
    assert len(door.people()) == 1
    door.run(60)
    door.take(1)
    door.run(10)
    assert len(door.people()) == 1


def test_a_track_that_is_only_predicted_is_not_seen() -> None:
    door = Door()
    door.put(1, 300)
    door.run(0.4)
    door.seen_us[1] = round((door.now_at - STEP_S) * 1e6)
    door.run(5, dx=100)
    door.take(1)
    door.run(10)
    assert door.counted == []


def test_predictions_between_two_sights_do_not_disturb_the_speed() -> None:
    door = Door()
    door.put(1, 200)
    for i in range(8):
        sight_us = round(door.now_at * 1e6)
        # Frames come unevenly, and each reckons anew when it was.
        for late_s, off_us in ((0.0, 0), (0.009, 2), (-0.008, 700)):
            x, y = door.places[1]
            door.seen_us[1] = sight_us + off_us
            at_s = door.now_s
            door.now_s += late_s
            door.frame()
            door.now_s = at_s + STEP_S / 3
            door.places[1] = (x + 300 * STEP_S / 3, y)
        assert i < 5 or door.visits._visits[0].last.vx * HEIGHT == pytest.approx(300, rel=0.1)


def test_a_lost_track_that_is_still_reported_is_carried_on_where_it_was_seen() -> None:
    door = Door()
    door.put(1, 300)
    door.run(1.6, dx=300)
    door.seen_us[1] = round((door.now_at - STEP_S) * 1e6)
    x, y = door.places[1]
    door.put(2, x - 30, y)  # has stopped, while the first one is thought to go on
    door.run(0.4)
    door.take(1)
    door.run(2)
    door.take(2)
    door.run(10)
    assert len(door.people()) == 1


def test_a_track_that_was_missed_for_a_moment_is_not_lost_to_who_comes_then() -> None:
    door = Door()
    door.put(1, 500)
    door.run(2)
    place = door.take(1)
    door.run(0.2)
    door.put(2, 520)
    door.run(0.6)
    door.put(1, *place)
    door.run(2)
    door.take(1)
    door.take(2)
    door.run(10)
    assert len(door.people()) == 2


def test_an_outage_of_the_camera_does_not_make_two_of_one() -> None:
    door = Door()
    door.put(1)
    door.run(2)
    door.take(1)
    door.now_s += 30
    door.session, door.seq = 2, 0
    door.put(2)
    door.run(2)
    door.take(2)
    door.run(10)
    assert len(door.people()) == 1


def test_a_camera_that_is_silent_for_long_has_lost_its_people() -> None:
    door = Door()
    door.put(1)
    door.run(2)
    door.visits.expire(door.now_s + SILENT_S / 2)
    assert door.people() == []
    door.visits.expire(door.now_s + SILENT_S + 1)
    assert len(door.people()) == 1


def test_a_frame_that_comes_late_changes_nothing() -> None:
    door = Door()
    door.put(1)
    door.run(2)
    door.seq -= 5
    door.put(9, 100)
    door.frame()
    door.take(9)
    door.seq += 5
    door.visits.finalize_all()
    assert len(door.people()) == 1


def test_the_number_of_open_visits_is_bounded() -> None:
    door = Door()
    for track in range(1, 700):
        door.put(track, 20 + (track * 37) % 1200, 20 + (track * 91) % 680)
    door.run(0.4)
    assert len(door.visits._visits) == 512


def test_who_was_there_before_the_annotator_is_counted_when_he_is_known() -> None:
    door = Door()
    door.now_s = 600.0
    door.put(1)
    door.first_detected_us[1] = round(START_AT * 1e6)
    door.frame()
    assert door.counted == []
    door.answer(1, 35, 0.95, times=3)
    door.run(RULE.count_after_s + 1)
    (person,) = door.people()
    assert person.estimate.female_probability is not None


def test_a_clock_that_is_set_back_counts_nobody_again() -> None:
    class Behind(Door):
        behind_s = 0.0

        @property
        def now_at(self) -> float:
            return super().now_at - self.behind_s

    door = Behind()
    for track, x in ((1, 200), (2, 600), (3, 1000)):
        door.put(track, x)
    door.run(5)
    door.behind_s = 60.0
    door.run(15)
    door.visits.finalize_all()
    assert len(door.people()) == 3


def test_who_looks_away_all_day_takes_no_more_memory_for_it() -> None:
    door = Door()
    for track in range(1, 60):
        door.put(track)
        door.answer(track, 35, 0.95, times=3)
        door.run(1.2)
        door.take(track)
        door.run(1.0)
    (visit,) = door.visits._visits
    assert len(visit.parts) < 5
    assert len(door.visits._by_track) < 5
    assert visit.seen_s() == pytest.approx(59 * 1.0, rel=0.15)
    assert visit.shown().predictions == 3 * 59


def test_who_comes_back_is_told_by_a_new_sight_whichever_picture_brings_it() -> None:
    """As while somebody watches: pictures are newer than the search that they tell of."""
    door = Door()
    door.put(1, 600)
    door.answer(1, 35, 0.95, times=3)
    door.run(2)
    door.take(1)  # hidden by somebody who steps before her
    door.run(1)
    door.put(2, 620)
    door.run(2)
    door.put(1, 500)
    for _ in range(10):
        seen_us = round(door.now_at * 1e6)
        door.seen_us = {1: seen_us, 2: seen_us}
        door.now_s += STEP_S
        door.frame()
    door.seen_us = {}
    door.take(1)
    door.take(2)
    door.run(10)
    assert len(door.people()) == 2


def test_a_prediction_that_is_reckoned_a_little_later_is_no_new_sight() -> None:
    """One face with two tracks in turn: the one that was missed is still told of for a moment."""
    door = Door()
    door.put(1)
    door.answer(1, 35, 0.95, times=3)
    door.run(2)
    for _ in range(4):
        for seen, missed in ((2, 1), (1, 2)):
            last_us = round((door.now_at - STEP_S) * 1e6)
            door.put(seen, 610)
            door.seen_us = {missed: last_us + 3}
            door.frame()
            door.now_s += STEP_S
            door.take(missed)
            door.seen_us = {}
            door.run(1.0)
    door.visits.finalize_all()
    assert len(door.people()) == 1
