"""Track the people of one video and fuse their predictions, as the live pipeline does. No I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facestream.common.vision.age_distribution import central_interval, quantile
from facestream.common.vision.attribute_fusion import Estimate
from facestream.common.vision.displayed_estimate import DisplayedEstimate, DisplayThresholds
from facestream.common.vision.tracker import Box, Tracker
from facestream.predict.predictor import FaceObservation

_FALLBACK_AGE_STD = 8.0  # years, for a model without an age distribution


@dataclass(frozen=True, slots=True)
class PersonPrediction:
    """One person of a video: the fused predictions of one track.

    person: number in the video, from 1; first_s, last_s: seconds after the first frame; best_s:
    time of the frame with the best crop; box: x, y, width, height in that frame; score: of the
    detector in that frame; age, age_low, age_high: years; female: probability, 0-1; observations:
    number of detections. A value is None if the model has no head for it.
    """

    person: int
    first_s: float
    last_s: float
    best_s: float
    box: Box
    score: float
    age: float | None
    age_low: float | None
    age_high: float | None
    female: float | None
    observations: int

    @property
    def dwell_s(self) -> float:
        """Seconds from the first to the last detection."""
        return self.last_s - self.first_s


class _Person:
    def __init__(self, first_s: float) -> None:
        self.first_s = self.last_s = first_s
        self.estimate = Estimate(DisplayThresholds())
        self.observations = 0
        self.has_age = self.has_gender = False
        self.best: tuple[float, float, FaceObservation] | None = None  # quality, time, face

    def add(self, observed: FaceObservation, time_s: float) -> None:
        face = observed.face
        self.last_s, self.observations = time_s, self.observations + 1
        self.has_age |= face.age is not None
        self.has_gender |= face.female is not None
        self.estimate.add(
            observed.age_distribution,
            math.nan if face.age is None else face.age,
            _FALLBACK_AGE_STD,
            math.nan if face.female is None else face.female,
            observed.quality,
        )
        if self.best is None or observed.quality > self.best[0]:
            self.best = observed.quality, time_s, observed


class PersonTracker:
    """Tracks of one video.

    Args:
        interval_s: seconds between two detections.
    """

    def __init__(self, interval_s: float) -> None:
        self._tracker = Tracker(1, interval_s)
        self._people: dict[int, _Person] = {}

    def update(self, faces: Sequence[FaceObservation], time_s: float) -> None:
        """Add the faces of one frame; times must not decrease."""
        tracks = self._tracker.update(
            [observed.face.box for observed in faces],
            [observed.face.score for observed in faces],
            time_s,
        )
        for observed, track in zip(faces, tracks, strict=True):
            if track is not None:
                person = self._people.setdefault(track.track, _Person(track.first_detected_at))
                person.add(observed, time_s)

    def labels(self, time_s: float) -> list[tuple[Box, DisplayedEstimate]]:
        """Return the boxes to draw at a time, with the estimates so far."""
        return [
            (face.box_at(time_s), self._people[face.track].estimate.shown)
            for face in self._tracker.visible(time_s)
            if face.track in self._people
        ]

    def people(self) -> list[PersonPrediction]:
        """Return the people so far, in order of their first detection."""
        people = sorted(self._people.values(), key=lambda person: person.first_s)
        return [_fuse(number, person) for number, person in enumerate(people, 1)]


def _fuse(number: int, person: _Person) -> PersonPrediction:
    assert person.best is not None
    _, best_s, best = person.best
    age = low = high = None
    if person.has_age:
        ages = person.estimate.age_distribution()
        age = float(np.asarray(quantile(ages, 0.5)))
        low, high = (float(np.asarray(side)) for side in central_interval(ages))
    return PersonPrediction(
        person=number,
        first_s=person.first_s,
        last_s=person.last_s,
        best_s=best_s,
        box=best.face.box,
        score=best.face.score,
        age=age,
        age_low=low,
        age_high=high,
        female=person.estimate.female_probability() if person.has_gender else None,
        observations=person.observations,
    )
