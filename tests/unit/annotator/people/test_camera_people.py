"""Tracks joined with results in any order and with any delay."""

from __future__ import annotations

import pytest
from facestream.annotator.people.camera_people import MAX_TRACKS, CameraPeople
from facestream.common.broker.messages import Frame, Result, Track
from facestream.common.core.errors import MessageError
from facestream.common.vision.displayed_estimate import DisplayedEstimate, DisplayThresholds

RULE = DisplayThresholds(min_evidence=0.0, max_age_interval_years=100, min_gender_probability=0.6)
FIRST_SEEN_US = 1_000_000


def frame(tracks: list[int], at_s: float = 2.0, session: int = 1, seq: int = 0) -> Frame:
    return Frame(
        camera="door",
        session=session,
        seq=seq,
        captured_us=int(at_s * 1e6),
        width=1280,
        height=720,
        tracks=[
            Track(track=t, x=10 * t, y=20, w=30, h=40, first_detected_us=FIRST_SEEN_US)
            for t in tracks
        ],
    )


def result(track: int, session: int = 1, captured_us: int = 0) -> Result:
    return Result(
        camera="door",
        session=session,
        track=track,
        captured_us=captured_us,
        age=30,
        age_std=5,
        female=0.9,
        quality=0.8,
        model="m",
    )


def people() -> CameraPeople:
    return CameraPeople(RULE, track_retention_s=10)


def test_track_without_result_is_in_view_without_estimate() -> None:
    door = people()
    door.on_frame(frame([1]), 0.0)
    (person,) = door.in_view(0.1)
    assert person.box == (10, 20, 30, 40)
    assert person.dwell_s == pytest.approx(1.0)
    assert person.shown == DisplayedEstimate()


def test_result_is_joined_to_its_track() -> None:
    door = people()
    door.on_frame(frame([1, 2]), 0.0)
    door.add_result(result(2), 0.1)
    shown = {person.track_id: person.shown for person in door.in_view(0.2)}
    assert shown[1].predictions == 0
    assert shown[2].predictions == 1
    assert shown[2].age == pytest.approx(30, abs=0.5)


def test_early_result_waits_for_its_track() -> None:
    door = people()
    door.add_result(result(5), 0.0)
    assert door.in_view(0.1) == []
    door.on_frame(frame([5]), 0.2)
    assert door.in_view(0.3)[0].shown.predictions == 1
    assert door.evict_stale(0.4) == 0


def test_late_result_counts_when_the_track_returns() -> None:
    door = people()
    door.on_frame(frame([1]), 0.0)
    door.on_frame(frame([]), 1.0)
    door.add_result(result(1), 2.0)
    assert door.in_view(2.0) == []
    door.on_frame(frame([1]), 3.0)
    assert door.in_view(3.0)[0].shown.predictions == 1


def test_track_id_of_another_session_is_another_person() -> None:
    door = people()
    door.on_frame(frame([1]), 0.0)
    door.add_result(result(1, session=1), 0.1)
    door.on_frame(frame([1], session=2), 0.2)
    assert door.in_view(0.3)[0].shown.predictions == 0
    door.add_result(result(1, session=1), 0.4)
    assert door.in_view(0.5)[0].shown.predictions == 0


def test_older_frame_is_ignored() -> None:
    door = people()
    door.on_frame(frame([1, 2], seq=5), 0.0)
    door.on_frame(frame([1], seq=4), 0.1)
    assert len(door.in_view(0.2)) == 2


def test_wall_clock_set_back_does_not_freeze_the_view() -> None:
    door = people()
    door.on_frame(frame([1], at_s=5000.0, seq=5), 0.0)
    door.on_frame(frame([1, 2], at_s=2.0, seq=6), 0.1)
    assert len(door.in_view(0.2)) == 2


def test_duplicate_result_counts_once() -> None:
    door = people()
    door.on_frame(frame([1]), 0.0)
    assert door.add_result(result(1, captured_us=7), 0.1)
    assert not door.add_result(result(1, captured_us=7), 0.2)
    assert door.add_result(result(1, captured_us=8), 0.3)
    assert door.in_view(0.4)[0].shown.predictions == 2


def test_two_models_can_give_results_for_one_face() -> None:
    door = people()
    door.on_frame(frame([1]), 0.0)
    door.add_result(result(1, captured_us=7), 0.1)
    other = result(1, captured_us=7)
    other.model = "other"
    assert door.add_result(other, 0.2)


def test_silent_camera_has_no_people_in_view() -> None:
    door = people()
    door.on_frame(frame([1]), 0.0)
    assert door.in_view(1.9)
    assert door.in_view(2.1) == []


def test_longest_dwell_time_comes_first() -> None:
    door = people()
    door.on_frame(
        Frame(
            session=1,
            captured_us=10_000_000,
            tracks=[
                Track(track=1, w=1, h=1, first_detected_us=9_000_000),
                Track(track=2, w=1, h=1, first_detected_us=1_000_000),
            ],
        ),
        0.0,
    )
    assert [person.track_id for person in door.in_view(0.0)] == [2, 1]


def test_departed_track_is_evicted_and_reported_once() -> None:
    departed: list[DisplayedEstimate] = []
    door = CameraPeople(RULE, track_retention_s=10, on_departed=departed.append)
    door.on_frame(frame([1]), 0.0)
    door.add_result(result(1), 0.1)
    assert door.evict_stale(9.0) == 0
    assert departed == []
    door.evict_stale(11.0)
    door.evict_stale(12.0)
    assert [shown.predictions for shown in departed] == [1]


def test_results_without_a_track_are_counted() -> None:
    door = people()
    door.add_result(result(77, captured_us=1), 0.0)
    door.add_result(result(77, captured_us=2), 0.1)
    assert door.evict_stale(5.0) == 0
    assert door.evict_stale(11.0) == 2
    assert door.evict_stale(12.0) == 0


def test_number_of_tracks_is_bounded() -> None:
    door = people()
    for track in range(3 * MAX_TRACKS):
        door.add_result(result(track), track * 0.001)
    assert door.evict_stale(1.6) == 2 * MAX_TRACKS
    door.on_frame(frame([3 * MAX_TRACKS - 1]), 2.0)
    assert door.in_view(2.0)[0].shown.predictions == 1


def test_invalid_distribution_is_rejected() -> None:
    broken = result(1)
    broken.age_distribution = b"\x00"
    with pytest.raises(MessageError, match="age distribution"):
        people().add_result(broken, 0.0)


def test_slow_camera_keeps_people_in_view_between_frames() -> None:
    door = CameraPeople(RULE, 30.0)
    for seq, at_s in enumerate((0.0, 4.0)):
        door.on_frame(frame([1], at_s, seq=seq), at_s)
    assert door.in_view(9.9), "one frame in four seconds: an overloaded machine"
    assert door.in_view(14.1) == []
    door.on_frame(frame([1], 14.2, seq=2), 14.2)
    door.on_frame(frame([1], 14.4, seq=3), 14.4)
    assert door.in_view(16.5) == [], "frames come often again"


def test_any_visible_has_result() -> None:
    door = people()
    door.on_frame(frame([1]), 0.0)
    assert not door.any_visible_has_result()
    door.add_result(result(1), 0.1)
    assert door.any_visible_has_result()


def test_recent_estimates_include_departing_tracks_until_eviction() -> None:
    departed: list[DisplayedEstimate] = []
    door = CameraPeople(RULE, track_retention_s=10, on_departed=departed.append)
    door.add_result(result(2), 0.0)  # never seen
    door.on_frame(frame([1]), 0.0)
    door.add_result(result(1), 0.1)
    door.on_frame(frame([], seq=1), 1.0)
    assert door.in_view(1.1) == []
    (late,) = door.recent_estimates()
    assert late.age is not None
    door.evict_stale(11.2)
    assert door.recent_estimates() == []
    assert departed == [late]
