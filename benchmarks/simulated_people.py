"""Simulated people in front of a camera: who comes, where each face is, and who is visible.

Ground truth of `benchmarks.counting_simulation`. Schedules are reproducible by their seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from facestream.common.vision.tracker import Box, iou

SESSION_S = 600.0
WIDTH, HEIGHT = 1280, 720
# Mean walking speed in face sizes per second, with smooth starts and stops; a face is 0.16 m wide.
_SPEED = (1.5, 5.0)
_APART = 1.3  # face sizes between two people who stand
_HIDDEN_IOU = 0.2  # a nearer face hides one that overlaps it by more
_AGE_BIAS_YEARS = 4.5  # standard deviation of the network's systematic error for one face
_GENDER_LOGIT, _GENDER_LOGIT_BIAS = 3.0, 1.5


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
