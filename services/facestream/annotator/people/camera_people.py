"""People in view of one camera: joins the tracks of its frames with its results. No I/O.

Frames and results come in as messages with `now_s`, a reading of any monotonic clock in seconds. A
result may arrive before the first frame of its track, or after the last one. It is held for
`track_retention_s`, then dropped and counted. At most `MAX_TRACKS` tracks are held per camera.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from facestream.common.broker.messages import Frame, Result, unpack_distribution
from facestream.common.vision.attribute_fusion import Estimate
from facestream.common.vision.displayed_estimate import DisplayedEstimate, DisplayThresholds

MAX_TRACKS = 512
# Without frames for `VIEW_TIMEOUT_S`, or for `_TIMEOUT_FRAME_INTERVALS` of the camera's own frame
# intervals, no one is in view. Capture detects three times per second unless configured otherwise,
# and less often while it is overloaded.
VIEW_TIMEOUT_S = 2.0
_TIMEOUT_FRAME_INTERVALS = 2.5
_MAX_VIEW_TIMEOUT_S = 15.0
# A worker that does not learn that its first result was stored sends a second one for the same face
# within seconds. A track gets about one result per second.
_REMEMBERED_RESULTS = 16

TrackKey = tuple[int, int]  # (session, track id)


@dataclass(frozen=True)
class Person:
    """One face in view.

    Attributes:
        track_id: of the face, unique within a capture session.
        box: x, y, width, height in pixels of the frame.
        dwell_s: seconds since the track was first detected.
        shown: the estimate as it may be displayed.
    """

    track_id: int
    box: tuple[float, float, float, float]
    dwell_s: float
    shown: DisplayedEstimate


@dataclass
class _TrackState:
    estimate: Estimate
    updated_s: float
    recent_results: deque[tuple[int, str]] = field(
        default_factory=lambda: deque(maxlen=_REMEMBERED_RESULTS)
    )  # captured_us and model
    was_in_view: bool = False


@dataclass
class _Snapshot:
    """The tracks of the newest frame."""

    session: int = 0
    seq: int = 0
    received_s: float = float("-inf")
    timeout_s: float = VIEW_TIMEOUT_S  # after `received_s`
    captured_us: int = 0
    boxes: dict[int, tuple[float, float, float, float]] = field(default_factory=dict)
    first_detected_us: dict[int, int] = field(default_factory=dict)


class CameraPeople:
    """Tracks of one camera with their estimates.

    Args:
        thresholds: when an estimate may be displayed.
        track_retention_s: how long the results of an unseen track are held.
        on_departed: called with the last estimate of each track that was in view and was evicted.
    """

    def __init__(
        self,
        thresholds: DisplayThresholds,
        track_retention_s: float,
        on_departed: Callable[[DisplayedEstimate], None] = lambda shown: None,
    ) -> None:
        self._thresholds = thresholds
        self._track_retention_s = track_retention_s
        self._on_departed = on_departed
        self._tracks: dict[TrackKey, _TrackState] = {}
        self._view = _Snapshot()
        self._unmatched_results = 0

    def on_frame(self, frame: Frame, now_s: float) -> None:
        """Replace the people in view by the tracks of a new frame; an older frame is ignored."""
        # Ordered by `seq`, not by `captured_us`: the capturing machine may set its clock back.
        if frame.session == self._view.session and frame.seq < self._view.seq:
            return
        is_same_session = frame.session == self._view.session
        interval_s = now_s - self._view.received_s if is_same_session else 0.0
        self._view = _Snapshot(
            frame.session,
            frame.seq,
            now_s,
            max(VIEW_TIMEOUT_S, min(_TIMEOUT_FRAME_INTERVALS * interval_s, _MAX_VIEW_TIMEOUT_S)),
            frame.captured_us,
            {t.track: (t.x, t.y, t.w, t.h) for t in frame.tracks},
            {t.track: t.first_detected_us for t in frame.tracks},
        )
        for track in frame.tracks:
            state = self._get_or_create_state((frame.session, track.track), now_s)
            state.was_in_view = True

    def add_result(self, result: Result, now_s: float) -> bool:
        """Fuse a result into the estimate of its track.

        Returns:
            False if a result for this face was added before.

        Raises:
            MessageError: the age distribution is invalid.
        """
        distribution = unpack_distribution(result.age_distribution)
        state = self._get_or_create_state((result.session, result.track), now_s)
        face = (result.captured_us, result.model)
        if face in state.recent_results:
            return False
        state.recent_results.append(face)
        state.estimate.add(distribution, result.age, result.age_std, result.female, result.quality)
        return True

    def in_view(self, now_s: float) -> list[Person]:
        """Return the people of the newest frame, longest dwell time first."""
        view = self._view
        if now_s - view.received_s > view.timeout_s:
            return []
        people = []
        for track_id, box in view.boxes.items():
            state = self._tracks.get((view.session, track_id))
            dwell_s = max(0.0, (view.captured_us - view.first_detected_us[track_id]) / 1e6)
            shown = state.estimate.shown if state else DisplayedEstimate()
            people.append(Person(track_id, box, dwell_s, shown))
        return sorted(people, key=lambda person: (-person.dwell_s, person.track_id))

    def recent_estimates(self) -> list[DisplayedEstimate]:
        """Return the estimates of all held tracks that are or were in view."""
        return [state.estimate.shown for state in self._tracks.values() if state.was_in_view]

    def estimate(self, session: int, track_id: int) -> Estimate | None:
        """Return the running estimate of a track, or None if the track is not held."""
        state = self._tracks.get((session, track_id))
        return state.estimate if state else None

    def any_visible_has_result(self) -> bool:
        """Return whether any track of the newest frame has a result."""
        view = self._view
        states = (self._tracks.get((view.session, track_id)) for track_id in view.boxes)
        return any(state is not None and state.estimate.shown.predictions > 0 for state in states)

    def evict_stale(self, now_s: float) -> int:
        """Drop tracks without a frame or result for `track_retention_s`.

        Returns:
            Number of results dropped since the last call whose track never came into view.
        """
        for key, state in list(self._tracks.items()):
            if now_s - state.updated_s > self._track_retention_s:
                self._drop(key)
        unmatched, self._unmatched_results = self._unmatched_results, 0
        return unmatched

    def _get_or_create_state(self, key: TrackKey, now_s: float) -> _TrackState:
        state = self._tracks.get(key)
        if state is None:
            state = self._tracks[key] = _TrackState(Estimate(self._thresholds), now_s)
            if len(self._tracks) > MAX_TRACKS:
                self._drop(min(self._tracks, key=lambda k: self._tracks[k].updated_s))
        state.updated_s = now_s
        return state

    def _drop(self, key: TrackKey) -> None:
        state = self._tracks.pop(key)
        if state.was_in_view:
            self._on_departed(state.estimate.shown)
        else:
            self._unmatched_results += state.estimate.shown.predictions
