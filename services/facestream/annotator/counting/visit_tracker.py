"""Track visits: join the tracks of one camera to people, and count each person once. No I/O.

A *visit* is one person's stay in front of a camera. A new track starts a visit. If a track is
lost and another one starts soon after, nearby and with a compatible estimate, it continues the
visit: people look away, others pass in front, cameras reconnect. Only position, size, time and
fused estimates are compared; nothing that could recognize a face is stored.

A visit that lasted `min_visit_s` is a person. It is counted when it ends, or after `count_after_s`,
with the estimate of that time. The camera's clock follows capture's while a session lasts, however
far apart the detections are, and stops between two sessions: an outage does not end a visit.

At a low detection rate less is seen of each person. So a new track may start further away from a
lost one, and a visit gets credit for the unwatched time around its detections.

Longer than 300 lines, because the rules for joining tracks share the state of all open visits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

from facestream.annotator.counting.coverage import NORMAL_INTERVAL_S, Coverage
from facestream.annotator.counting.region_crossing import RegionCrossingTracker
from facestream.annotator.counting.visit import (
    CountEvent,
    JoinSnapshot,
    TrackId,
    TrackSegment,
    Visit,
    distance,
    is_compatible,
    last_detected_us_of,
    merge_estimates,
    seconds_before,
    start_segment,
    update_segment,
)
from facestream.common.broker.messages import Frame, Track
from facestream.common.cameras.regions import Line, Zone
from facestream.common.vision.attribute_fusion import Estimate

MAX_VISITS = 512  # open visits of one camera
# From one session to the next a camera's clock advances by at most this. Within a session it
# follows capture's clock, but runs ahead of the time that has passed here by no more than this.
MAX_CLOCK_STEP_S = 1.0
SILENCE_TIMEOUT_S = 120.0  # all visits of a camera end when it sends no frames for this long
JOIN_AFTER_S = 0.4  # a track may miss a detection or two before it counts as lost
EDGE_MARGIN = 0.6  # in face sizes: a face lost this near to the frame's edge has left …
EXIT_REJOIN_S = 0.8  # … and a track that starts later than this is another person
# Capture derives detection times from two clocks for each frame, so one detection may have slightly
# different times. Detections are further apart than this.
SAME_DETECTION_US = 5000
CONFIRM_PREDICTIONS = 3  # predictions after which a joined track is confirmed
EXIT_COAST_S = 0.8  # a face that would leave the frame within this has left
# A person seen in n detections, T apart, was in view for n T on average, not (n - 1) T. Less than
# that is credited, so that a false detection is no visit.
UNSEEN_CREDIT = 0.3


@dataclass(frozen=True, slots=True)
class VisitPolicy:
    """Durations that define a person, in seconds; see the settings of the same names."""

    min_visit_s: float = 0.6
    max_visit_gap_s: float = 5.0
    count_after_s: float = 30.0


class VisitTracker:
    """The visits to one camera. Not thread-safe.

    Args:
        policy: which visits count as people.
        on_event: called once for every visit and crossing.
        on_covered: called with the seconds that each detection adds to the camera's coverage.
    """

    def __init__(
        self,
        policy: VisitPolicy,
        on_event: Callable[[CountEvent], None],
        on_covered: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._policy, self._on_event, self._on_covered = policy, on_event, on_covered
        self._join_within_s = max(policy.min_visit_s, 2 * JOIN_AFTER_S)
        self._visits: list[Visit] = []
        self._by_track: dict[TrackId, Visit] = {}
        self._newest_frame: tuple[int, int] = (0, -1)  # its session and number
        self._captured_us = 0  # its time by capture's clock
        self._last_detected_us: dict[TrackId, int] = {}  # of its tracks, by the same clock
        self._regions: tuple[Sequence[Zone], Sequence[Line]] = ((), ())
        self._clock_s = 0.0
        self._frame_at_s: float | None = None
        self._coverage = Coverage()

    def on_frame(
        self,
        frame: Frame,
        estimate_of: Callable[[int], Estimate | None],
        zones: Sequence[Zone],
        lines: Sequence[Line],
        now_s: float,
        now_at: float,
    ) -> None:
        """Update all visits by the tracks of a frame; skip a frame older than the newest.

        Args:
            frame: the frame's tracks; image data is not used.
            estimate_of: returns the running estimate of a track of the frame's session.
            zones: the camera's zones.
            lines: the camera's lines.
            now_s: reading of any monotonic clock.
            now_at: Unix time.
        """
        session, seq = self._newest_frame
        if frame.session == session and frame.seq < seq:
            return
        if frame.session == session and frame.captured_us < self._captured_us:
            self._shift_detections(session, self._captured_us - frame.captured_us)
        self._advance_clock(frame, now_s)
        self._newest_frame = (frame.session, frame.seq)
        self._captured_us = frame.captured_us
        if self._regions != (zones, lines):
            self._regions = (zones, lines)
            for open_visit in self._visits:
                open_visit.set_regions(zones, lines)
        width = frame.width / frame.height
        detected = {(frame.session, t.track): last_detected_us_of(frame, t) for t in frame.tracks}
        # Several frames may report one detection, in any order: its time identifies it.
        fresh = {
            key
            for key, at_us in detected.items()
            if key not in self._last_detected_us
            or at_us > self._last_detected_us[key] + SAME_DETECTION_US
        }
        self._last_detected_us = {
            key: at_us if key in fresh else self._last_detected_us[key]
            for key, at_us in detected.items()
        }
        for track in frame.tracks:
            key = (frame.session, track.track)
            detected_us = detected[key]
            visit = self._find_visit(key, frame, track, fresh)
            is_new = visit is None
            if visit is None:
                age_s = seconds_before(frame, track.first_detected_us)
                segment = start_segment(
                    key, frame, track, estimate_of(track.track), self._clock_s, age_s
                )
                regions = RegionCrossingTracker(zones, lines)
                visit = Visit(now_at - age_s, self._clock_s, regions, [segment], now_at)
                self._visits.append(visit)
                self._by_track[key] = visit
            # A predicted box does not move the visit: the person may have gone elsewhere.
            newest_us = visit.last.last_detected_us + SAME_DETECTION_US
            if is_new or (visit.last.key == key and detected_us > newest_us):
                ago_s = seconds_before(frame, detected_us)
                update_segment(visit.last, frame, track, detected_us, self._clock_s - ago_s)
                visit.last_detected_at = now_at - ago_s
                self._cross_regions(visit, width, now_at)
        for visit in list(self._visits):
            if not visit.is_confirmed:
                self._recheck_join(visit)
            else:
                self._join_to_lost_visit(visit, width, now_at)
        for visit in self._visits:
            self._count_if_due(visit)
        self._end_lost(width)

    def coverage(self, now_s: float) -> float | None:
        """Return the share of the last minute watched closely enough to count, 0-1.

        None where nothing is known yet.
        """
        if self._frame_at_s is None:
            return None
        return self._coverage.share(self._clock_s + max(0.0, now_s - self._frame_at_s))

    def expire(self, now_s: float) -> None:
        """End all visits if no frame came for `SILENCE_TIMEOUT_S`; call regularly."""
        if self._frame_at_s is not None and now_s - self._frame_at_s > SILENCE_TIMEOUT_S:
            self.finalize_all()

    def finalize_all(self) -> None:
        """End all visits: the camera was removed, or the service stops."""
        for visit in self._visits:
            self._end(visit)
        self._visits.clear()
        self._by_track.clear()

    def _advance_clock(self, frame: Frame, now_s: float) -> None:
        passed_s = 0.0 if self._frame_at_s is None else max(0.0, now_s - self._frame_at_s)
        self._frame_at_s = now_s
        if frame.session == self._newest_frame[0]:
            captured_s = max(0.0, (frame.captured_us - self._captured_us) / 1e6)
            # Capture's clock may be set forward; frames may arrive late and in bursts.
            step_s = min(captured_s, passed_s + MAX_CLOCK_STEP_S, SILENCE_TIMEOUT_S)
        else:
            step_s = min(passed_s, MAX_CLOCK_STEP_S)
            self._coverage.restart()
        self._clock_s += step_s
        if frame.detected:
            self._on_covered(self._coverage.on_detection(self._clock_s))

    def _cross_regions(self, visit: Visit, width: float, now_at: float) -> None:
        crossings = visit.regions.update((visit.last.x / width, visit.last.y))
        visit.pending_crossings += [(now_at, crossing) for crossing in crossings]

    def _shift_detections(self, session: int, by_us: int) -> None:
        """Capture's clock was set back: move earlier detections back by the same amount."""
        for visit in self._visits:
            for segment in visit.segments:
                if segment.key[0] == session:
                    segment.last_detected_us -= by_us
        self._last_detected_us = {
            key: at_us - by_us for key, at_us in self._last_detected_us.items()
        }

    def _find_visit(
        self, key: TrackId, frame: Frame, track: Track, fresh: Set[TrackId]
    ) -> Visit | None:
        """Return the visit that a track belongs to; None for a new one.

        Args:
            fresh: the tracks with a new detection in this frame.
        """
        visit = self._by_track.get(key)
        if visit is None or visit.last.key == key or key not in fresh:
            return visit
        # The track was lost and another one continued its visit. Now it is detected again.
        if visit.last.key not in fresh:
            # The other one is lost now: one face with two alternating tracks.
            self._continue_visit(visit, start_segment(key, frame, track, None, self._clock_s))
            visit.join_snapshot = None
            return visit
        # Both are detected, so they are two people.
        if visit.is_confirmed:
            return None
        self._undo_join(visit)
        return visit

    def _continue_visit(self, visit: Visit, segment: TrackSegment) -> None:
        self._by_track[segment.key] = visit
        merged_track = visit.add_track(segment)
        if merged_track is not None:
            self._by_track.pop(merged_track, None)

    def _recheck_join(self, visit: Visit) -> None:
        """Undo a join if the estimates now contradict it; confirm it after enough predictions."""
        if not is_compatible(visit.estimate_without_last(), merge_estimates(visit.last.estimate)):
            self._undo_join(visit)
        elif visit.last.estimate and visit.last.estimate.shown.predictions >= CONFIRM_PREDICTIONS:
            visit.join_snapshot = None

    def _undo_join(self, visit: Visit) -> None:
        """Make the last track a separate visit again."""
        snapshot, visit.join_snapshot = visit.join_snapshot, None
        assert snapshot is not None
        separate, segment = snapshot.separate, visit.segments.pop()
        separate.last_detected_at, separate.is_separate = visit.last_detected_at, True
        visit.regions, visit.pending_crossings = snapshot.regions, snapshot.pending_crossings
        visit.last_detected_at = snapshot.last_detected_at
        self._visits.append(separate)
        self._by_track[segment.key] = separate

    def _join_to_lost_visit(self, new: Visit, width: float, now_at: float) -> None:
        """Let a new track continue the nearest compatible visit that was lost before, if any."""
        segment = new.last
        age_s = self._clock_s - segment.first_detected_s
        if new.is_separate or len(new.segments) > 1 or age_s < JOIN_AFTER_S:
            return
        new.is_separate = age_s >= self._join_within_s
        best: tuple[float, Visit] | None = None
        for visit in self._visits:
            gap_s = segment.first_detected_s - visit.last.last_detected_s
            if visit is new or not 0 < gap_s <= self._max_gap_s(visit, width):
                continue
            offset = distance(visit.last, segment, gap_s, self._coverage.interval_s)
            if offset is None or not is_compatible(visit.estimate(), new.estimate()):
                continue
            if best is None or offset < best[0]:
                best = (offset, visit)
        if best is None:
            return
        lost = best[1]
        lost.join_snapshot = JoinSnapshot(
            new, lost.regions.copy(), list(lost.pending_crossings), lost.last_detected_at
        )
        lost.last_detected_at = new.last_detected_at
        self._continue_visit(lost, segment)
        # The person may have crossed a line between the two tracks.
        self._cross_regions(lost, width, now_at)
        self._visits.remove(new)

    def _max_gap_s(self, visit: Visit, width: float) -> float:
        """Return the longest gap after which a track may continue this visit."""
        last = visit.last
        margin = EDGE_MARGIN * last.size
        x, y = last.x + last.vx * EXIT_COAST_S, last.y + last.vy * EXIT_COAST_S
        has_left = x < margin or y < margin or x > width - margin or y > 1 - margin
        max_gap_s = self._policy.max_visit_gap_s
        return min(EXIT_REJOIN_S, max_gap_s) if has_left else max_gap_s

    def _count_if_due(self, visit: Visit) -> None:
        tracked_s = self._clock_s - visit.tracked_since_s
        is_due = visit.is_counted or tracked_s >= self._policy.count_after_s
        if visit.is_confirmed and is_due:
            self._count(visit)

    def _end_lost(self, width: float) -> None:
        for visit in list(self._visits):
            # A visit stays open as long as a new track may still be joined to it.
            open_s = self._max_gap_s(visit, width) + self._join_within_s + MAX_CLOCK_STEP_S
            if self._clock_s - visit.last.last_detected_s > open_s:
                self._visits.remove(visit)
                self._end(visit)
        while len(self._visits) > MAX_VISITS:
            self._end(self._visits.pop(0))
        open_visits = {id(visit) for visit in self._visits}
        self._by_track = {k: v for k, v in self._by_track.items() if id(v) in open_visits}

    def _end(self, visit: Visit) -> None:
        visit.pending_crossings += [
            (visit.last_detected_at, crossing) for crossing in visit.regions.end()
        ]
        self._count(visit)

    def _count(self, visit: Visit) -> None:
        dwell_s = visit.dwell_s()
        unseen_s = max(0.0, self._coverage.interval_s - NORMAL_INTERVAL_S)
        is_short = dwell_s + UNSEEN_CREDIT * unseen_s < self._policy.min_visit_s
        if is_short or (visit.is_counted and not visit.pending_crossings):
            return
        estimate = visit.estimate()
        if not visit.is_counted:
            visit.is_counted = True
            self._on_event(CountEvent(visit.started_at, "visit", "", estimate, dwell_s))
        for at, crossing in visit.pending_crossings:
            self._on_event(CountEvent(at, crossing.direction, crossing.region, estimate, dwell_s))
        visit.pending_crossings.clear()
