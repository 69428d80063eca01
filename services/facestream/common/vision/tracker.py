"""Track faces from detection to detection. No I/O: boxes and their time go in, tracks come out.

Association is greedy, best match first: by overlap (IoU) of a detection with a track's predicted
box, or by the distance of the centers for a face too fast to overlap. Between detections an
alpha-beta filter predicts the box (after R. Kalata, "The tracking index", IEEE TAES 20(2), 1984).

People stop and turn between two detections. The predicted velocity therefore decays with time, and
a detection that shows less motion than predicted sets the velocity without smoothing. Everything is
plain Python: with a handful of faces, arrays cost more than they save.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

# Gain of the position. A residual above JITTER face sizes is corrected fully; a smaller one is
# corrected less, because the detector's boxes jitter by that much.
ALPHA = 0.3
JITTER = 0.1
BETA = 0.7  # gain of the velocity when it rises; a lower velocity is adopted at once
ALPHA_SIZE = 0.6
ACTIVATION_SCORE = 0.75  # this score starts a track at once; a lower one needs a second detection
MIN_IOU = 0.2
MAX_DISTANCE = 0.9  # of the centers, in face sizes, for boxes that do not overlap
MAX_FIRST_STEP = 2.2  # the same for a face detected once, whose velocity is unknown
# Both grow, per second by which the last detection is older than this: where detections are rare, a
# face may have started to walk in between, at up to 7 face sizes per second.
CLOSE_INTERVAL_S = 0.35
DISTANCE_GROWTH = 0.4
FIRST_STEP_GROWTH = 2.0
MAX_DISTANCE_GROWN = 4.0
# A face may change its size by this factor from one detection to the next, and more over a longer
# interval.
SIZE_RATIO = 1.3
SIZE_RATIO_GROWTH = 0.3
MAX_SIZE_RATIO = 1.8
# A track is visible up to this age of its last detection, and up to this number of consecutive
# detections that missed it.
VISIBLE_TIMEOUT_S = 0.45
MAX_MISSES = 1
LOST_TRACK_BUFFER_S = 1.5  # a track that is not visible can be matched again within this time
# A face found by the last detection keeps its track over a gap of this length, or of this many
# times the interval between detections, as it is set or as it turns out under load.
MAX_DETECTION_GAP_S = 3.0
_GAP_TOLERANCE = 1.5
MAX_OVERLOADED_GAP_S = 6.0
_SMOOTHING = 0.3
COAST_S = 0.25  # time constant of the velocity's decay, for boxes that are shown
SEARCH_HORIZON_S = 0.4  # for matching, the face moves at full velocity for up to this time
MAX_TRACKS = 64
STEADY_HITS = 3  # number of detections after which the velocity is known
STEADY_STEP = 0.5  # face sizes; a face that moves less between two detections is not lost

Box = tuple[float, float, float, float]  # x, y of the top left corner, width, height


@dataclass(frozen=True, slots=True)
class TrackedFace:
    """State of one track. Lengths in pixels of the upright frame, times in monotonic seconds."""

    track: int
    x: float  # of the center
    y: float
    w: float
    h: float
    vx: float  # pixels per second
    vy: float
    score: float
    first_detected_at: float
    last_detected_at: float
    hits: int
    misses: int = 0  # consecutive detections that did not find it
    residual_px: float = 0.0  # distance of the last detection from the prediction

    def box_at(self, now: float) -> Box:
        """Return the predicted box at a time."""
        coasting_s = max(now - self.last_detected_at, 0.0)
        ahead_s = COAST_S * (1.0 - math.exp(-coasting_s / COAST_S))
        return (
            self.x + self.vx * ahead_s - self.w / 2,
            self.y + self.vy * ahead_s - self.h / 2,
            self.w,
            self.h,
        )


class Tracker:
    """Tracks of one camera session.

    Args:
        first_track: number of the first track; later tracks count up.
        detection_interval_s: longest regular interval between two detections.
    """

    def __init__(self, first_track: int, detection_interval_s: float = 0.0) -> None:
        self._tracks: list[TrackedFace] = []
        self._next_track = first_track
        self._max_gap_s = max(MAX_DETECTION_GAP_S, _GAP_TOLERANCE * detection_interval_s)
        self._interval_s = detection_interval_s  # smoothed, as it turns out
        self._updated_at: float | None = None

    def update(
        self, boxes: Sequence[Box], scores: Sequence[float], now: float
    ) -> list[TrackedFace | None]:
        """Update the tracks with the faces of one detection.

        Args:
            boxes: x, y, width, height in pixels of the upright frame.
            scores: detector scores, 0-1, one per box.
            now: time of the frame, monotonic seconds.

        Returns:
            the track of each box, or None while the track is not confirmed.
        """
        if self._updated_at is not None:
            gap_s = min(now - self._updated_at, MAX_OVERLOADED_GAP_S)
            self._interval_s += _SMOOTHING * (gap_s - self._interval_s)
        self._updated_at = now
        matches = self._associate(boxes, now)
        matched = {match.track for match in matches if match is not None}
        lost = [
            replace(face, misses=face.misses + 1)
            for face in self._tracks
            if face.track not in matched
            and _is_confirmed(face)
            and now - face.last_detected_at <= LOST_TRACK_BUFFER_S
        ]
        # New faces take free places only: in a crowd they must not push out the tracks of others.
        free = MAX_TRACKS - len(matched) - len(lost)
        tracks: list[TrackedFace] = []
        confirmed: list[TrackedFace | None] = []
        for box, score, match in zip(boxes, scores, matches, strict=True):
            if match is None:
                free -= 1
                if free < 0:
                    confirmed.append(None)
                    continue
                face = self._start_track(box, score, now)
            else:
                face = _correct(match, box, score, now)
            tracks.append(face)
            confirmed.append(face if _is_confirmed(face) else None)
        self._tracks = tracks + lost
        return confirmed

    def visible(self, now: float) -> tuple[TrackedFace, ...]:
        """Return the tracks to publish: confirmed and recently detected."""
        return tuple(face for face in self._tracks if _is_visible(face, now))

    def predicted_boxes(self, now: float) -> list[Box]:
        """Return the predicted boxes of all tracks, unconfirmed and lost ones included."""
        return [face.box_at(now) for face in self._tracks]

    def is_steady(self, now: float, interval_s: float) -> bool:
        """Return whether the next detection can wait for `interval_s`.

        It can if all faces have a known velocity, were found by the last detection and move little.
        A face that was lost less than `VISIBLE_TIMEOUT_S` ago prevents it; one lost earlier does
        not.
        """
        return all(
            _is_steady(face, now, interval_s)
            for face in self._tracks
            if now - face.last_detected_at <= VISIBLE_TIMEOUT_S
        )

    def live_track_ids(self) -> set[int]:
        """Return the numbers of all tracks that can still be matched."""
        return {face.track for face in self._tracks}

    def _associate(self, boxes: Sequence[Box], now: float) -> list[TrackedFace | None]:
        pairs: list[tuple[float, int, TrackedFace]] = []
        for face in self._tracks:
            age_s = now - face.last_detected_at
            if age_s > (LOST_TRACK_BUFFER_S if face.misses else self._gap_limit_s()):
                continue  # a face at that position may be another person by now
            predicted = _extrapolate(face, now)
            max_distance = _max_distance(face, age_s)
            size_ratio = min(MAX_SIZE_RATIO, SIZE_RATIO + SIZE_RATIO_GROWTH * age_s)
            for i, box in enumerate(boxes):
                match_score = _match_score(predicted, box, max_distance, size_ratio)
                if match_score > 0:
                    pairs.append((match_score, i, face))
        pairs.sort(key=lambda pair: pair[0], reverse=True)
        matches: list[TrackedFace | None] = [None] * len(boxes)
        matched: set[int] = set()
        for _, i, face in pairs:
            if matches[i] is None and face.track not in matched:
                matches[i] = face
                matched.add(face.track)
        return matches

    def _gap_limit_s(self) -> float:
        overloaded_s = min(_GAP_TOLERANCE * self._interval_s, MAX_OVERLOADED_GAP_S)
        return max(self._max_gap_s, overloaded_s)

    def _start_track(self, box: Box, score: float, now: float) -> TrackedFace:
        x, y, w, h = box
        track, self._next_track = self._next_track, self._next_track + 1
        return TrackedFace(track, x + w / 2, y + h / 2, w, h, 0.0, 0.0, score, now, now, 1)


def iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes, 0-1."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    intersection = width * height
    return intersection / (a[2] * a[3] + b[2] * b[3] - intersection)


def _extrapolate(face: TrackedFace, now: float) -> Box:
    """Return the box of a face at constant velocity: used to match it, not to show it."""
    ahead_s = min(max(now - face.last_detected_at, 0.0), SEARCH_HORIZON_S)
    x, y = face.x + face.vx * ahead_s, face.y + face.vy * ahead_s
    return x - face.w / 2, y - face.h / 2, face.w, face.h


def _max_distance(face: TrackedFace, age_s: float) -> float:
    """Return how far a detection may be from the prediction, in face sizes."""
    unseen_s = max(0.0, age_s - CLOSE_INTERVAL_S)
    if face.hits == 1:
        return MAX_FIRST_STEP + min(FIRST_STEP_GROWTH * unseen_s, MAX_DISTANCE_GROWN)
    return MAX_DISTANCE + min(DISTANCE_GROWTH * unseen_s, MAX_DISTANCE_GROWN)


def _match_score(predicted: Box, box: Box, max_distance: float, size_ratio: float) -> float:
    """Return 1 + IoU for boxes that overlap, below 1 within `max_distance` face sizes, else 0."""
    overlap = iou(predicted, box)
    if overlap >= MIN_IOU:
        return 1.0 + overlap
    size, other = math.sqrt(predicted[2] * predicted[3]), math.sqrt(box[2] * box[3])
    if size <= 0 or other <= 0 or not 1 / size_ratio <= size / other <= size_ratio:
        return 0.0
    distance = math.hypot(
        predicted[0] + predicted[2] / 2 - box[0] - box[2] / 2,
        predicted[1] + predicted[3] / 2 - box[1] - box[3] / 2,
    )
    return max(0.0, 1.0 - distance / (max(size, other) * max_distance))


def _correct(face: TrackedFace, box: Box, score: float, now: float) -> TrackedFace:
    """Return the track corrected by a detection (update step of the alpha-beta filter)."""
    elapsed_s = now - face.last_detected_at
    predicted = face.box_at(now)
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    vx, vy = face.vx, face.vy
    if elapsed_s > 0:
        measured_vx, measured_vy = (x - face.x) / elapsed_s, (y - face.y) / elapsed_s
        is_slower = measured_vx * vx + measured_vy * vy < vx * vx + vy * vy
        # The first step defines the velocity; there is nothing to smooth it with yet.
        beta = 1.0 if is_slower or face.hits == 1 else BETA
        vx, vy = vx + beta * (measured_vx - vx), vy + beta * (measured_vy - vy)
    residual_x, residual_y = (
        predicted[0] + predicted[2] / 2 - x,
        predicted[1] + predicted[3] / 2 - y,
    )
    residual_px = math.hypot(residual_x, residual_y)
    jitter = 1.0 - residual_px / (JITTER * math.sqrt(max(1.0, face.w * face.h)))
    uncorrected = (1.0 - ALPHA) * max(0.0, jitter)
    return replace(
        face,
        x=x + uncorrected * residual_x,
        y=y + uncorrected * residual_y,
        w=face.w + ALPHA_SIZE * (box[2] - face.w),
        h=face.h + ALPHA_SIZE * (box[3] - face.h),
        vx=vx,
        vy=vy,
        score=score,
        last_detected_at=max(now, face.last_detected_at),
        hits=face.hits + 1,
        misses=0,
        residual_px=residual_px,
    )


def _is_steady(face: TrackedFace, now: float, interval_s: float) -> bool:
    # A large residual means that the face has just stopped or turned: its motion is unpredictable.
    step_px = math.hypot(face.vx, face.vy) * interval_s + face.residual_px
    return (
        face.last_detected_at >= now
        and face.hits >= STEADY_HITS
        and step_px <= STEADY_STEP * math.sqrt(max(0.0, face.w * face.h))
    )


def _is_visible(face: TrackedFace, now: float) -> bool:
    return (
        _is_confirmed(face)
        and face.misses <= MAX_MISSES
        and now - face.last_detected_at <= VISIBLE_TIMEOUT_S
    )


def _is_confirmed(face: TrackedFace) -> bool:
    return face.hits > 1 or face.score >= ACTIVATION_SCORE
