"""Following faces from detection to detection."""

import math

from services.capture.tracker import KEPT_S, SHOWN_S, Box, Tracker, iou

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
    (face,) = tracker.shown(9 * STEP_S)
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
    tracker.update([], [], 0.6 + SHOWN_S + 0.01)
    assert tracker.is_calm(0.6 + SHOWN_S + 0.01, 1 / 3)


def test_a_face_lost_for_a_moment_keeps_its_track() -> None:
    tracker = Tracker(1)
    tracker.update([_walk(0)], [0.9], 0.0)
    tracker.update([_walk(4)], [0.9], 0.2)
    for now in (0.4, 0.6, 0.8):
        tracker.update([], [], now)
    assert tracker.shown(0.8) == ()
    (face,) = tracker.update([_walk(12)], [0.9], 1.0)
    assert face is not None
    assert face.track == 1
    assert face.first_seen == 0.0


def test_a_face_lost_for_long_is_another_track() -> None:
    tracker = Tracker(1)
    tracker.update([_walk(0)], [0.9], 0.0)
    tracker.update([], [], KEPT_S + 0.1)
    assert tracker.kept() == set()
    (face,) = tracker.update([_walk(0)], [0.9], KEPT_S + 0.3)
    assert face is not None
    assert face.track == 2


def test_a_lost_face_is_reported_for_a_moment_only() -> None:
    tracker = Tracker(1)
    tracker.update([_walk(0)], [0.9], 0.0)
    assert len(tracker.shown(SHOWN_S - 0.01)) == 1
    assert tracker.shown(SHOWN_S + 0.01) == ()


def test_a_doubtful_face_needs_a_second_sight() -> None:
    tracker = Tracker(1)
    assert tracker.update([_walk(0)], [0.62], 0.0) == [None]
    assert tracker.shown(0.0) == ()
    (face,) = tracker.update([_walk(2)], [0.62], 0.2)
    assert face is not None


def test_a_doubtful_face_seen_once_leaves_no_trace() -> None:
    tracker = Tracker(1)
    tracker.update([_walk(0)], [0.62], 0.0)
    tracker.update([], [], 0.2)
    assert tracker.kept() == set()


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
