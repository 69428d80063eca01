"""When a face is asked about, and with which moment."""

import numpy as np
import pytest
from facestream.capture.faces.crop_sampler import (
    FIRST_INTERVALS_S,
    Candidate,
    Sampler,
    frontality,
    quality,
)
from facestream.common.vision.face_alignment import TEMPLATE

STEP_S = 0.2


def _asked(qualities: list[float], interval_s: float = 1.0) -> list[Candidate[int]]:
    sampler: Sampler[int] = Sampler(interval_s)
    moments = (Candidate(i * STEP_S, q, i) for i, q in enumerate(qualities))
    return [best for moment in moments for best in sampler.select({1: moment}).values()]


def test_a_new_face_is_asked_about_at_once() -> None:
    assert _asked([0.3])[0].sight == 0


def test_a_new_face_is_asked_about_sooner_than_an_old_one() -> None:
    times = [moment.at for moment in _asked([0.2] * 50)]
    gaps = np.diff(times)
    assert list(gaps[:2]) == pytest.approx([0.4, 0.4])  # 0.3 and 0.4 s, at the next detection
    assert gaps[3:].min() == pytest.approx(1.0)
    assert len(FIRST_INTERVALS_S) == 3


def test_the_best_of_the_last_moments_is_taken() -> None:
    qualities = [0.1] * 30
    qualities[16] = 0.9
    assert 16 in [moment.sight for moment in _asked(qualities)]


def test_a_moment_too_long_ago_is_not_taken() -> None:
    # Asked at 0, 0.4, 0.8 and 1.6 s, then at 2.6 s: 1.8 s is out of reach by then.
    qualities = [0.1] * 14
    qualities[9] = 0.9
    assert _asked(qualities)[-1].sight > 9


def test_the_settled_rate_is_the_one_that_was_set() -> None:
    assert len(_asked([0.5] * 51, interval_s=5.0)) == 5  # 10 s: at 0, 0.4, 0.8, 1.6 and 6.6 s


def test_a_face_that_is_known_is_asked_about_more_rarely() -> None:
    times = [moment.at for moment in _asked([0.7] * 80)]
    assert times[:5] == pytest.approx([0.0, 0.4, 0.8, 1.6, 2.6])  # 3.5 in all
    assert list(np.diff(times[4:])) == pytest.approx([4.0] * 3)


def test_a_known_face_that_is_seen_better_than_ever_is_asked_about() -> None:
    qualities = [0.7] * 30
    qualities[20] = 0.9
    assert 20 in [moment.sight for moment in _asked(qualities)]


def test_a_forgotten_track_starts_over() -> None:
    sampler: Sampler[int] = Sampler(1.0)
    assert sampler.select({1: Candidate(0.0, 0.5, 0)})
    sampler.retain_only({2})
    assert sampler.select({1: Candidate(0.2, 0.5, 1)})


def test_a_face_whose_turn_is_near_goes_along_with_another() -> None:
    sampler: Sampler[int] = Sampler(1.0)

    def asked(at: float, *tracks: int) -> list[int]:
        return list(sampler.select({track: Candidate(at, 0.1, 0) for track in tracks}))

    assert asked(0.0, 1) == [1]
    assert asked(0.1, 1, 2) == [2]  # the first waits 0.3 s, and a third of it is over
    assert asked(0.2, 1, 2) == []  # two thirds, but nobody goes whom it could accompany
    assert asked(0.3, 1, 2) == [1, 2]


def test_who_went_along_early_is_asked_about_when_seen_better_than_ever() -> None:
    sampler: Sampler[int] = Sampler(1.0)
    asked = []
    for i in range(60):
        at = i * STEP_S
        moments = {1: Candidate(at, 0.9 if i == 35 else 0.7, i)}
        if i == 26:  # 2.6 s of the four after the fifth crop, at 2.6 s
            moments[2] = Candidate(at, 0.5, i)
        if 1 in sampler.select(moments):
            asked.append(i)
    assert asked[:6] == [0, 2, 4, 8, 13, 26]
    assert 35 in asked


def test_who_goes_along_is_not_asked_about_more_often_for_it() -> None:
    sampler: Sampler[int] = Sampler(1.0)
    asked = 0
    for i in range(200):  # 40 s, and somebody new each second
        at, newcomer = i * STEP_S, 10 + i // 5
        chosen = sampler.select({t: Candidate(at, 0.01, 0) for t in (1, newcomer)})
        asked += 1 in chosen
    assert asked <= 40 + len(FIRST_INTERVALS_S) + 1


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
def test_landmarks_without_sense_are_not_frontal(landmarks: np.ndarray) -> None:
    assert frontality(landmarks.astype(np.float32)) == 0.0


def test_quality_grows_with_each_of_its_parts() -> None:
    base = quality(40, 100, 0.5, 0.7)
    assert 0 < base < 1
    assert quality(80, 100, 0.5, 0.7) > base
    assert quality(40, 300, 0.5, 0.7) > base
    assert quality(40, 100, 0.9, 0.7) > base
    assert quality(40, 100, 0.5, 0.9) > base
    assert quality(4000, 1e9, 1.0, 1.0) <= 1.0
