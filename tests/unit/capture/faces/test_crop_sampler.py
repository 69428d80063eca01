"""Crop sampling: when a crop is sent, and which candidate."""

import numpy as np
import pytest
from facestream.capture.faces.crop_sampler import (
    FIRST_INTERVALS_S,
    MAX_CROPS_PER_DETECTION,
    Candidate,
    Sampler,
)
from facestream.common.vision.crop_quality import crop_quality, frontality
from facestream.common.vision.face_alignment import TEMPLATE

STEP_S = 0.2


def _selected(qualities: list[float], interval_s: float = 1.0) -> list[Candidate[int]]:
    sampler: Sampler[int] = Sampler(interval_s)
    candidates = (Candidate(i * STEP_S, q, i) for i, q in enumerate(qualities))
    return [best for candidate in candidates for best in sampler.select({1: candidate}).values()]


def test_the_first_crop_of_a_new_face_is_sent_at_once() -> None:
    assert _selected([0.3])[0].payload == 0


def test_crops_of_a_new_face_are_sent_at_shorter_intervals() -> None:
    times = [candidate.detected_at for candidate in _selected([0.2] * 50)]
    gaps = np.diff(times)
    assert list(gaps[:2]) == pytest.approx([0.4, 0.4])  # 0.3 and 0.4 s, at the next detection
    assert gaps[3:].min() == pytest.approx(1.0)
    assert len(FIRST_INTERVALS_S) == 3


def test_the_best_recent_candidate_is_sent() -> None:
    qualities = [0.1] * 30
    qualities[16] = 0.9
    assert 16 in [candidate.payload for candidate in _selected(qualities)]


def test_a_candidate_outside_the_window_is_not_sent() -> None:
    # Sent at 0, 0.4, 0.8 and 1.6 s, then at 2.6 s: the candidate at 1.8 s is too old by then.
    qualities = [0.1] * 14
    qualities[9] = 0.9
    assert _selected(qualities)[-1].payload > 9


def test_the_settled_interval_is_the_setting() -> None:
    assert len(_selected([0.5] * 51, interval_s=5.0)) == 5  # 10 s: at 0, 0.4, 0.8, 1.6 and 6.6 s


def test_a_settled_face_is_sampled_less_often() -> None:
    times = [candidate.detected_at for candidate in _selected([0.7] * 80)]
    assert times[:5] == pytest.approx([0.0, 0.4, 0.8, 1.6, 2.6])  # total quality 3.5
    assert list(np.diff(times[4:])) == pytest.approx([4.0] * 3)


def test_a_better_candidate_of_a_settled_face_is_sent() -> None:
    qualities = [0.7] * 30
    qualities[20] = 0.9
    assert 20 in [candidate.payload for candidate in _selected(qualities)]


def test_a_dropped_track_starts_over() -> None:
    sampler: Sampler[int] = Sampler(1.0)
    assert sampler.select({1: Candidate(0.0, 0.5, 0)})
    sampler.retain_only({2})
    assert sampler.select({1: Candidate(0.2, 0.5, 1)})


def test_a_face_that_is_nearly_due_piggybacks_on_another() -> None:
    sampler: Sampler[int] = Sampler(1.0)

    def selected(at: float, *tracks: int) -> list[int]:
        return list(sampler.select({track: Candidate(at, 0.1, 0) for track in tracks}))

    assert selected(0.0, 1) == [1]
    assert selected(0.1, 1, 2) == [2]  # the first waits 0.3 s, and a third of it is over
    assert selected(0.2, 1, 2) == []  # two thirds, but no other face is due
    assert selected(0.3, 1, 2) == [1, 2]


def test_a_better_candidate_is_sent_after_an_early_crop() -> None:
    sampler: Sampler[int] = Sampler(1.0)
    sent = []
    for i in range(60):
        at = i * STEP_S
        candidates = {1: Candidate(at, 0.9 if i == 35 else 0.7, i)}
        if i == 26:  # 2.6 s of the four after the fifth crop, at 2.6 s
            candidates[2] = Candidate(at, 0.5, i)
        if 1 in sampler.select(candidates):
            sent.append(i)
    assert sent[:6] == [0, 2, 4, 8, 13, 26]
    assert 35 in sent


def test_piggybacking_does_not_raise_the_rate_of_a_face() -> None:
    sampler: Sampler[int] = Sampler(1.0)
    sent = 0
    for i in range(200):  # 40 s, and a new face each second
        at, newcomer = i * STEP_S, 10 + i // 5
        selected = sampler.select({t: Candidate(at, 0.01, 0) for t in (1, newcomer)})
        sent += 1 in selected
    assert sent <= 40 + len(FIRST_INTERVALS_S) + 1


def test_a_straight_face_is_frontal_at_any_angle() -> None:
    angle = np.deg2rad(40)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    upright = TEMPLATE * 100
    assert frontality(upright) > 0.95
    assert frontality((upright @ turn.T).astype(np.float32)) == pytest.approx(
        frontality(upright), abs=1e-4
    )


def test_a_face_in_profile_is_not_frontal() -> None:
    profile = TEMPLATE * 100
    profile[2, 0] = profile[1, 0] + 10  # the nose beyond the left eye
    assert frontality(profile) == 0.0


@pytest.mark.parametrize("landmarks", [np.zeros((5, 2)), np.full((5, 2), np.nan)])
def test_degenerate_landmarks_are_not_frontal(landmarks: np.ndarray) -> None:
    assert frontality(landmarks.astype(np.float32)) == 0.0


def test_quality_grows_with_each_of_its_parts() -> None:
    base = crop_quality(40, 100, 0.5, 0.7)
    assert 0 < base < 1
    assert crop_quality(80, 100, 0.5, 0.7) > base
    assert crop_quality(40, 300, 0.5, 0.7) > base
    assert crop_quality(40, 100, 0.9, 0.7) > base
    assert crop_quality(40, 100, 0.5, 0.9) > base
    assert crop_quality(4000, 1e9, 1.0, 1.0) <= 1.0


def test_a_crowd_sends_a_bounded_number_of_crops_and_every_face_gets_its_turn() -> None:
    sampler: Sampler[int] = Sampler(1.0)
    sent: list[int] = []
    for step in range(50):
        candidates = {track: Candidate(step * STEP_S, 0.5, track) for track in range(64)}
        selected = sampler.select(candidates)
        assert len(selected) <= MAX_CROPS_PER_DETECTION
        sent += selected
    assert len(sent) <= 50 * MAX_CROPS_PER_DETECTION
    assert set(sent) == set(range(64))
