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
JOIN_AFTER_S = 0.4  # a track may be missed by a detection or two: it is not lost at once
EDGE = 0.6  # a face so near to the picture's edge, or beyond it, has left …
LEFT_REJOIN_S = 0.8  # … and somebody who comes in there later is somebody else
SURE_ANSWERS = 3  # from so many answers on, the track that carries a visit on is believed
_SEEN_US = 1000  # a sight of this very frame, but for rounding

TrackId = tuple[int, int]  # (session, track)


@dataclass(frozen=True, slots=True)
class VisitRule:
    """What a person is; seconds."""

    person_after_s: float = 0.6
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

    key: TrackId
    estimate: Estimate | None
    first_s: float
    seen_s: float
    seen_us: int  # the same sight by capture's clock
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
    is_alone: bool = False  # that it is not another one carried on

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
        self._join_within_s = max(rule.person_after_s, 2 * JOIN_AFTER_S)
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
        for track in frame.tracks:
            key = (frame.session, track.track)
            seen_us = _seen_us(frame, track)
            visit = self._visit_of(key, frame, track, now_at)
            is_new = visit is None
            if visit is None:
                age_s = _ago_s(frame, track.first_seen_us)
                part = _part(key, frame, track, estimate_of(track.track), self._clock_s, age_s)
                visit = _Visit(now_at - age_s, Walk(zones, lines), [part])
                self._visits.append(visit)
                self._by_track[key] = visit
            # Where it was not seen since, it may be elsewhere: a prediction is no sight.
            if is_new or (visit.last.key == key and seen_us > visit.last.seen_us):
                _move(visit.last, frame, track, seen_us, self._clock_s - _ago_s(frame, seen_us))
                crossings = visit.walk.step((visit.last.x / width, visit.last.y))
                visit.waiting += [(now_at, crossing) for crossing in crossings]
        for visit in list(self._visits):
            if not visit.is_sure:
                self._doubt(visit, now_at)
            else:
                self._join_if_lost_before(visit, width)
        for visit in self._visits:
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

    def _visit_of(self, key: TrackId, frame: Frame, track: Track, now_at: float) -> _Visit | None:
        """The visit that a track belongs to; None for a new one."""
        visit = self._by_track.get(key)
        if visit is None or visit.last.key == key or not _is_seen(frame, track):
            return visit
        # It was thought lost, and carried on by another …
        if not any(
            (frame.session, other.track) == visit.last.key and _is_seen(frame, other)
            for other in frame.tracks
        ):
            # … which is lost now: one face with two tracks in turn.
            visit.parts.append(_part(key, frame, track, None, self._clock_s))
            visit.is_sure = True
            return visit
        # … which is somebody else then: both are there.
        if visit.is_sure:
            return None
        self._part_with_last(visit, now_at)
        return visit

    def _doubt(self, visit: _Visit, now_at: float) -> None:
        """Whether the track that carries a visit on belongs to it, by what is known of it now."""
        if not _agree(visit.shown(visit.parts[:-1]), visit.shown(visit.parts[-1:])):
            self._part_with_last(visit, now_at)
        elif visit.last.estimate is not None:
            visit.is_sure = visit.last.estimate.shown.answers >= SURE_ANSWERS

    def _part_with_last(self, visit: _Visit, now_at: float) -> None:
        """Make a visit of its own of the last track."""
        part = visit.parts.pop()
        visit.is_sure = True
        own = _Visit(now_at - (self._clock_s - part.first_s), visit.walk.anew(), [part])
        own.is_alone = True
        self._visits.append(own)
        self._by_track[part.key] = own

    def _join_if_lost_before(self, fresh: _Visit, width: float) -> None:
        """Let a new track carry on the nearest visit that was lost before it began, if any."""
        part = fresh.last
        age_s = self._clock_s - part.first_s
        if fresh.is_alone or len(fresh.parts) > 1 or age_s < JOIN_AFTER_S:
            return
        fresh.is_alone = age_s >= self._join_within_s
        best: tuple[float, _Visit] | None = None
        for visit in self._visits:
            gap_s = part.first_s - visit.last.seen_s
            if visit is fresh or not 0 < gap_s <= self._rejoin_s(visit, width):
                continue
            off = _distance(visit.last, part, gap_s)
            if off is None or not _agree(visit.shown(), fresh.shown()):
                continue
            if best is None or off < best[0]:
                best = (off, visit)
        if best is None:
            return
        lost = best[1]
        lost.parts.append(part)
        lost.is_sure = False
        self._visits.remove(fresh)
        self._by_track[part.key] = lost

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
            # As long as a new track may still be joined to it.
            kept_s = self._rejoin_s(visit, width) + self._join_within_s + MAX_STEP_S
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


def _seen_us(frame: Frame, track: Track) -> int:
    """When it was last seen; capture of an older version does not tell."""
    return track.seen_us or frame.captured_us


def _is_seen(frame: Frame, track: Track) -> bool:
    return frame.captured_us - _seen_us(frame, track) < _SEEN_US


def _ago_s(frame: Frame, at_us: int) -> float:
    return max(0.0, (frame.captured_us - at_us) / 1e6)


def _part(
    key: TrackId,
    frame: Frame,
    track: Track,
    estimate: Estimate | None,
    clock_s: float,
    age_s: float = 0.0,
) -> _Part:
    x, y, size = _middle(track, frame.height)
    seen_us = frame.captured_us - round(age_s * 1e6)
    return _Part(key, estimate, clock_s - age_s, clock_s - age_s, seen_us, x, y, size, x, y, size)


def _move(part: _Part, frame: Frame, track: Track, seen_us: int, seen_s: float) -> None:
    x, y, size = _middle(track, frame.height)
    elapsed_s = (seen_us - part.seen_us) / 1e6
    if elapsed_s > 0:
        # Halfway to what the last step says: boxes tremble.
        part.vx += 0.5 * ((x - part.x) / elapsed_s - part.vx)
        part.vy += 0.5 * ((y - part.y) / elapsed_s - part.vy)
    part.x, part.y, part.size = x, y, size
    part.seen_s, part.seen_us = max(seen_s, part.seen_s), seen_us


def _middle(track: Track, height: int) -> tuple[float, float, float]:
    size = math.sqrt(max(0.0, track.w) * max(0.0, track.h)) / height
    return (track.x + track.w / 2) / height, (track.y + track.h / 2) / height, size


def _distance(lost: _Part, found: _Part, gap_s: float) -> float | None:
    """From where a lost face may be to where another began, in face sizes; None if too far.

    It may have gone on as it did, or have stopped on the way.
    """
    size = max(lost.size, found.began_size)
    if size <= 0 or min(lost.size, found.began_size) * MAX_SIZE_RATIO < size:
        return None
    ahead_s = min(gap_s, COAST_S)
    way_x, way_y = lost.vx * ahead_s, lost.vy * ahead_s
    off_x, off_y = found.began_x - lost.x, found.began_y - lost.y
    square = way_x * way_x + way_y * way_y
    share = (off_x * way_x + off_y * way_y) / square if square > 0 else 0.0
    share = min(1.0, max(0.0, share))
    off = math.hypot(off_x - share * way_x, off_y - share * way_y)
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
