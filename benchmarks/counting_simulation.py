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
from facestream.common.vision.tracker import Box, Tracker, iou

RATES = (5.0, 2.5, 1.0, 0.5, 0.25)  # detections per second
SESSION_S = 600.0
WIDTH, HEIGHT = 1280, 720
MIN_VIEW_S = 4.0  # people in view for less are not scored as missed
_JITTER = 0.03  # of a face size, standard deviation of a box's center
_MISS = 0.04  # probability that a frontal face is not detected
_FALSE_PER_S = 0.01  # false detections per second of detections at 5/s, scaled by the rate
_LATENCY_S = 0.3  # from a crop to its result
_INTERVAL_SPREAD = 0.25  # detections under load are not evenly spaced
# Mean walking speed in face sizes per second, with smooth starts and stops; a face is 0.16 m wide.
_SPEED = (1.5, 5.0)
_APART = 1.3  # face sizes between two people who stand
_HIDDEN_IOU = 0.2  # a nearer face hides one that overlaps it by more
# Most of the network's error belongs to the face and repeats (attribute_fusion.CORRELATION).
_AGE_BIAS_YEARS, _AGE_NOISE_YEARS = 4.5, 3.0
_GENDER_LOGIT, _GENDER_LOGIT_BIAS, _GENDER_LOGIT_NOISE = 3.0, 1.5, 0.8
_THRESHOLDS = DisplayThresholds(0.4, 30.0, 0.8)


@dataclass(frozen=True, slots=True)
class Person:
    """One visitor who walks in, stays and walks out. Times in seconds, lengths in pixels."""

    number: int
    enter_s: float
    leave_s: float
    x: float
    y: float
    size: float
    speed: float
    from_left: bool
    to_left: bool
    sway_px: float
    turned_away: tuple[tuple[float, float], ...]
    age: float  # what the network sees on average
    female_logit: float

    def center(self, at_s: float) -> tuple[float, float] | None:
        """Return the face's center at this time; None outside the view."""
        if not self.enter_s <= at_s <= self.leave_s:
            return None
        start, end = (-self.size / 2, WIDTH + self.size / 2)
        first = start if self.from_left else end
        exit_x = start if self.to_left else end
        in_s, out_s = abs(self.x - first) / self.speed, abs(exit_x - self.x) / self.speed
        since, left = at_s - self.enter_s, self.leave_s - at_s
        x = self.x + self.sway_px * math.sin(2 * math.pi * 0.2 * at_s + self.number)
        if since < in_s:
            x = first + (x - first) * _ease(since / in_s)
        elif left < out_s:
            x = exit_x + (x - exit_x) * _ease(left / out_s)
        return x, self.y + 0.3 * self.sway_px * math.sin(2 * math.pi * 0.13 * at_s)

    def is_frontal(self, at_s: float) -> bool:
        """Return whether the face can be detected now."""
        return not any(begin <= at_s < end for begin, end in self.turned_away)


def _ease(share: float) -> float:
    """Return the share of a way that is covered after this share of its time: smoothstep."""
    return share * share * (3 - 2 * share)


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


def visitors(seed: int, length_s: float = SESSION_S, at_once: int = 3) -> list[Person]:
    """Return a reproducible schedule of people."""
    rng = random.Random(seed)
    people: list[Person] = []
    at_s = 1.0
    while True:
        at_s += rng.expovariate(1 / 4.0)
        size = rng.uniform(50, 160)
        speed = rng.uniform(*_SPEED) * size
        stay_s = rng.choice((1.5, 3.0, 6.0, 15.0, 40.0)) * rng.uniform(0.8, 1.2)
        x = rng.uniform(0.15, 0.85) * WIDTH
        from_left, to_left = rng.random() < 0.5, rng.random() < 0.5
        way = (x if from_left else WIDTH - x) + (x if to_left else WIDTH - x) + size
        leave_s = at_s + stay_s + way / speed
        if leave_s > length_s - 30:
            return people
        present = [p for p in people if p.leave_s > at_s]
        y = rng.uniform(0.25, 0.6) * HEIGHT
        crowded = any(math.hypot(p.x - x, p.y - y) < _APART * max(p.size, size) for p in present)
        if len(present) >= at_once or crowded:
            continue
        away = []
        # People who turn away while walking off are not detected again: interrupt stays only.
        stands_s = at_s + (x if from_left else WIDTH - x) / speed + 0.5
        walks_s = leave_s - (x if to_left else WIDTH - x) / speed - 0.5
        t = stands_s
        while True:
            t += rng.expovariate(1 / 8.0)
            length = rng.choice((0.4, 0.8, 1.5, 2.5))
            if t + length > walks_s:
                break
            away.append((t, t + length))
            t += length + 1.0
        people.append(
            Person(
                len(people), at_s, leave_s, x, y, size, speed,
                from_left, to_left, rng.uniform(0, 0.5) * size, tuple(away),
                rng.uniform(5, 80) + rng.gauss(0, _AGE_BIAS_YEARS),
                rng.choice((-1, 1)) * rng.gauss(_GENDER_LOGIT, _GENDER_LOGIT_BIAS),
            )
        )  # fmt: skip


def visible_faces(people: Sequence[Person], at_s: float) -> list[tuple[Person, Box]]:
    """Return the true boxes of the faces that a camera sees: frontal, inside, not hidden."""
    found: list[tuple[Person, Box]] = []
    present = [p for p in people if p.enter_s <= at_s <= p.leave_s]
    for person in sorted(present, key=lambda p: -p.size):  # nearest first
        center = person.center(at_s)
        if center is None or not person.is_frontal(at_s):
            continue
        x, y = center
        if not 0.2 * person.size < x < WIDTH - 0.2 * person.size:
            continue
        box = (x - person.size / 2, y - person.size / 2, person.size, person.size)
        if not any(iou(box, other) > _HIDDEN_IOU for _, other in found):
            found.append((person, box))
    return found


def seconds_in_view(people: Sequence[Person], length_s: float) -> dict[int, float]:
    """Return for each person for how long the face was visible."""
    step_s = 0.1
    seen: dict[int, float] = {}
    for step in range(round(length_s / step_s)):
        for person, _ in visible_faces(people, step * step_s):
            seen[person.number] = seen.get(person.number, 0.0) + step_s
    return seen


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
