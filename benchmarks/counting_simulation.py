"""Measure how visits are counted at different detection rates, in simulated time.

Usage: `python -m benchmarks.counting_simulation`.

Synthetic people walk in, stay, turn away for a moment, cross each other's paths and leave. Their
true boxes go through the real tracker and the real visit counting. The detector is replaced by a
model of its errors: position jitter, missed faces, false detections. No image is decoded, so hours
take seconds, and only the detection rate changes between two runs. `benchmarks.counting_accuracy`
measures the real detector and network.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from facestream.annotator.counting.visit import CountEvent
from facestream.annotator.counting.visit_tracker import VisitPolicy, VisitTracker
from facestream.common.broker.messages import Frame, Track
from facestream.common.vision.attribute_fusion import Estimate
from facestream.common.vision.displayed_estimate import DisplayThresholds
from facestream.common.vision.tracker import Box, Tracker

from benchmarks.simulated_people import (
    HEIGHT,
    SESSION_S,
    WIDTH,
    Person,
    seconds_in_view,
    visible_faces,
    visitors,
)

RATES = (5.0, 2.5, 1.0, 0.5, 0.25)  # detections per second
MIN_VIEW_S = 4.0  # people in view for less are not scored as missed
_JITTER = 0.03  # of a face size, standard deviation of a box's center
_MISS = 0.04  # probability that a frontal face is not detected
_FALSE_PER_S = 0.01  # false detections per second of detections at 5/s, scaled by the rate
_LATENCY_S = 0.3  # from a crop to its result
_INTERVAL_SPREAD = 0.25  # detections under load are not evenly spaced
# Most of the network's error belongs to the face and repeats (attribute_fusion.CORRELATION).
# So these are smaller than the systematic errors in `simulated_people`.
_AGE_NOISE_YEARS = 3.0
_GENDER_LOGIT_NOISE = 0.8
_THRESHOLDS = DisplayThresholds(0.4, 30.0, 0.8)


@dataclass(frozen=True, slots=True)
class Score:
    """Result of one rate: people in view for at least `MIN_VIEW_S`, how many of them were counted,
    and visits that belong to no person."""

    rate: float
    people: int
    counted: int
    visits: int
    extra: int

    @property
    def recall(self) -> float:
        """Share of people counted, 0-1."""
        return self.counted / max(1, self.people)

    @property
    def extra_share(self) -> float:
        """Extra visits per person, 0-1."""
        return self.extra / max(1, self.people)


def simulate(
    people: Sequence[Person], rate: float, policy: VisitPolicy, seed: int, length_s: float
) -> list[CountEvent]:
    """Run tracker and counting over the schedule, at this many detections per second."""
    rng = random.Random(seed)
    tracker = Tracker(1, 1.0 / rate)
    events: list[CountEvent] = []
    visits = VisitTracker(policy, events.append)
    estimates: dict[int, Estimate] = {}
    pending: list[tuple[float, int, Person]] = []
    asked_s: dict[int, float] = {}
    at_s, seq = 0.0, 0
    while at_s < length_s:
        at_s += max(0.05, rng.gauss(1.0, _INTERVAL_SPREAD if rate < 5 else 0.05)) / rate
        seq += 1
        boxes: list[Box] = []
        scores: list[float] = []
        owners: list[Person | None] = []
        for person, (x, y, w, _) in visible_faces(people, at_s):
            if rng.random() < _MISS:
                continue
            size = w * (1 + rng.gauss(0, _JITTER))
            x += w / 2 - size / 2 + rng.gauss(0, _JITTER * w)
            y += w / 2 - size / 2 + rng.gauss(0, _JITTER * w)
            boxes.append((x, y, size, size))
            scores.append(rng.uniform(0.7, 0.95))
            owners.append(person)
        if rng.random() < _FALSE_PER_S / rate:
            size = rng.uniform(40, 100)
            boxes.append((rng.uniform(0, WIDTH - size), rng.uniform(0, HEIGHT - size), size, size))
            scores.append(rng.uniform(0.6, 0.85))
            owners.append(None)
        for track, owner in zip(tracker.update(boxes, scores, at_s), owners, strict=True):
            if track is None or owner is None:
                continue
            if at_s - asked_s.get(track.track, -math.inf) >= 0.9:
                asked_s[track.track] = at_s
                pending.append((at_s + _LATENCY_S, track.track, owner))
        while pending and pending[0][0] <= at_s:
            _, number, owner = pending.pop(0)
            age = owner.age + rng.gauss(0, _AGE_NOISE_YEARS)
            logit = owner.female_logit + rng.gauss(0, _GENDER_LOGIT_NOISE)
            estimates.setdefault(number, Estimate(_THRESHOLDS)).add(
                np.empty(0, np.float32), age, 6.0, 1 / (1 + math.exp(-logit)), 0.6
            )
        frame = Frame(
            camera="door", session=1, seq=seq, captured_us=round(at_s * 1e6),
            width=WIDTH, height=HEIGHT, detected=True,
        )  # fmt: skip
        for face in tracker.visible(at_s):
            estimates.setdefault(face.track, Estimate(_THRESHOLDS))
            bx, by, bw, bh = face.box_at(at_s)
            frame.tracks.append(
                Track(
                    track=face.track,
                    x=bx,
                    y=by,
                    w=bw,
                    h=bh,
                    first_detected_us=round(face.first_detected_at * 1e6),
                    last_detected_us=round(face.last_detected_at * 1e6),
                )
            )
        visits.on_frame(frame, estimates.get, [], [], at_s, at_s)
    visits.finalize_all()
    return events


def score(
    rate: float,
    people: Sequence[Person],
    in_view_s: Mapping[int, float],
    events: Sequence[CountEvent],
) -> Score:
    """Match visits to people by time, at most one visit a person, as many as possible."""
    visits = sorted((e for e in events if e.kind == "visit"), key=lambda e: e.timestamp)
    fits = [
        [i for i, p in enumerate(people) if p.enter_s - 0.5 <= v.timestamp <= p.leave_s + 0.5]
        for v in visits
    ]
    holder: dict[int, int] = {}

    def assign(visit: int, tried: set[int]) -> bool:
        for person in fits[visit]:
            if person not in tried:
                tried.add(person)
                if person not in holder or assign(holder[person], tried):
                    holder[person] = visit
                    return True
        return False

    matched = sum(assign(i, set()) for i in range(len(visits)))
    due = [i for i, p in enumerate(people) if in_view_s.get(p.number, 0.0) >= MIN_VIEW_S]
    return Score(rate, len(due), sum(i in holder for i in due), len(visits), len(visits) - matched)


def measure(rate: float, seeds: Sequence[int], policy: VisitPolicy | None = None) -> Score:
    """Return the sum over several simulated sessions."""
    scores = []
    for seed in seeds:
        people = visitors(seed)
        events = simulate(people, rate, policy or VisitPolicy(), seed + 1000, SESSION_S)
        scores.append(score(rate, people, seconds_in_view(people, SESSION_S), events))
    return Score(
        rate,
        sum(s.people for s in scores),
        sum(s.counted for s in scores),
        sum(s.visits for s in scores),
        sum(s.extra for s in scores),
    )


def main() -> None:
    """Measure all rates and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=range(1, 11))
    parser.add_argument("--json", default="")
    arguments = parser.parse_args()
    results = []
    for rate in RATES:
        result = measure(rate, arguments.seeds)
        results.append(
            {**asdict(result), "recall": result.recall, "extra_share": result.extra_share}
        )
        print(f"{rate:5.2f}/s: {result.recall:6.1%} of {result.people} counted, "
              f"{result.extra_share:.1%} extra", flush=True)  # fmt: skip
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
