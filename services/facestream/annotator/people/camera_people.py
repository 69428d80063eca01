"""Who is in view at one camera: tracks from frames joined with answers from results. Pure.

Frames and results come in by message and `now_s` (any steady clock, seconds); people go out. An
answer may come before its track is first seen here, or after the track has gone: it is kept for
`track_retention_s`, then forgotten and counted. Bounded: `MAX_TRACKS` tracks a camera.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from facestream.annotator.people.attribute_fusion import Estimate
from facestream.common.broker.messages import Frame, Result, unpack_distribution
from facestream.common.vision.displayed_estimate import DisplayedEstimate, DisplayThresholds

MAX_TRACKS = 512
# A camera that is silent for so long, or for so many of its own pauses, has nobody in view. Capture
# looks three times a second where it is not told otherwise, and more seldom where it is overloaded.
VIEW_EXPIRES_S = 2.0
_VIEW_PAUSES = 2.5
_LONGEST_VIEW_S = 15.0
# A face is answered twice when a worker does not hear that its first answer was taken; the second
# follows within seconds, and a track is answered about once a second.
_ANSWERS_REMEMBERED = 16

TrackId = tuple[int, int]  # (session, track)


@dataclass(frozen=True)
class Person:
    """One face in view.

    `box` is x, y, w, h in pixels of the frame, `seen_s` how long it has been followed.
    """

    track: int
    box: tuple[float, float, float, float]
    seen_s: float
    shown: DisplayedEstimate


@dataclass
class _TrackState:
    estimate: Estimate
    touched_s: float
    answered: deque[tuple[int, str]] = field(
        default_factory=lambda: deque(maxlen=_ANSWERS_REMEMBERED)
    )  # captured_us and model
    was_seen: bool = False


@dataclass
class _Snapshot:
    """The tracks of the newest frame."""

    session: int = 0
    seq: int = 0
    at_s: float = float("-inf")
    expires_s: float = VIEW_EXPIRES_S  # after `at_s`
    captured_us: int = 0
    boxes: dict[int, tuple[float, float, float, float]] = field(default_factory=dict)
    first_detected_us: dict[int, int] = field(default_factory=dict)


class CameraPeople:
    """The people of one camera.

    Args:
        rule: when an estimate may be shown.
        track_retention_s: how long an unseen track's answers are kept.
        on_forgotten: called with the last estimate of each track that had been in view and went.
    """

    def __init__(
        self,
        rule: DisplayThresholds,
        track_retention_s: float,
        on_forgotten: Callable[[DisplayedEstimate], None] = lambda shown: None,
    ) -> None:
        self._rule = rule
        self._forget_after_s = track_retention_s
        self._on_forgotten = on_forgotten
        self._kept: dict[TrackId, _TrackState] = {}
        self._view = _Snapshot()
        self._unmatched_results = 0

    def on_frame(self, frame: Frame, now_s: float) -> None:
        """A frame came: its tracks are those in view."""
        # Not by `captured_us`: the wall clock of the capturing machine may be set back.
        if frame.session == self._view.session and frame.seq < self._view.seq:
            return
        pause_s = now_s - self._view.at_s if frame.session == self._view.session else 0.0
        self._view = _Snapshot(
            frame.session,
            frame.seq,
            now_s,
            max(VIEW_EXPIRES_S, min(_VIEW_PAUSES * pause_s, _LONGEST_VIEW_S)),
            frame.captured_us,
            {t.track: (t.x, t.y, t.w, t.h) for t in frame.tracks},
            {t.track: t.first_detected_us for t in frame.tracks},
        )
        for track in frame.tracks:
            kept = self._get_or_create_state((frame.session, track.track), now_s)
            kept.was_seen = True

    def add_result(self, result: Result, now_s: float) -> bool:
        """A result came.

        Returns:
            whether it was taken; False when this face's answer came before.

        Raises:
            MessageError: its distribution is none.
        """
        distribution = unpack_distribution(result.age_distribution)
        kept = self._get_or_create_state((result.session, result.track), now_s)
        face = (result.captured_us, result.model)
        if face in kept.answered:
            return False
        kept.answered.append(face)
        kept.estimate.add(distribution, result.age, result.age_std, result.female, result.quality)
        return True

    def in_view(self, now_s: float) -> list[Person]:
        """The people of the newest frame, longest followed first."""
        view = self._view
        if now_s - view.at_s > view.expires_s:
            return []
        people = []
        for track, box in view.boxes.items():
            kept = self._kept.get((view.session, track))
            seen_s = max(0.0, (view.captured_us - view.first_detected_us[track]) / 1e6)
            people.append(
                Person(track, box, seen_s, kept.estimate.shown if kept else DisplayedEstimate())
            )
        return sorted(people, key=lambda person: (-person.seen_s, person.track))

    def recent_estimates(self) -> list[DisplayedEstimate]:
        """What is known of those in view, and of those who went so lately that they may return."""
        return [kept.estimate.shown for kept in self._kept.values() if kept.was_seen]

    def estimate(self, session: int, track: int) -> Estimate | None:
        """The running estimate of a track; None where it is not known."""
        kept = self._kept.get((session, track))
        return kept.estimate if kept else None

    def any_visible_has_result(self) -> bool:
        """Whether anyone of the newest frame was answered at least once."""
        view = self._view
        kept = (self._kept.get((view.session, track)) for track in view.boxes)
        return any(k is not None and k.estimate.shown.predictions > 0 for k in kept)

    def evict_stale(self, now_s: float) -> int:
        """Drop tracks unseen for long.

        Returns:
            how many answers were dropped since the last call without having met their track.
        """
        for key, kept in list(self._kept.items()):
            if now_s - kept.touched_s > self._forget_after_s:
                self._drop(key)
        unmet, self._unmatched_results = self._unmatched_results, 0
        return unmet

    def _get_or_create_state(self, key: TrackId, now_s: float) -> _TrackState:
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = _TrackState(Estimate(self._rule), now_s)
            if len(self._kept) > MAX_TRACKS:
                self._drop(min(self._kept, key=lambda k: self._kept[k].touched_s))
        kept.touched_s = now_s
        return kept

    def _drop(self, key: TrackId) -> None:
        kept = self._kept.pop(key)
        if kept.was_seen:
            self._on_forgotten(kept.estimate.shown)
        else:
            self._unmatched_results += kept.estimate.shown.predictions
