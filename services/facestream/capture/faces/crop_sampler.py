"""Choose which face crops are sent to the model, and when. No I/O.

Each detection of a track yields a candidate with a quality. The first acceptable candidate of a new
track is selected at once, the next ones at short intervals, then about one per second. From the
second crop on, the best candidate of the last `WINDOW_S` is selected, not the latest.

Predictions for one face differ little. A track with enough good crops is therefore sampled less
often, except when a candidate is clearly better than all before. Two faces in one batch cost less
than two batches, so a face whose next crop is nearly due is sent together with another one
(piggyback).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

FIRST_INTERVALS_S = (0.3, 0.4, 0.8)  # after the first crops; then the settled interval
SETTLED_QUALITY = 3.0  # a track is settled when the qualities of its crops add up to this
SETTLED_INTERVAL_FACTOR = 4.0  # interval of a settled track, relative to the settled interval
IMPROVEMENT_FACTOR = 1.25  # a candidate this much better than all before ends the wait early
PIGGYBACK_FRACTION = 0.6  # of its interval, after which a face may be sent with another one
# Limit of the crops of one detection. In a crowd, tracks that have a crop go first.
MAX_CROPS_PER_DETECTION = 12
WINDOW_S = 0.6  # maximum age of a candidate: crops must be fresh

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Candidate(Generic[T]):
    """One observation of a face whose crop may be sent.

    detected_at: monotonic seconds. quality: 0-1. payload: whatever the caller needs to cut the
    crop.
    """

    detected_at: float
    quality: float
    payload: T


class Sampler(Generic[T]):
    """Crop schedule of all tracks in one camera session.

    Args:
        interval_s: settled interval between two crops of a track.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._schedules: dict[int, _TrackSchedule[T]] = {}

    def select(self, candidates: Mapping[int, Candidate[T]]) -> dict[int, Candidate[T]]:
        """Record the candidates of one detection, by track, and return those to send now."""
        schedules = {
            track: self._schedules.setdefault(track, _TrackSchedule(self._interval_s))
            for track in candidates
        }
        for track, candidate in candidates.items():
            schedules[track].add(candidate)

        def due(fraction: float) -> list[int]:
            return [
                track
                for track, schedule in schedules.items()
                if schedule.is_due(candidates[track].detected_at, fraction)
            ]

        due_tracks = due(1.0) and due(PIGGYBACK_FRACTION)
        due_tracks.sort(key=lambda track: schedules[track].priority)
        del due_tracks[MAX_CROPS_PER_DETECTION:]
        return {
            track: schedules[track].pop_best(candidates[track].detected_at) for track in due_tracks
        }

    def retain_only(self, tracks: set[int]) -> None:
        """Drop the schedules of all other tracks."""
        for track in self._schedules.keys() - tracks:
            del self._schedules[track]


class _TrackSchedule(Generic[T]):
    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._sent_count = 0
        self._wait_since = self._sent_at = -math.inf
        self._total_quality = self._best_sent_quality = 0.0  # of the crops sent
        self._best: Candidate[T] | None = None

    @property
    def priority(self) -> tuple[bool, float]:
        """Sort key: sampled tracks before new ones, then the longest wait first."""
        return self._sent_count == 0, self._wait_since

    def add(self, candidate: Candidate[T]) -> None:
        """Record a candidate; the best one of the window is kept."""
        best = self._best
        if (
            best is None
            or candidate.quality >= best.quality
            or candidate.detected_at - best.detected_at > WINDOW_S
        ):
            self._best = candidate

    def is_due(self, now: float, fraction: float) -> bool:
        """Return whether this fraction of the interval is over; needs a recorded candidate."""
        assert self._best is not None
        is_better = self._best.quality >= IMPROVEMENT_FACTOR * self._best_sent_quality
        if is_better and now - self._sent_at >= self._interval_s:
            return True
        return now - self._wait_since >= fraction * self._wait_s()

    def _wait_s(self) -> float:
        if self._total_quality >= SETTLED_QUALITY:
            return SETTLED_INTERVAL_FACTOR * self._interval_s
        if 0 < self._sent_count <= len(FIRST_INTERVALS_S):
            return min(self._interval_s, FIRST_INTERVALS_S[self._sent_count - 1])
        return self._interval_s

    def pop_best(self, now: float) -> Candidate[T]:
        """Remove and return the best candidate, and start the next interval."""
        # Schedule from the regular due time, so that sending a face early does not raise its rate.
        self._wait_since = max(now, self._wait_since + self._wait_s())
        self._sent_at = now
        best, self._best = self._best, None
        assert best is not None
        self._sent_count += 1
        self._total_quality += best.quality
        self._best_sent_quality = max(self._best_sent_quality, best.quality)
        return best
