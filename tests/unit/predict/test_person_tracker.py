"""Tests of tracking people in a video and of the fusion of their predictions."""

import numpy as np
import pytest
from facestream.predict.person_tracker import PersonTracker
from facestream.predict.predictor import FaceObservation, FacePrediction


def observation(x: float, *, age: float = 30.0, quality: float = 0.8) -> FaceObservation:
    years = np.arange(111)
    p = np.exp(-0.5 * ((years - age) / 6) ** 2)
    return FaceObservation(
        FacePrediction((x, 50.0, 80.0, 90.0), 0.9, age, age - 8, age + 8, 0.9),
        quality,
        np.asarray(p / p.sum(), np.float32),
    )


def test_two_people_are_two_results_with_their_times() -> None:
    tracker = PersonTracker(0.2)
    for i in range(20):
        faces = [observation(10 + 4 * i)]
        if i >= 10:
            faces.append(observation(600, age=60, quality=0.9 if i == 15 else 0.5))
        tracker.update(faces, i * 0.2)
    first, second = tracker.people()
    assert (first.person, second.person) == (1, 2)
    assert (first.first_s, first.observations) == (0.0, 20)
    assert first.last_s == pytest.approx(3.8)
    assert second.dwell_s == pytest.approx(1.8)
    assert second.best_s == pytest.approx(3.0)
    assert first.age == pytest.approx(30, abs=1)
    assert second.age == pytest.approx(60, abs=1)
    assert second.age_low == pytest.approx(60 - 6 * 1.28, abs=4)
    assert second.age_high == pytest.approx(60 + 6 * 1.28, abs=4)


def test_a_blurred_crop_hardly_changes_the_fused_age() -> None:
    tracker = PersonTracker(0.2)
    for i in range(10):
        tracker.update([observation(10, age=80, quality=0.02) if i % 2 else observation(10)], i / 5)
    (person,) = tracker.people()
    assert person.age == pytest.approx(30, abs=2)


def test_models_without_a_head_give_none() -> None:
    tracker = PersonTracker(0.2)
    face = FacePrediction((1.0, 1.0, 50.0, 50.0), 0.9, None, None, None, None)
    tracker.update([FaceObservation(face, 0.5, np.zeros(0, np.float32))], 0.0)
    (person,) = tracker.people()
    assert (person.age, person.age_low, person.female) == (None, None, None)


def test_labels_follow_the_faces_between_detections() -> None:
    tracker = PersonTracker(0.2)
    for i in range(5):
        tracker.update([observation(10 + 20 * i)], i * 0.2)
    ((box, estimate),) = tracker.labels(0.85)
    assert box[0] > 90
    assert estimate.predictions == 5
