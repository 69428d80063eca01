"""Following faces from detection to detection."""

import math
from collections.abc import Callable
from itertools import pairwise
from random import Random

from facestream.capture.faces.tracker import (
    LOST_TRACK_BUFFER_S,
    MAX_LOOK_GAP_S,
    VISIBLE_TIMEOUT_S,
    Box,
    Tracker,
    iou,
)

STEP_S = 0.2


def _walk(x: float) -> Box:
    return (x, 100.0, 50.0, 60.0)


def test_a_walking_face_keeps_its_track() -> None:
    tracker = Tracker(1)
    seen = {
        face.track
        for i in range(20)
        for face in tracker.update([_walk(20.0 * i)], [0.9], i * STEP_S)
        if face
    }
    assert seen == {1}


def test_a_face_too_fast_to_overlap_keeps_its_track() -> None:
    tracker = Tracker(1)
    for i in range(6):
        (face,) = tracker.update([_walk(45.0 * i)], [0.9], i * STEP_S)
        assert face is not None
        assert face.track == 1


def test_a_face_that_walks_in_fast_is_one_track_from_its_second_sight() -> None:
    tracker = Tracker(1)
    for i in range(6):
        (face,) = tracker.update([_walk(100.0 * i)], [0.9], i * STEP_S)
        assert face is not None
        assert face.track == 1


def test_between_detections_the_box_moves_on() -> None:
    tracker = Tracker(1)
    for i in range(10):
        tracker.update([_walk(20.0 * i)], [0.9], i * STEP_S)
    (face,) = tracker.visible(9 * STEP_S)
    x, y, w, h = face.box_at(9 * STEP_S + 0.1)
    assert math.isclose(x, 190.0, abs_tol=2.0)
    assert math.isclose(y, 100.0, abs_tol=0.5)
    assert (round(w), round(h)) == (50, 60)


def _calm_after(steps: list[float], gap_s: float = 1 / 3) -> bool:
    """Of a face whose left edge was there, one look after the other."""
    tracker = Tracker(1)
    for i, x in enumerate(steps):
        tracker.update([_walk(x)], [0.9], i * STEP_S)
    return tracker.is_calm((len(steps) - 1) * STEP_S, gap_s)


def test_calm_is_where_known_faces_move_little() -> None:
    assert Tracker(1).is_calm(0.0, 1 / 3)
    assert not _calm_after([0.0, 2.0])  # a new face
    assert _calm_after([0.0, 2.0, 4.0])
    assert not _calm_after([0.0, 20.0, 40.0, 60.0])  # 33 of 55 pixels in the gap
    assert _calm_after([0.0, 20.0, 40.0, 60.0], gap_s=0.2)


def test_a_face_just_lost_is_waited_for_but_not_for_ever() -> None:
    tracker = Tracker(1)
    for i in range(4):
        tracker.update([_walk(0.0)], [0.9], i * STEP_S)
    tracker.update([], [], 0.8)
    assert not tracker.is_calm(0.8, 1 / 3)
    tracker.update([], [], 0.6 + VISIBLE_TIMEOUT_S + 0.01)
    assert tracker.is_calm(0.6 + VISIBLE_TIMEOUT_S + 0.01, 1 / 3)


def test_a_face_lost_for_a_moment_keeps_its_track() -> None:
    tracker = Tracker(1)
    tracker.update([_walk(0)], [0.9], 0.0)
    tracker.update([_walk(4)], [0.9], 0.2)
    for now in (0.4, 0.6, 0.8):
        tracker.update([], [], now)
    assert tracker.visible(0.8) == ()
    (face,) = tracker.update([_walk(12)], [0.9], 1.0)
    assert face is not None
    assert face.track == 1
    assert face.first_seen == 0.0


def test_a_face_lost_for_long_is_another_track() -> None:
    tracker = Tracker(1)
    tracker.update([_walk(0)], [0.9], 0.0)
    tracker.update([], [], LOST_TRACK_BUFFER_S + 0.1)
    assert tracker.live_track_ids() == set()
    (face,) = tracker.update([_walk(0)], [0.9], LOST_TRACK_BUFFER_S + 0.3)
    assert face is not None
    assert face.track == 2


def test_who_stands_there_after_a_long_stall_may_be_anybody() -> None:
    tracker = Tracker(1)
    tracker.update([_walk(0)], [0.9], 0.0)
    (same,) = tracker.update([_walk(0)], [0.9], MAX_LOOK_GAP_S - 0.1)  # looks are rare, but come
    (other,) = tracker.update([_walk(0)], [0.9], 2 * MAX_LOOK_GAP_S)
    assert same is not None
    assert other is not None
    assert (same.track, other.track) == (1, 2)


def test_where_looks_are_rare_by_setting_tracks_go_on() -> None:
    tracker = Tracker(1, gap_s=4.0)
    tracker.update([_walk(0)], [0.9], 0.0)
    (same,) = tracker.update([_walk(0)], [0.9], 4.2)
    assert same is not None
    assert same.track == 1


def test_a_lost_face_is_reported_for_a_moment_only() -> None:
    tracker = Tracker(1)
    tracker.update([_walk(0)], [0.9], 0.0)
    assert len(tracker.visible(VISIBLE_TIMEOUT_S - 0.01)) == 1
    assert tracker.visible(VISIBLE_TIMEOUT_S + 0.01) == ()


def test_a_doubtful_face_needs_a_second_sight() -> None:
    tracker = Tracker(1)
    assert tracker.update([_walk(0)], [0.62], 0.0) == [None]
    assert tracker.visible(0.0) == ()
    (face,) = tracker.update([_walk(2)], [0.62], 0.2)
    assert face is not None


def test_a_doubtful_face_seen_once_leaves_no_trace() -> None:
    tracker = Tracker(1)
    tracker.update([_walk(0)], [0.62], 0.0)
    tracker.update([], [], 0.2)
    assert tracker.live_track_ids() == set()


def test_two_faces_that_pass_each_other_keep_their_tracks() -> None:
    tracker = Tracker(1)
    for i in range(20):
        left, right = 10.0 + 20 * i, 400.0 - 20 * i
        answers = tracker.update(
            [(left, 100.0, 40.0, 40.0), (right, 130.0, 40.0, 40.0)], [0.9, 0.9], i * STEP_S
        )
    assert [face.track for face in answers if face] == [1, 2]


def test_faces_are_told_apart_by_size() -> None:
    tracker = Tracker(1)
    tracker.update([(100.0, 100.0, 100.0, 100.0)], [0.9], 0.0)
    (face,) = tracker.update([(140.0, 140.0, 20.0, 20.0)], [0.9], 0.2)
    assert face is not None
    assert face.track == 2


def test_time_that_stands_still_does_no_harm() -> None:
    tracker = Tracker(1)
    tracker.update([_walk(0)], [0.9], 5.0)
    (face,) = tracker.update([_walk(9)], [0.9], 5.0)
    assert face is not None
    assert all(math.isfinite(value) for value in face.box_at(6.0))


def test_overlap_of_boxes() -> None:
    assert iou((0, 0, 2, 2), (1, 0, 2, 2)) == 1 / 3
    assert iou((0, 0, 2, 2), (5, 5, 2, 2)) == 0.0


def _walk_as(place: Callable[[float], float], seconds: float) -> tuple[list[float], list[float]]:
    """How far the box runs ahead of a face, in face widths, at each of 30 pictures a second.

    Args:
        place: where the face's middle is at a time, in face widths; it is looked at as calm allows.

    Returns:
        the times, and how far ahead.
    """
    tracker, look_at = Tracker(1), 0.0
    times, ahead = [], []
    for i in range(round(seconds * 30)):
        now = i / 30
        if now >= look_at:
            tracker.update([(50.0 * place(now), 100.0, 50.0, 60.0)], [0.9], now)
            look_at = now + (1 / 3 if tracker.is_calm(now, 1 / 3) else STEP_S)
        (face,) = tracker.visible(now)
        times.append(now)
        ahead.append(face.box_at(now)[0] / 50.0 - place(now))
    return times, ahead


def test_a_box_keeps_up_with_a_face_that_walks() -> None:
    times, ahead = _walk_as(lambda t: 2.0 * t, 3.0)
    assert max(abs(off) for t, off in zip(times, ahead, strict=True) if t > 0.5) < 0.15


def test_a_box_hardly_runs_ahead_of_a_face_that_stops() -> None:
    """Until it is looked at, nobody knows; from then on the box stays with it."""
    stops_at = 1.5
    times, ahead = _walk_as(lambda t: 2.0 * min(t, stops_at), 3.0)
    after = [(t - stops_at, off) for t, off in zip(times, ahead, strict=True) if t >= stops_at]
    assert max(off for _, off in after) < 0.35
    assert max(abs(off) for since, off in after if since > STEP_S) < 0.15
    assert max(abs(off) for since, off in after if since > 2.5 * STEP_S) < 0.03


def test_a_box_follows_a_face_that_turns_round_from_its_second_look_on() -> None:
    turns_at = 1.5
    times, ahead = _walk_as(lambda t: 2.0 * (t if t < turns_at else 2 * turns_at - t), 3.0)
    after = [(t - turns_at, off) for t, off in zip(times, ahead, strict=True) if t >= turns_at]
    assert max(abs(off) for since, off in after if since > 2 * STEP_S) < 0.2


def test_a_box_of_a_face_that_stays_trembles_less_than_what_the_detector_says() -> None:
    random = Random(1)
    said = [random.gauss(0, 1.0) for _ in range(200)]
    tracker, shown = Tracker(1), []
    for i, x in enumerate(said):
        tracker.update([_walk(100 + x)], [0.9], i * STEP_S)
        shown.append(tracker.visible(i * STEP_S)[0].x)
    assert _tremble(shown) < 0.7 * _tremble(said)


def _tremble(values: list[float]) -> float:
    return math.sqrt(sum((b - a) ** 2 for a, b in pairwise(values)) / (len(values) - 1))


def test_a_face_missed_by_two_looks_is_not_reported() -> None:
    tracker = Tracker(1)
    tracker.update([_walk(0)], [0.9], 0.0)
    tracker.update([], [], 0.2)
    assert len(tracker.visible(0.2)) == 1
    tracker.update([], [], 0.4)
    assert tracker.visible(0.4) == ()
    tracker.update([_walk(0)], [0.9], 0.6)
    assert [face.track for face in tracker.visible(0.6)] == [1]
    tracker.update([], [], 0.8)
    assert len(tracker.visible(0.8)) == 1
