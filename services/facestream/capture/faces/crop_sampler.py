"""When to ask the model about a face, and with which of its moments. Pure.

Each detection of a track is a moment with a quality. A new track's first acceptable moment is taken
at once, the next ones soon after, then about one a second; from the second on, the best of the last
few moments is taken, not the latest. Answers about one face are much alike: once a track has had
enough good ones, it is asked about more rarely, unless it is seen better than ever. Two faces cost
less together than one by one, so a face whose turn is near goes along with another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

FIRST_INTERVALS_S = (0.3, 0.4, 0.8)  # after the first crop; then the settled interval
SETTLED_QUALITY = 3.0  # of all moments taken; from there on …
SETTLED_INTERVAL_FACTOR = 4.0  # … the settled interval is so many times as long …
IMPROVEMENT_FACTOR = 1.25  # … but for a moment so many times as good as any taken before
PIGGYBACK_FRACTION = 0.6  # so much of its wait over, a face goes along
WINDOW_S = 0.6  # how far back a better moment is looked for; crops must be fresh
GOOD_FACE_PX = 96.0  # from here on, more pixels do not help the network
SHARP_VARIANCE = 200.0  # of the Laplacian, where sharpness counts as two thirds
# Where a frontal face holds its nose tip: between eye line (0) and mouth line (1); and how far
# from there, and off the middle between the eyes (in eye distances), a face is in profile.
_FRONTAL_NOSE = 0.55
_PROFILE_PITCH = 0.5
_PROFILE_YAW = 0.6

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Candidate(Generic[M]):
    """One sight of a face: when, how good (0-1), and whatever is needed to cut it out."""

    at: float
    quality: float
    sight: M


class Sampler(Generic[M]):
    """Decides for the tracks of one camera's session.

    Args:
        interval_s: the settled time between two crops of a track that is not known well yet.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._plans: dict[int, _TrackSchedule[M]] = {}

    def select(self, moments: Mapping[int, Candidate[M]]) -> dict[int, Candidate[M]]:
        """Take note of what one search saw of each track; returns what to ask the model now."""
        plans = {t: self._plans.setdefault(t, _TrackSchedule(self._interval_s)) for t in moments}
        for track, moment in moments.items():
            plans[track].note(moment)

        def due(share: float) -> list[int]:
            return [t for t, plan in plans.items() if plan.is_due(moments[t].at, share)]

        chosen = due(1.0) and due(PIGGYBACK_FRACTION)
        return {track: plans[track].pop_best(moments[track].at) for track in chosen}

    def retain_only(self, tracks: set[int]) -> None:
        """Forget all tracks but these."""
        for track in self._plans.keys() - tracks:
            del self._plans[track]


class _TrackSchedule(Generic[M]):
    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._taken = 0
        self._waits_from = self._asked_at = -math.inf
        self._quality = self._best_taken = 0.0  # of the moments taken: the sum, and the best
        self._best: Candidate[M] | None = None

    def note(self, moment: Candidate[M]) -> None:
        """Keep it if it is the best of late."""
        best = self._best
        if best is None or moment.quality >= best.quality or moment.at - best.at > WINDOW_S:
            self._best = moment

    def is_due(self, now: float, share: float) -> bool:
        """Whether this share of the wait between two crops is over; a moment was noted."""
        assert self._best is not None
        is_better = self._best.quality >= IMPROVEMENT_FACTOR * self._best_taken
        if is_better and now - self._asked_at >= self._interval_s:
            return True
        return now - self._waits_from >= share * self._wait_s()

    def _wait_s(self) -> float:
        if self._quality >= SETTLED_QUALITY:
            return SETTLED_INTERVAL_FACTOR * self._interval_s
        if 0 < self._taken <= len(FIRST_INTERVALS_S):
            return min(self._interval_s, FIRST_INTERVALS_S[self._taken - 1])
        return self._interval_s

    def pop_best(self, now: float) -> Candidate[M]:
        """The best moment of late, which is asked about now."""
        # Who goes along early waits the longer for his next turn: nobody is asked about more often.
        self._waits_from = max(now, self._waits_from + self._wait_s())
        self._asked_at = now
        best, self._best = self._best, None
        assert best is not None
        self._taken += 1
        self._quality += best.quality
        self._best_taken = max(self._best_taken, best.quality)
        return best


def frontality(landmarks: NDArray[np.float32]) -> float:
    """How far a face looks at the camera: 1 straight, 0 in profile or landmarks without sense.

    Args:
        landmarks: float32 `[5, 2]`: right eye, left eye, nose tip, mouth corners; any rotation.
    """
    (rx, ry), (lx, ly), (nx, ny), (ax, ay), (bx, by) = landmarks.tolist()
    eyes = math.hypot(lx - rx, ly - ry)
    if not math.isfinite(eyes) or eyes < 1e-3:
        return 0.0
    along_x, along_y = (lx - rx) / eyes, (ly - ry) / eyes
    nose_x, nose_y = nx - (rx + lx) / 2, ny - (ry + ly) / 2
    mouth_x, mouth_y = (ax + bx - rx - lx) / 2, (ay + by - ry - ly) / 2
    yaw = (nose_x * along_x + nose_y * along_y) / eyes
    down = mouth_y * along_x - mouth_x * along_y
    if not math.isfinite(down) or down < 1e-3:
        return 0.0
    pitch = (nose_y * along_x - nose_x * along_y) / down - _FRONTAL_NOSE
    turned = (yaw / _PROFILE_YAW) ** 2 + (pitch / _PROFILE_PITCH) ** 2
    return max(0.0, 1.0 - turned) if math.isfinite(turned) else 0.0


def quality(face_px: float, laplacian_variance: float, frontal: float, score: float) -> float:
    """How much an answer about this sight of a face is worth, 0-1: the product of four.

    Args:
        face_px: side of the face in source pixels.
        laplacian_variance: of the face's luma, at a fixed size; grows with sharpness.
        frontal: of `frontality`.
        score: the detector's, 0-1.
    """
    size = min(1.0, face_px / GOOD_FACE_PX)
    sharpness = 1.0 - math.exp(-laplacian_variance / SHARP_VARIANCE)
    return size * sharpness * frontal * score
