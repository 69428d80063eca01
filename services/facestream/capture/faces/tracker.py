"""Follows faces from detection to detection. Pure: boxes and their time go in, tracks come out.

Association: best first, by overlap (IoU) of a detection with a track's predicted box, or, for a
face too fast to overlap, by the distance of the centres. Between detections an alpha-beta filter
(R. Kalata, "The tracking index", IEEE TAES 20(2), 1984, for the idea) predicts the box. People stop
and turn between two looks: the velocity fades with time since the last one, and a look that shows
less motion than was thought is believed. Everything is plain Python: with a handful of faces,
arrays cost more than they save.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

# How far a new box pulls the position: wholly, where it is off by more than TREMBLE of a face size;
# less, the less it is off, since the detector's boxes tremble so.
ALPHA = 0.3
JITTER = 0.1
BETA = 0.7  # how far it pulls the velocity up; down it is taken as it is
ALPHA_SIZE = 0.6
ACTIVATION_SCORE = 0.75  # a detection this good makes a track at once, a weaker one needs a second
MIN_IOU = 0.2
MAX_DISTANCE = 0.9  # of the centres, in face sizes, for boxes that do not overlap …
MAX_FIRST_STEP = 2.2  # … and for a face seen once, whose velocity nobody knows yet
MAX_SIZE_RATIO = 1.8
VISIBLE_TIMEOUT_S = (
    0.45  # a face not seen for so long, or missed by so many looks one after the other …
)
MAX_MISSED = 1
LOST_TRACK_BUFFER_S = (
    1.5  # … is no longer reported, but keeps its track, if it comes back within this
)
# Who was there at the last look keeps it, should the next one be so late, or by so much too late.
MAX_LOOK_GAP_S = 3.0
_LATE = 1.5
COAST_S = 0.25  # a box is drawn as if its face slowed down in e-folds of so long …
SEARCH_HORIZON_S = 0.4  # … but looked for as if it went on unslowed for so long
MAX_TRACKS = 64
CALM_HITS = 3  # from then on a face's velocity is known
CALM_STEP = 0.5  # face sizes; a face that moves less between two searches is not lost

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class TrackedFace:
    """A face being followed. Pixels of the upright frame; times are monotonic, seconds."""

    track: int
    x: float  # of the centre
    y: float
    w: float
    h: float
    vx: float  # pixels a second
    vy: float
    score: float
    first_seen: float
    seen: float
    hits: int
    missed: int = 0  # looks since then that did not find it
    off: float = 0.0  # pixels from where it was thought to be, when it was seen

    def box_at(self, now: float) -> Box:
        """Where its box should be now: x, y of the top left corner, width, height."""
        ahead = COAST_S * (1.0 - math.exp(-max(now - self.seen, 0.0) / COAST_S))
        return (
            self.x + self.vx * ahead - self.w / 2,
            self.y + self.vy * ahead - self.h / 2,
            self.w,
            self.h,
        )


class Tracker:
    """Keeps the tracks of one camera's session.

    Args:
        first_track: number of the first new face; each further one has the next.
        gap_s: between two looks, at most, where nothing is late.
    """

    def __init__(self, first_track: int, gap_s: float = 0.0) -> None:
        self._tracks: list[TrackedFace] = []
        self._next_track = first_track
        self._look_gap_s = max(MAX_LOOK_GAP_S, _LATE * gap_s)

    def update(
        self, boxes: Sequence[Box], scores: Sequence[float], now: float
    ) -> list[TrackedFace | None]:
        """Take the faces of one detection.

        Args:
            boxes: x, y, width, height in pixels of the upright frame.
            scores: the detector's, 0-1, as many.
            now: monotonic time of the frame, seconds.

        Returns:
            for each box its track, or None while it is not sure to be a face.
        """
        owners = self._associate(boxes, now)
        tracks: list[TrackedFace] = []
        answers: list[TrackedFace | None] = []
        for box, score, owner in zip(boxes, scores, owners, strict=True):
            face = self._begun(box, score, now) if owner is None else _moved(owner, box, score, now)
            tracks.append(face)
            answers.append(face if _is_sure(face) else None)
        matched = {owner.track for owner in owners if owner is not None}
        tracks += [
            replace(face, missed=face.missed + 1)
            for face in self._tracks
            if face.track not in matched
            and _is_sure(face)
            and now - face.seen <= LOST_TRACK_BUFFER_S
        ]
        tracks.sort(key=lambda face: face.seen, reverse=True)
        self._tracks = tracks[:MAX_TRACKS]
        return answers

    def visible(self, now: float) -> tuple[TrackedFace, ...]:
        """The tracks to report: sure ones, seen a moment ago."""
        return tuple(face for face in self._tracks if _is_shown(face, now))

    def predicted_boxes(self, now: float) -> list[Box]:
        """Where every track should be now, those that are not sure or lately lost too."""
        return [face.box_at(now) for face in self._tracks]

    def is_calm(self, now: float, gap_s: float) -> bool:
        """Whether the faces can do without a search for `gap_s`.

        They can where all are known well, were seen just now, and move little. A face lost a moment
        ago is waited for; one lost for longer than `VISIBLE_TIMEOUT_S` is not.
        """
        return all(
            _is_steady(face, now, gap_s)
            for face in self._tracks
            if now - face.seen <= VISIBLE_TIMEOUT_S
        )

    def live_track_ids(self) -> set[int]:
        """Numbers of all tracks that may still come back."""
        return {face.track for face in self._tracks}

    def _associate(self, boxes: Sequence[Box], now: float) -> list[TrackedFace | None]:
        pairs: list[tuple[float, int, TrackedFace]] = []
        for face in self._tracks:
            if now - face.seen > (LOST_TRACK_BUFFER_S if face.missed else self._look_gap_s):
                continue  # whoever is there now may be anybody
            expected = _walked_on(face, now)
            for i, box in enumerate(boxes):
                reach = MAX_FIRST_STEP if face.hits == 1 else MAX_DISTANCE
                closeness = _closeness(expected, box, reach)
                if closeness > 0:
                    pairs.append((closeness, i, face))
        pairs.sort(key=lambda pair: pair[0], reverse=True)
        owners: list[TrackedFace | None] = [None] * len(boxes)
        taken: set[int] = set()
        for _, i, face in pairs:
            if owners[i] is None and face.track not in taken:
                owners[i] = face
                taken.add(face.track)
        return owners

    def _begun(self, box: Box, score: float, now: float) -> TrackedFace:
        x, y, w, h = box
        track, self._next_track = self._next_track, self._next_track + 1
        return TrackedFace(track, x + w / 2, y + h / 2, w, h, 0.0, 0.0, score, now, now, 1)


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0-1."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def _walked_on(face: TrackedFace, now: float) -> Box:
    """Where a face is that neither stopped nor turned: it is looked for there, not drawn there."""
    ahead = min(max(now - face.seen, 0.0), SEARCH_HORIZON_S)
    x, y = face.x + face.vx * ahead, face.y + face.vy * ahead
    return x - face.w / 2, y - face.h / 2, face.w, face.h


def _closeness(expected: Box, box: Box, reach: float) -> float:
    """How well a box fits: 1 + IoU where it overlaps, below 1 within `reach` face sizes, 0 else."""
    overlap = iou(expected, box)
    if overlap >= MIN_IOU:
        return 1.0 + overlap
    size, other = math.sqrt(expected[2] * expected[3]), math.sqrt(box[2] * box[3])
    if size <= 0 or other <= 0 or not 1 / MAX_SIZE_RATIO <= size / other <= MAX_SIZE_RATIO:
        return 0.0
    distance = math.hypot(
        expected[0] + expected[2] / 2 - box[0] - box[2] / 2,
        expected[1] + expected[3] / 2 - box[1] - box[3] / 2,
    )
    return max(0.0, 1.0 - distance / (max(size, other) * reach))


def _moved(face: TrackedFace, box: Box, score: float, now: float) -> TrackedFace:
    elapsed = now - face.seen
    expected = face.box_at(now)
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    vx, vy = face.vx, face.vy
    if elapsed > 0:
        seen_vx, seen_vy = (x - face.x) / elapsed, (y - face.y) / elapsed
        slows = seen_vx * vx + seen_vy * vy < vx * vx + vy * vy
        # The first step tells the whole velocity; there is nothing to smooth it with yet.
        beta = 1.0 if slows or face.hits == 1 else BETA
        vx, vy = vx + beta * (seen_vx - vx), vy + beta * (seen_vy - vy)
    off_x, off_y = expected[0] + expected[2] / 2 - x, expected[1] + expected[3] / 2 - y
    off = math.hypot(off_x, off_y)
    trembles = 1.0 - off / (JITTER * math.sqrt(max(1.0, face.w * face.h)))
    kept = (1.0 - ALPHA) * max(0.0, trembles)
    return replace(
        face,
        x=x + kept * off_x,
        y=y + kept * off_y,
        w=face.w + ALPHA_SIZE * (box[2] - face.w),
        h=face.h + ALPHA_SIZE * (box[3] - face.h),
        vx=vx,
        vy=vy,
        score=score,
        seen=max(now, face.seen),
        hits=face.hits + 1,
        missed=0,
        off=off,
    )


def _is_steady(face: TrackedFace, now: float, gap_s: float) -> bool:
    # One that has just stopped or turned may do anything.
    step = math.hypot(face.vx, face.vy) * gap_s + face.off
    return (
        face.seen >= now
        and face.hits >= CALM_HITS
        and step <= CALM_STEP * math.sqrt(max(0.0, face.w * face.h))
    )


def _is_shown(face: TrackedFace, now: float) -> bool:
    return _is_sure(face) and face.missed <= MAX_MISSED and now - face.seen <= VISIBLE_TIMEOUT_S


def _is_sure(face: TrackedFace) -> bool:
    return face.hits > 1 or face.score >= ACTIVATION_SCORE
