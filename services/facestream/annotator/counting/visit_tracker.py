"""People out of tracks: who came to one camera, each counted once a visit. Pure.

A *visit* is one person's stay in a camera's picture. A track begins one; when it is lost and
another begins soon after, near and alike, that one carries the visit on: people look away, others
step before them, a camera is opened anew. What is compared is place, size, time and the fused
estimates; nothing that could recognise a face is kept. A visit whose tracks were seen for long
enough is a person, and is counted when it has ended, or after `count_after_s` while it lasts, with what
is known of it then.

The clock of a camera stands still while it sends nothing: an outage does not end a visit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

from facestream.annotator.counting.region_crossing import RegionCrossingTracker
from facestream.annotator.counting.visit import (
    COAST_S,
    JoinSnapshot,
    TrackId,
    TrackSegment,
    Visit,
    ago_s_of,
    distance,
    is_compatible,
    merge_estimates,
    seen_us_of,
    start_segment,
    update_segment,
)
from facestream.annotator.people.attribute_fusion import Estimate
from facestream.common.broker.messages import Frame, Track
from facestream.common.cameras.regions import Line, Zone
from facestream.common.vision.displayed_estimate import DisplayedEstimate

MAX_VISITS = 512  # open ones of a camera
MAX_STEP_S = 1.0  # by which the camera's clock advances from one frame to the next
SILENT_S = 120.0  # a camera that sends nothing for so long has lost its visits
JOIN_AFTER_S = 0.4  # a track may be missed by a detection or two: it is not lost at once
EDGE = 0.6  # a face so near to the picture's edge, or beyond it, has left …
LEFT_REJOIN_S = 0.8  # … and somebody who comes in there later is somebody else
# Capture reckons the time of a sight anew for each frame, from two clocks. Less than between looks.
SAME_SIGHT_US = 5000
SURE_ANSWERS = 3  # from so many answers on, the track that carries a visit on is believed


@dataclass(frozen=True, slots=True)
class VisitPolicy:
    """What a person is; seconds."""

    min_visit_s: float = 0.6
    max_visit_gap_s: float = 5.0
    count_after_s: float = 30.0


@dataclass(frozen=True, slots=True)
class CountEvent:
    """Something to count: `kind` is "visit", or "enter" or "leave" of the zone or line `region`.

    timestamp: Unix time, seconds; dwell_s: how long the person was seen until it was counted.
    """

    timestamp: float
    kind: str
    region: str
    estimate: DisplayedEstimate
    dwell_s: float


class VisitTracker:
    """The visits to one camera.

    Args:
        rule: what a person is.
        on_counted: told of every visit and crossing, once.
    """

    def __init__(self, rule: VisitPolicy, on_counted: Callable[[CountEvent], None]) -> None:
        self._rule, self._on_counted = rule, on_counted
        self._join_within_s = max(rule.min_visit_s, 2 * JOIN_AFTER_S)
        self._visits: list[Visit] = []
        self._by_track: dict[TrackId, Visit] = {}
        self._place: tuple[int, int] = (0, -1)  # session and number of the newest frame …
        self._captured_us = 0  # … and its time by capture's clock
        self._sights: dict[TrackId, int] = {}  # of its tracks, by the same clock
        self._drawn: tuple[Sequence[Zone], Sequence[Line]] = ((), ())
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
        if frame.session == session and frame.captured_us < self._captured_us:
            self._set_back(session, self._captured_us - frame.captured_us)
        self._place, self._captured_us = (frame.session, frame.seq), frame.captured_us
        if self._drawn != (zones, lines):
            self._drawn = (zones, lines)
            for known in self._visits:
                known.redraw(zones, lines)
        if self._frame_at_s is not None:
            self._clock_s += min(max(0.0, now_s - self._frame_at_s), MAX_STEP_S)
        self._frame_at_s = now_s
        width = frame.width / frame.height
        sights = {(frame.session, t.track): seen_us_of(frame, t) for t in frame.tracks}
        # Pictures may come before the search of an older one is told: what counts is that there is
        # a newer sight, not which message brings it.
        fresh = {
            key
            for key, at_us in sights.items()
            if key not in self._sights or at_us > self._sights[key] + SAME_SIGHT_US
        }
        self._sights = {k: us if k in fresh else self._sights[k] for k, us in sights.items()}
        for track in frame.tracks:
            key = (frame.session, track.track)
            seen_us = sights[key]
            visit = self._visit_of(key, frame, track, fresh)
            is_new = visit is None
            if visit is None:
                age_s = ago_s_of(frame, track.first_detected_us)
                part = start_segment(
                    key, frame, track, estimate_of(track.track), self._clock_s, age_s
                )
                walk = RegionCrossingTracker(zones, lines)
                visit = Visit(now_at - age_s, self._clock_s, walk, [part], now_at)
                self._visits.append(visit)
                self._by_track[key] = visit
            # Where it was not seen since, it may be elsewhere: a prediction is no sight.
            newest_us = visit.last.seen_us + SAME_SIGHT_US
            if is_new or (visit.last.key == key and seen_us > newest_us):
                ago_s = ago_s_of(frame, seen_us)
                update_segment(visit.last, frame, track, seen_us, self._clock_s - ago_s)
                visit.left_at = now_at - ago_s
                crossings = visit.walk.update((visit.last.x / width, visit.last.y))
                visit.waiting += [(now_at, crossing) for crossing in crossings]
        for visit in list(self._visits):
            if not visit.is_sure:
                self._doubt(visit)
            else:
                self._join_if_lost_before(visit, width, now_at)
        for visit in self._visits:
            self._count_if_due(visit)
        self._end_lost(width)

    def expire(self, now_s: float) -> None:
        """End all visits of a camera that has been silent for long; to be called now and then."""
        if self._frame_at_s is not None and now_s - self._frame_at_s > SILENT_S:
            self.finalize_all()

    def finalize_all(self) -> None:
        """End all visits: the camera, or this service, goes."""
        for visit in self._visits:
            self._end(visit)
        self._visits.clear()
        self._by_track.clear()

    def _set_back(self, session: int, by_us: int) -> None:
        """Somebody has set capture's clock back: what was seen before was not seen later."""
        for visit in self._visits:
            for part in visit.parts:
                if part.key[0] == session:
                    part.seen_us -= by_us
        self._sights = {key: at_us - by_us for key, at_us in self._sights.items()}

    def _visit_of(
        self, key: TrackId, frame: Frame, track: Track, fresh: Set[TrackId]
    ) -> Visit | None:
        """The visit that a track belongs to; None for a new one.

        Args:
            fresh: the tracks that this frame brings a new sight of.
        """
        visit = self._by_track.get(key)
        if visit is None or visit.last.key == key or key not in fresh:
            return visit
        # It was thought lost, and carried on by another …
        if visit.last.key not in fresh:
            # … which is lost now: one face with two tracks in turn.
            self._carry_on(visit, start_segment(key, frame, track, None, self._clock_s))
            visit.join_snapshot = None
            return visit
        # … which is somebody else then: both are there.
        if visit.is_sure:
            return None
        self._part_with_last(visit)
        return visit

    def _carry_on(self, visit: Visit, part: TrackSegment) -> None:
        self._by_track[part.key] = visit
        done = visit.add_track(part)
        if done is not None:
            self._by_track.pop(done, None)

    def _doubt(self, visit: Visit) -> None:
        """Whether the track that carries a visit on belongs to it, by what is known of it now."""
        if not is_compatible(visit.estimate_without_last(), merge_estimates(visit.last.estimate)):
            self._part_with_last(visit)
        elif visit.last.estimate and visit.last.estimate.shown.predictions >= SURE_ANSWERS:
            visit.join_snapshot = None

    def _part_with_last(self, visit: Visit) -> None:
        """Make a visit of its own of the last track again."""
        before, visit.join_snapshot = visit.join_snapshot, None
        assert before is not None
        own, part = before.fresh, visit.parts.pop()
        own.left_at, own.is_alone = visit.left_at, True
        visit.walk, visit.waiting, visit.left_at = before.walk, before.waiting, before.left_at
        self._visits.append(own)
        self._by_track[part.key] = own

    def _join_if_lost_before(self, fresh: Visit, width: float, now_at: float) -> None:
        """Let a new track carry on the nearest visit that was lost before it began, if any."""
        part = fresh.last
        age_s = self._clock_s - part.first_s
        if fresh.is_alone or len(fresh.parts) > 1 or age_s < JOIN_AFTER_S:
            return
        fresh.is_alone = age_s >= self._join_within_s
        best: tuple[float, Visit] | None = None
        for visit in self._visits:
            gap_s = part.first_s - visit.last.seen_s
            if visit is fresh or not 0 < gap_s <= self._rejoin_s(visit, width):
                continue
            off = distance(visit.last, part, gap_s)
            if off is None or not is_compatible(visit.shown(), fresh.shown()):
                continue
            if best is None or off < best[0]:
                best = (off, visit)
        if best is None:
            return
        lost = best[1]
        lost.join_snapshot = JoinSnapshot(fresh, lost.walk.copy(), list(lost.waiting), lost.left_at)
        lost.left_at = fresh.left_at
        self._carry_on(lost, part)
        # The way from where it was lost may lead over a line.
        crossings = lost.walk.update((part.x / width, part.y))
        lost.waiting += [(now_at, crossing) for crossing in crossings]
        self._visits.remove(fresh)

    def _rejoin_s(self, visit: Visit, width: float) -> float:
        part = visit.last
        margin = EDGE * part.size
        x, y = part.x + part.vx * COAST_S, part.y + part.vy * COAST_S
        has_left = x < margin or y < margin or x > width - margin or y > 1 - margin
        return (
            min(LEFT_REJOIN_S, self._rule.max_visit_gap_s)
            if has_left
            else self._rule.max_visit_gap_s
        )

    def _count_if_due(self, visit: Visit) -> None:
        lasts_s = self._clock_s - visit.known_s
        if visit.is_sure and (visit.is_counted or lasts_s >= self._rule.count_after_s):
            self._count(visit)

    def _end_lost(self, width: float) -> None:
        for visit in list(self._visits):
            # As long as a new track may still be joined to it.
            kept_s = self._rejoin_s(visit, width) + self._join_within_s + MAX_STEP_S
            if self._clock_s - visit.last.seen_s > kept_s:
                self._visits.remove(visit)
                self._end(visit)
        while len(self._visits) > MAX_VISITS:
            self._end(self._visits.pop(0))
        gone = {id(visit) for visit in self._visits}
        self._by_track = {k: v for k, v in self._by_track.items() if id(v) in gone}

    def _end(self, visit: Visit) -> None:
        visit.waiting += [(visit.left_at, crossing) for crossing in visit.walk.end()]
        self._count(visit)

    def _count(self, visit: Visit) -> None:
        seen_s = visit.seen_s()
        if seen_s < self._rule.min_visit_s or (visit.is_counted and not visit.waiting):
            return
        shown = visit.shown()
        if not visit.is_counted:
            visit.is_counted = True
            self._on_counted(CountEvent(visit.began_at, "visit", "", shown, seen_s))
        for at, crossing in visit.waiting:
            self._on_counted(CountEvent(at, crossing.direction, crossing.region, shown, seen_s))
        visit.waiting.clear()
