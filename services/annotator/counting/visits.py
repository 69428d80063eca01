"""People out of tracks: who came to one camera, each counted once a visit. Pure.

A *visit* is one person's stay in a camera's picture. A track begins one; when it is lost and
another begins soon after, near and alike, that one carries the visit on: people look away, others
step before them, a camera is opened anew. What is compared is place, size, time and the fused
estimates; nothing that could recognise a face is kept. A visit whose tracks were seen for long
enough is a person, and is counted when it has ended, or after `settle_s` while it lasts, with what
is known of it then.

The clock of a camera stands still while it sends nothing: an outage does not end a visit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.annotator.counting.walk import Crossing, Walk
from services.annotator.estimate import Estimate, Shown
from services.common.messages import Frame, Track
from services.common.places import Line, Zone

MAX_VISITS = 512  # open ones of a camera
MAX_STEP_S = 1.0  # by which the camera's clock advances from one frame to the next
SILENT_S = 120.0  # a camera that sends nothing for so long has lost its visits
# Lengths in face sizes.
NEAR = 1.0  # a lost face is looked for so far from where it should be …
NEAR_GROWTH = 0.5  # … and further by so much a second …
MAX_NEAR = 2.5  # … but not further than this
MAX_SIZE_RATIO = 1.8
COAST_S = 0.8  # it is thought to have gone on moving for so long
OVERLAP_S = 0.6  # a lost track is reported for a moment longer, beside the one that follows it
EDGE = 0.6  # a face so near to the picture's edge, or beyond it, has left …
LEFT_REJOIN_S = 0.8  # … and somebody who comes in there later is somebody else
SURE_ANSWERS = 3  # from so many answers on, the track that carries a visit on is believed

TrackId = tuple[int, int]  # (session, track)


@dataclass(frozen=True, slots=True)
class VisitRule:
    """What a person is; seconds."""

    person_after_s: float = 1.0
    rejoin_s: float = 5.0
    settle_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Counted:
    """Something to count: `what` is "visit", or "enter" or "leave" of the zone or line `place`.

    at: Unix time, seconds; seen_s: how long the person was seen until it was counted.
    """

    at: float
    what: str
    place: str
    shown: Shown
    seen_s: float


@dataclass(slots=True)
class _Part:
    """One track of a visit. Lengths are in picture heights, x and y are of the face's middle."""

    estimate: Estimate | None
    first_s: float
    seen_s: float
    x: float
    y: float
    size: float
    began_x: float
    began_y: float
    began_size: float
    vx: float = 0.0
    vy: float = 0.0


@dataclass(slots=True)
class _Visit:
    began_at: float  # Unix time
    walk: Walk
    parts: list[_Part]
    waiting: list[tuple[float, Crossing]] = field(default_factory=list)
    is_counted: bool = False
    is_sure: bool = True  # that its last track belongs to it

    @property
    def last(self) -> _Part:
        return self.parts[-1]

    def seen_s(self) -> float:
        return sum(part.seen_s - part.first_s for part in self.parts)

    def shown(self, parts: Sequence[_Part] | None = None) -> Shown:
        """What all its tracks together say."""
        estimates = [p.estimate for p in (parts or self.parts) if p.estimate is not None]
        if len(estimates) < 2:
            return estimates[0].shown if estimates else Shown()
        return Estimate.joined(estimates).shown


class CameraVisits:
    """The visits to one camera.

    Args:
        rule: what a person is.
        on_counted: told of every visit and crossing, once.
    """

    def __init__(self, rule: VisitRule, on_counted: Callable[[Counted], None]) -> None:
        self._rule, self._on_counted = rule, on_counted
        self._visits: list[_Visit] = []
        self._by_track: dict[TrackId, _Visit] = {}
        self._place: tuple[int, int] = (0, -1)  # session and number of the newest frame
        self._clock_s = 0.0
        self._frame_at_s: float | None = None

    def see(
        self,
        frame: Frame,
        estimate_of: Callable[[int], Estimate | None],
        zones: Sequence[Zone],
        lines: Sequence[Line],
        now_s: float,
        now_at: float,
    ) -> None:
        """A frame came.

        Args:
            estimate_of: the running estimate of a track of the frame's session.
            now_s: of any steady clock.
            now_at: Unix time.
        """
        session, seq = self._place
        if frame.session == session and frame.seq < seq:
            return
        self._place = (frame.session, frame.seq)
        if self._frame_at_s is not None:
            self._clock_s += min(max(0.0, now_s - self._frame_at_s), MAX_STEP_S)
        self._frame_at_s = now_s
        width = frame.width / frame.height
        in_frame = {(frame.session, track.track) for track in frame.tracks}
        for track in frame.tracks:
            key = (frame.session, track.track)
            visit = self._by_track.get(key)
            if visit is None:
                age_s = max(0.0, (frame.captured_us - track.first_seen_us) / 1e6)
                estimate = estimate_of(track.track)
                part = _part(track, frame.height, estimate, self._clock_s - age_s)
                visit = _Visit(now_at - age_s, Walk(zones, lines), [part])
                self._by_track[key] = visit
                self._visits.append(visit)
            _move(visit.last, track, frame.height, self._clock_s)
            visit = self._settled_on(key, visit, in_frame, now_at, width)
            crossings = visit.walk.step((visit.last.x / width, visit.last.y))
            visit.waiting += [(now_at, crossing) for crossing in crossings]
            self._count_if_due(visit)
        self._end_lost(now_at, width)

    def expire(self, now_s: float, now_at: float) -> None:
        """End all visits of a camera that has been silent for long; to be called now and then."""
        if self._frame_at_s is not None and now_s - self._frame_at_s > SILENT_S:
            self.finish(now_at)

    def finish(self, now_at: float) -> None:
        """End all visits: the camera, or this service, goes."""
        for visit in self._visits:
            self._end(visit, now_at)
        self._visits.clear()
        self._by_track.clear()

    def _settled_on(
        self, key: TrackId, visit: _Visit, in_frame: set[TrackId], now_at: float, width: float
    ) -> _Visit:
        """The visit that a track belongs to, seen with what is known now."""
        if not visit.is_sure:
            answers = visit.last.estimate.shown.answers if visit.last.estimate else 0
            if _agree(visit.shown(visit.parts[:-1]), visit.shown(visit.parts[-1:])):
                visit.is_sure = answers >= SURE_ANSWERS
                return visit
            # Somebody else, in the same place.
            part = visit.parts.pop()
            visit.is_sure = True
            own = _Visit(now_at - (self._clock_s - part.first_s), visit.walk.anew(), [part])
            self._visits.append(own)
            self._by_track[key] = own
            return own
        is_new = len(visit.parts) == 1 and visit.seen_s() < self._rule.person_after_s
        if not is_new:
            return visit
        lost = self._lost_one(visit, in_frame, width)
        if lost is None:
            return visit
        lost.parts.append(visit.last)
        lost.is_sure = False
        self._visits.remove(visit)
        self._by_track[key] = lost
        return lost

    def _lost_one(self, fresh: _Visit, in_frame: set[TrackId], width: float) -> _Visit | None:
        """The visit out of sight that a new track carries on, if any: the nearest."""
        present = {id(self._by_track[key]) for key in in_frame if key in self._by_track}
        part = fresh.last
        best: tuple[float, _Visit] | None = None
        for visit in self._visits:
            if id(visit) in present or visit is fresh:
                continue
            gap_s = part.first_s - visit.last.seen_s
            if not -OVERLAP_S <= gap_s <= self._rejoin_s(visit, width):
                continue
            off = _distance(visit.last, part, max(0.0, gap_s))
            if off is None or not _agree(visit.shown(), fresh.shown()):
                continue
            if best is None or off < best[0]:
                best = (off, visit)
        return best[1] if best else None

    def _rejoin_s(self, visit: _Visit, width: float) -> float:
        part = visit.last
        margin = EDGE * part.size
        x, y = part.x + part.vx * COAST_S, part.y + part.vy * COAST_S
        has_left = x < margin or y < margin or x > width - margin or y > 1 - margin
        return min(LEFT_REJOIN_S, self._rule.rejoin_s) if has_left else self._rule.rejoin_s

    def _count_if_due(self, visit: _Visit) -> None:
        lasts_s = self._clock_s - visit.parts[0].first_s
        if visit.is_counted or (visit.is_sure and lasts_s >= self._rule.settle_s):
            self._count(visit)

    def _end_lost(self, now_at: float, width: float) -> None:
        for visit in list(self._visits):
            # A moment longer than a new track may take to be joined to it.
            kept_s = self._rejoin_s(visit, width) + self._rule.person_after_s
            if self._clock_s - visit.last.seen_s > kept_s:
                self._visits.remove(visit)
                self._end(visit, now_at)
        while len(self._visits) > MAX_VISITS:
            self._end(self._visits.pop(0), now_at)
        gone = {id(visit) for visit in self._visits}
        self._by_track = {k: v for k, v in self._by_track.items() if id(v) in gone}

    def _end(self, visit: _Visit, now_at: float) -> None:
        left_at = now_at - (self._clock_s - visit.last.seen_s)
        visit.waiting += [(left_at, crossing) for crossing in visit.walk.end()]
        self._count(visit)

    def _count(self, visit: _Visit) -> None:
        seen_s = visit.seen_s()
        if seen_s < self._rule.person_after_s or (visit.is_counted and not visit.waiting):
            return
        shown = visit.shown()
        if not visit.is_counted:
            visit.is_counted = True
            self._on_counted(Counted(visit.began_at, "visit", "", shown, seen_s))
        for at, crossing in visit.waiting:
            self._on_counted(Counted(at, crossing.direction, crossing.place, shown, seen_s))
        visit.waiting.clear()


def _part(track: Track, height: int, estimate: Estimate | None, first_s: float) -> _Part:
    x, y, size = _middle(track, height)
    return _Part(estimate, first_s, first_s, x, y, size, x, y, size)


def _move(part: _Part, track: Track, height: int, now_s: float) -> None:
    x, y, size = _middle(track, height)
    elapsed_s = now_s - part.seen_s
    if elapsed_s > 0:
        # Halfway to what the last step says: boxes tremble.
        part.vx += 0.5 * ((x - part.x) / elapsed_s - part.vx)
        part.vy += 0.5 * ((y - part.y) / elapsed_s - part.vy)
    part.x, part.y, part.size, part.seen_s = x, y, size, max(now_s, part.seen_s)


def _middle(track: Track, height: int) -> tuple[float, float, float]:
    size = math.sqrt(max(0.0, track.w) * max(0.0, track.h)) / height
    return (track.x + track.w / 2) / height, (track.y + track.h / 2) / height, size


def _distance(lost: _Part, found: _Part, gap_s: float) -> float | None:
    """From where a lost face should be to where another began, in face sizes; None if too far."""
    size = max(lost.size, found.began_size)
    if size <= 0 or min(lost.size, found.began_size) * MAX_SIZE_RATIO < size:
        return None
    ahead_s = min(gap_s, COAST_S)
    off = math.hypot(
        lost.x + lost.vx * ahead_s - found.began_x, lost.y + lost.vy * ahead_s - found.began_y
    )
    near = min(NEAR + NEAR_GROWTH * gap_s, MAX_NEAR)
    return off / size if off <= near * size else None


def _agree(one: Shown, other: Shown) -> bool:
    """Whether two estimates may be of one person; what is not known is no objection."""
    if one.female is not None and other.female is not None:
        return (one.female >= 0.5) == (other.female >= 0.5) and _ages_meet(one, other)
    return _ages_meet(one, other)


def _ages_meet(one: Shown, other: Shown) -> bool:
    if one.age_low is None or one.age_high is None:
        return True
    if other.age_low is None or other.age_high is None:
        return True
    return one.age_low <= other.age_high and other.age_low <= one.age_high
