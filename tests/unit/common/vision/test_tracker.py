"""Tracking faces from detection to detection."""

import math
from collections.abc import Callable
from itertools import pairwise
from random import Random

from facestream.common.vision.tracker import (
    LOST_TRACK_BUFFER_S,
    MAX_DETECTION_GAP_S,
    MAX_TRACKS,
    VISIBLE_TIMEOUT_S,
    Box,
    Tracker,
    iou,
)

STEP_S = 0.2


def _box_at(x: float) -> Box:
    return (x, 100.0, 50.0, 60.0)


def test_a_walking_face_keeps_its_track() -> None:
    tracker = Tracker(1)
    tracks = {
        face.track
        for i in range(20)
        for face in tracker.update([_box_at(20.0 * i)], [0.9], i * STEP_S)
        if face
    }
    assert tracks == {1}


def test_a_face_too_fast_to_overlap_keeps_its_track() -> None:
    tracker = Tracker(1)
    for i in range(6):
        (face,) = tracker.update([_box_at(45.0 * i)], [0.9], i * STEP_S)
        assert face is not None
        assert face.track == 1


def test_a_face_that_walks_in_fast_is_matched_at_its_second_detection() -> None:
    tracker = Tracker(1)
    for i in range(6):
        (face,) = tracker.update([_box_at(100.0 * i)], [0.9], i * STEP_S)
        assert face is not None
        assert face.track == 1


def test_between_detections_the_box_moves_on() -> None:
    tracker = Tracker(1)
    for i in range(10):
        tracker.update([_box_at(20.0 * i)], [0.9], i * STEP_S)
    (face,) = tracker.visible(9 * STEP_S)
    x, y, w, h = face.box_at(9 * STEP_S + 0.1)
    assert math.isclose(x, 190.0, abs_tol=2.0)
    assert math.isclose(y, 100.0, abs_tol=0.5)
    assert (round(w), round(h)) == (50, 60)


def _is_steady_after(positions: list[float], interval_s: float = 1 / 3) -> bool:
    """Return whether a face is steady after detections at these positions of its left edge."""
    tracker = Tracker(1)
    for i, x in enumerate(positions):
        tracker.update([_box_at(x)], [0.9], i * STEP_S)
    return tracker.is_steady((len(positions) - 1) * STEP_S, interval_s)


def test_faces_with_known_velocity_that_move_little_are_steady() -> None:
    assert Tracker(1).is_steady(0.0, 1 / 3)
    assert not _is_steady_after([0.0, 2.0])  # a new face
    assert _is_steady_after([0.0, 2.0, 4.0])
    assert not _is_steady_after([0.0, 20.0, 40.0, 60.0])  # 33 of 55 pixels in the interval
    assert _is_steady_after([0.0, 20.0, 40.0, 60.0], interval_s=0.2)


def test_a_face_just_lost_prevents_steadiness_for_a_limited_time() -> None:
    tracker = Tracker(1)
    for i in range(4):
        tracker.update([_box_at(0.0)], [0.9], i * STEP_S)
    tracker.update([], [], 0.8)
    assert not tracker.is_steady(0.8, 1 / 3)
    tracker.update([], [], 0.6 + VISIBLE_TIMEOUT_S + 0.01)
    assert tracker.is_steady(0.6 + VISIBLE_TIMEOUT_S + 0.01, 1 / 3)


def test_a_face_lost_for_a_moment_keeps_its_track() -> None:
    tracker = Tracker(1)
    tracker.update([_box_at(0)], [0.9], 0.0)
    tracker.update([_box_at(4)], [0.9], 0.2)
    for now in (0.4, 0.6, 0.8):
        tracker.update([], [], now)
    assert tracker.visible(0.8) == ()
    (face,) = tracker.update([_box_at(12)], [0.9], 1.0)
    assert face is not None
    assert face.track == 1
    assert face.first_detected_at == 0.0


def test_a_face_lost_for_long_is_another_track() -> None:
    tracker = Tracker(1)
    tracker.update([_box_at(0)], [0.9], 0.0)
    tracker.update([], [], LOST_TRACK_BUFFER_S + 0.1)
    assert tracker.live_track_ids() == set()
    (face,) = tracker.update([_box_at(0)], [0.9], LOST_TRACK_BUFFER_S + 0.3)
    assert face is not None
    assert face.track == 2


def test_after_a_long_stall_a_face_starts_a_new_track() -> None:
    tracker = Tracker(1)
    tracker.update([_box_at(0)], [0.9], 0.0)
    (same,) = tracker.update(
        [_box_at(0)], [0.9], MAX_DETECTION_GAP_S - 0.1
    )  # detections are rare, but regular
    (other,) = tracker.update([_box_at(0)], [0.9], 2 * MAX_DETECTION_GAP_S)
    assert same is not None
    assert other is not None
    assert (same.track, other.track) == (1, 2)


def test_tracks_survive_a_long_detection_interval() -> None:
    tracker = Tracker(1, detection_interval_s=4.0)
    tracker.update([_box_at(0)], [0.9], 0.0)
    (same,) = tracker.update([_box_at(0)], [0.9], 4.2)
    assert same is not None
    assert same.track == 1


def test_a_lost_face_is_visible_until_the_timeout() -> None:
    tracker = Tracker(1)
    tracker.update([_box_at(0)], [0.9], 0.0)
    assert len(tracker.visible(VISIBLE_TIMEOUT_S - 0.01)) == 1
    assert tracker.visible(VISIBLE_TIMEOUT_S + 0.01) == ()


def test_a_low_score_needs_a_second_detection() -> None:
    tracker = Tracker(1)
    assert tracker.update([_box_at(0)], [0.62], 0.0) == [None]
    assert tracker.visible(0.0) == ()
    (face,) = tracker.update([_box_at(2)], [0.62], 0.2)
    assert face is not None


def test_a_low_score_detected_once_leaves_no_track() -> None:
    tracker = Tracker(1)
    tracker.update([_box_at(0)], [0.62], 0.0)
    tracker.update([], [], 0.2)
    assert tracker.live_track_ids() == set()


def test_two_faces_that_pass_each_other_keep_their_tracks() -> None:
    tracker = Tracker(1)
    for i in range(20):
        left, right = 10.0 + 20 * i, 400.0 - 20 * i
        tracks = tracker.update(
            [(left, 100.0, 40.0, 40.0), (right, 130.0, 40.0, 40.0)], [0.9, 0.9], i * STEP_S
        )
    assert [face.track for face in tracks if face] == [1, 2]


def test_faces_of_different_size_are_not_matched() -> None:
    tracker = Tracker(1)
    tracker.update([(100.0, 100.0, 100.0, 100.0)], [0.9], 0.0)
    (face,) = tracker.update([(140.0, 140.0, 20.0, 20.0)], [0.9], 0.2)
    assert face is not None
    assert face.track == 2


def test_two_detections_at_the_same_time_are_harmless() -> None:
    tracker = Tracker(1)
    tracker.update([_box_at(0)], [0.9], 5.0)
    (face,) = tracker.update([_box_at(9)], [0.9], 5.0)
    assert face is not None
    assert all(math.isfinite(value) for value in face.box_at(6.0))


def test_overlap_of_boxes() -> None:
    assert iou((0, 0, 2, 2), (1, 0, 2, 2)) == 1 / 3
    assert iou((0, 0, 2, 2), (5, 5, 2, 2)) == 0.0


def _lead_of_box(
    position: Callable[[float], float], seconds: float
) -> tuple[list[float], list[float]]:
    """Return how far the box leads a face, in face widths, at 30 fps.

    Args:
        position: of the face's center at a time, in face widths; detections follow the schedule of
            steady faces.

    Returns:
        the times, and the lead at each.
    """
    tracker, next_detection_at = Tracker(1), 0.0
    times, lead = [], []
    for i in range(round(seconds * 30)):
        now = i / 30
        if now >= next_detection_at:
            tracker.update([(50.0 * position(now), 100.0, 50.0, 60.0)], [0.9], now)
            next_detection_at = now + (1 / 3 if tracker.is_steady(now, 1 / 3) else STEP_S)
        (face,) = tracker.visible(now)
        times.append(now)
        lead.append(face.box_at(now)[0] / 50.0 - position(now))
    return times, lead


def test_a_box_keeps_up_with_a_face_that_walks() -> None:
    times, lead = _lead_of_box(lambda t: 2.0 * t, 3.0)
    assert max(abs(offset) for t, offset in zip(times, lead, strict=True) if t > 0.5) < 0.15


def test_a_box_hardly_leads_a_face_that_stops() -> None:
    """The stop is unknown until the next detection; from then on the box stays with the face."""
    stops_at = 1.5
    times, lead = _lead_of_box(lambda t: 2.0 * min(t, stops_at), 3.0)
    after = [(t - stops_at, offset) for t, offset in zip(times, lead, strict=True) if t >= stops_at]
    assert max(offset for _, offset in after) < 0.35
    assert max(abs(offset) for since, offset in after if since > STEP_S) < 0.15
    assert max(abs(offset) for since, offset in after if since > 2.5 * STEP_S) < 0.03


def test_a_box_follows_a_face_that_turns_round_from_its_second_detection_on() -> None:
    turns_at = 1.5
    times, lead = _lead_of_box(lambda t: 2.0 * (t if t < turns_at else 2 * turns_at - t), 3.0)
    after = [(t - turns_at, offset) for t, offset in zip(times, lead, strict=True) if t >= turns_at]
    assert max(abs(offset) for since, offset in after if since > 2 * STEP_S) < 0.2


def test_a_box_of_a_still_face_jitters_less_than_the_detector() -> None:
    random = Random(1)
    detected = [random.gauss(0, 1.0) for _ in range(200)]
    tracker, tracked = Tracker(1), []
    for i, x in enumerate(detected):
        tracker.update([_box_at(100 + x)], [0.9], i * STEP_S)
        tracked.append(tracker.visible(i * STEP_S)[0].x)
    assert _jitter(tracked) < 0.7 * _jitter(detected)


def _jitter(values: list[float]) -> float:
    return math.sqrt(sum((b - a) ** 2 for a, b in pairwise(values)) / (len(values) - 1))


def test_a_face_missed_by_two_detections_is_not_visible() -> None:
    tracker = Tracker(1)
    tracker.update([_box_at(0)], [0.9], 0.0)
    tracker.update([], [], 0.2)
    assert len(tracker.visible(0.2)) == 1
    tracker.update([], [], 0.4)
    assert tracker.visible(0.4) == ()
    tracker.update([_box_at(0)], [0.9], 0.6)
    assert [face.track for face in tracker.visible(0.6)] == [1]
    tracker.update([], [], 0.8)
    assert len(tracker.visible(0.8)) == 1


def test_a_crowd_larger_than_the_limit_keeps_its_tracks() -> None:
    tracker = Tracker(1)
    boxes = [(60.0 * (i % 20), 60.0 * (i // 20), 40.0, 40.0) for i in range(100)]
    tracks: set[int] = set()
    for step in range(50):
        faces = tracker.update(boxes, [0.9] * len(boxes), step * 0.2)
        tracks |= {face.track for face in faces if face is not None}
    assert len(tracks) == MAX_TRACKS


def test_a_face_keeps_its_track_when_detections_are_4_s_apart() -> None:
    tracker = Tracker(1, 1 / 3)
    tracks = set()
    for step in range(20):
        (face,) = tracker.update([(100.0 + step % 2, 100.0, 50.0, 50.0)], [0.9], step * 4.0)
        assert face is not None
        tracks.add(face.track)
    assert len(tracks) <= 4  # the first gaps come as a surprise; then the interval is known
