"""Live state of all cameras: status, people in view, recent history. No I/O.

`StreamReader` writes the state. The API, the MJPEG hub and `EventPublisher` read it. Event loop
only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from facestream.annotator.counting.people_counter import PeopleCounter
from facestream.annotator.metrics import AnnotatorMetrics
from facestream.annotator.people.camera_people import CameraPeople, Person
from facestream.annotator.people.recent_history import RecentHistory
from facestream.annotator.people.result_latency import ResultLatency
from facestream.annotator.system_status import SystemSnapshot
from facestream.annotator.video.camera_feed import RenderJob
from facestream.annotator.video.mjpeg_hub import MjpegHub
from facestream.common.broker.messages import Frame, Result, now_us
from facestream.common.cameras.models import Camera, CameraStatus
from facestream.common.vision.displayed_estimate import DisplayedEstimate, DisplayThresholds
from facestream.common.vision.overlay import build_label


class LiveState:
    """All cameras by name.

    Args:
        thresholds: when an estimate may be displayed.
        track_retention_s: how long the results of an unseen track are held.
        create_mjpeg_hub: makes the hub that renders the frames; it reads camera statuses from here.
        clock: monotonic seconds.
        wall_clock: Unix time in seconds.

    Attributes:
        on_cameras_changed: called after the cameras or a status changed.
        on_camera_removed: called with the name of each removed camera.
    """

    def __init__(
        self,
        thresholds: DisplayThresholds,
        track_retention_s: float,
        create_mjpeg_hub: Callable[[LiveState], MjpegHub],
        metrics: AnnotatorMetrics,
        people_counter: PeopleCounter,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._thresholds = thresholds
        self._track_retention_s = track_retention_s
        self._metrics = metrics
        self.people_counter = people_counter
        self._clock = clock
        self._wall_clock = wall_clock
        self._cameras: dict[str, Camera] = {}
        self._statuses: dict[str, CameraStatus] = {}
        self._people: dict[str, CameraPeople] = {}
        self._history = RecentHistory()
        self._result_latency = ResultLatency()
        # Reason and Unix time of the broker's outage.
        self._broker_outage: tuple[str, float] | None = ("not connected yet", wall_clock())
        self.on_cameras_changed: Callable[[], None] = lambda: None
        self.on_camera_removed: Callable[[str], None] = lambda name: None
        self.mjpeg_hub = create_mjpeg_hub(self)

    @property
    def broker_error(self) -> str | None:
        """Reason why the broker is unavailable; None while it is connected."""
        return self._broker_outage[0] if self._broker_outage else None

    def names(self) -> list[str]:
        """Return the names of all cameras."""
        return list(self._cameras)

    def cameras(self) -> dict[str, Camera]:
        """Return the configuration of all cameras by name."""
        return dict(self._cameras)

    def camera(self, name: str) -> Camera | None:
        """Return the configuration of a camera, or None if it does not exist."""
        return self._cameras.get(name)

    def statuses(self) -> list[CameraStatus]:
        """Return the status of every camera, sorted by name, with its coverage."""
        coverage = self.people_counter.coverage()
        return [
            self.status(name).model_copy(update={"coverage": _rounded(coverage.get(name))})
            for name in sorted(self._cameras)
        ]

    def status(self, name: str) -> CameraStatus:
        """Return the status of one camera; without a broker every camera has failed."""
        if self._broker_outage is not None:
            return CameraStatus(
                name=name,
                state="failed",
                since=self._broker_outage[1],
                reason="cannot reach Redis",
            )
        status = self._statuses.get(name)
        if status is not None:
            return status
        return CameraStatus(name=name, state="paused", since=self._wall_clock(), reason="removed")

    def on_broker_lost(self, reason: str) -> None:
        """Mark the broker as unavailable; cameras and people stay as last known."""
        since = self._broker_outage[1] if self._broker_outage else self._wall_clock()
        self._broker_outage = (reason, since)
        # Before the first connection the cameras are unknown: an empty list would be wrong.
        if self._cameras:
            self.on_cameras_changed()

    def set_cameras(self, cameras: Mapping[str, Camera], statuses: Sequence[CameraStatus]) -> None:
        """Replace cameras and statuses by those of the registry; the broker is available."""
        self._broker_outage = None
        for removed in self._cameras.keys() - cameras.keys():
            self._remove_camera(removed)
        previous = self._statuses
        self._cameras = dict(cameras)
        self._statuses = {
            s.name: _with_first_since(s, previous.get(s.name))
            for s in statuses
            if s.name in cameras
        }
        for name in cameras:
            if name not in self._people:
                self._people[name] = CameraPeople(
                    self._thresholds, self._track_retention_s, self._on_departed
                )
        self.on_cameras_changed()

    def on_frame(self, name: str, frame: Frame, jpeg: bytes | None) -> None:
        """Update people and counts from a frame, and submit it for rendering if it is watched."""
        people = self._people.get(name)
        if people is None:
            return
        now = self._clock()
        people.on_frame(frame, now)
        self.people_counter.on_frame(self._cameras[name], frame, people)
        self._metrics.frames.labels(name).inc()
        is_waiting = bool(frame.tracks) and not people.any_visible_has_result()
        self._result_latency.on_frame(name, is_waiting=is_waiting, now_s=now)
        status = self._statuses.get(name)
        # In stats-only mode frames carry no JPEG: labels are drawn on a blank image.
        has_image = jpeg is not None or (status is not None and status.privacy == "stats-only")
        if has_image and self.mjpeg_hub.is_watched(name):
            labels = [build_label(person.box, person.shown) for person in people.in_view(now)]
            size = (frame.width, frame.height)
            self.mjpeg_hub.submit_frame(name, RenderJob(jpeg, labels, frame.captured_us, size))

    def on_result(self, name: str, result: Result) -> None:
        """Add a result to its track.

        Raises:
            MessageError: the result is invalid.
        """
        people = self._people.get(name)
        if people is None:
            return
        now = self._clock()
        if not people.add_result(result, now):
            self._metrics.results_dropped.labels("duplicate").inc()
            return
        latency_s = max(0, now_us() - result.captured_us) / 1e6
        self._result_latency.on_result(latency_s, now)
        self._metrics.results.labels(name).inc()
        self._metrics.result_latency.observe(latency_s)

    def people(self, name: str) -> list[Person]:
        """Return the people in view of one camera."""
        people = self._people.get(name)
        return people.in_view(self._clock()) if people else []

    def people_in_view(self) -> dict[str, list[Person]]:
        """Return the people in view of every camera."""
        now = self._clock()
        return {name: people.in_view(now) for name, people in self._people.items()}

    def evict_stale_tracks(self) -> None:
        """Drop tracks out of view for `track_retention_s`; count results without a track."""
        now = self._clock()
        for people in self._people.values():
            unmatched = people.evict_stale(now)
            if unmatched:
                self._metrics.results_dropped.labels("unknown_track").inc(unmatched)

    def system_snapshot(self) -> SystemSnapshot:
        """Return what the status messages of the web UI are built from."""
        now = self._clock()
        in_view = {name: len(people) for name, people in self.people_in_view().items()}
        return SystemSnapshot(
            broker_error=self.broker_error,
            cameras=self.statuses(),
            people=sum(in_view.values()),
            longest_wait_s=self._result_latency.longest_wait_s(
                (name for name, people in in_view.items() if people), now
            ),
            median_latency_s=self._result_latency.median_latency_s(now),
            storage_error=self.people_counter.storage_error,
            corrupt_counts_file=self.people_counter.corrupt_counts_file,
        )

    def sample_history(self) -> dict[str, object]:
        """Add one sample of the people in view to the history; return the chart data."""
        now = self._wall_clock()
        self._history.add_sample(
            (person.shown for people in self.people_in_view().values() for person in people), now
        )
        # A track departs only when it is evicted; until then the charts include it from here.
        recent = [shown for people in self._people.values() for shown in people.recent_estimates()]
        return self._history.to_json(recent, now)

    def _on_departed(self, shown: DisplayedEstimate) -> None:
        self._history.add_departed(shown, self._wall_clock())

    def _remove_camera(self, name: str) -> None:
        self._people.pop(name, None)
        self._result_latency.remove_camera(name)
        self.people_counter.remove_camera(name)
        self.mjpeg_hub.remove_camera(name)
        self.on_camera_removed(name)
        self._metrics.forget_camera(name)


def _rounded(coverage: float | None) -> float | None:
    """Round to 5 %: the web UI gets an event for every change."""
    return None if coverage is None else round(coverage * 20) / 20


def _with_first_since(status: CameraStatus, previous: CameraStatus | None) -> CameraStatus:
    """Keep the first `since` of an unchanged state.

    For a camera that no replica reads, the registry reports the time of the query as `since`.
    """
    if previous is not None and previous.state == status.state and previous.reason == status.reason:
        return status.model_copy(update={"since": min(previous.since, status.since)})
    return status
