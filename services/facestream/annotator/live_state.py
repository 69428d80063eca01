"""What is known right now of every camera: its state, its people, the last minutes.

Intake writes it; the API, the pictures and the event stream read it. Event loop only; no I/O. When
something changed that a page shows, `EventBus` is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from facestream.annotator import system_status
from facestream.annotator.api.sse import EventBus
from facestream.annotator.counting.people_counter import PeopleCounter
from facestream.annotator.metrics import AnnotatorMetrics
from facestream.annotator.people.camera_people import CameraPeople, Person
from facestream.annotator.people.recent_history import RecentHistory
from facestream.annotator.people.result_latency import Answering
from facestream.annotator.video.mjpeg_hub import MjpegHub, RenderJob
from facestream.common.broker.messages import Frame, Result, now_us
from facestream.common.cameras.models import Camera, CameraStatus
from facestream.common.vision.displayed_estimate import DisplayedEstimate, DisplayThresholds
from facestream.common.vision.overlay import build_label

PersonJson = dict[str, object]


class LiveState:
    """All cameras by name.

    Args:
        clock: steady, seconds.
        wall_clock: Unix time, seconds.
    """

    def __init__(
        self,
        rule: DisplayThresholds,
        track_retention_s: float,
        studio_of: Callable[[LiveState], MjpegHub],
        events: EventBus,
        metrics: AnnotatorMetrics,
        people_counter: PeopleCounter,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._rule = rule
        self._forget_after_s = track_retention_s
        self._events = events
        self._metrics = metrics
        self.people_counter = people_counter
        self._clock = clock
        self._wall_clock = wall_clock
        self._cameras: dict[str, Camera] = {}
        self._statuses: dict[str, CameraStatus] = {}
        self._people: dict[str, CameraPeople] = {}
        self._history = RecentHistory()
        self._answering = Answering()
        self._people_told_at = clock()
        self._broker_missing: tuple[str, float] | None = ("not reached yet", wall_clock())
        self.studio = studio_of(self)

    @property
    def broker_error(self) -> str | None:
        """Why the broker does not answer; None when it does."""
        return self._broker_missing[0] if self._broker_missing else None

    def names(self) -> list[str]:
        """All cameras."""
        return list(self._cameras)

    def cameras(self) -> dict[str, Camera]:
        """All cameras by name, as the user asked for them."""
        return dict(self._cameras)

    def camera(self, name: str) -> Camera | None:
        """What the user asked for; None where there is no such camera."""
        return self._cameras.get(name)

    def statuses(self) -> list[CameraStatus]:
        """Every camera's state, by name."""
        return [self.status(name) for name in sorted(self._cameras)]

    def status(self, name: str) -> CameraStatus:
        """One camera's state, as far as it can be known."""
        if self._broker_missing is not None:
            return CameraStatus(
                name=name,
                state="failed",
                since=self._broker_missing[1],
                reason="the broker does not answer",
            )
        status = self._statuses.get(name)
        if status is not None:
            return status
        return CameraStatus(name=name, state="stopped", since=self._wall_clock(), reason="removed")

    def on_broker_lost(self, reason: str) -> None:
        """The broker does not answer; what is known is kept until it does."""
        since = self._broker_missing[1] if self._broker_missing else self._wall_clock()
        self._broker_missing = (reason, since)
        if self._cameras:  # else nobody may know yet which there are, and none is no answer
            self.publish_cameras()

    def set_cameras(self, cameras: Mapping[str, Camera], statuses: Sequence[CameraStatus]) -> None:
        """The broker's newest word on which cameras there are and how they do."""
        self._broker_missing = None
        for gone in self._cameras.keys() - cameras.keys():
            self._forget(gone)
        known = self._statuses
        self._cameras = dict(cameras)
        self._statuses = {
            s.name: _with_first_since(s, known.get(s.name)) for s in statuses if s.name in cameras
        }
        for name in cameras:
            if name not in self._people:
                self._people[name] = CameraPeople(
                    self._rule, self._forget_after_s, self._remember_gone
                )
        self.publish_cameras()

    def on_frame(self, name: str, frame: Frame, jpeg: bytes | None) -> None:
        """A frame came from this camera."""
        people = self._people.get(name)
        if people is None:
            return
        now = self._clock()
        people.on_frame(frame, now)
        self.people_counter.on_frame(self._cameras[name], frame, people)
        self._metrics.frames.labels(name).inc()
        waits = bool(frame.tracks) and not people.any_visible_has_result()
        self._answering.on_frame(name, waits=waits, now_s=now)
        status = self._statuses.get(name)
        has_picture = jpeg is not None or (status is not None and status.privacy == "stats-only")
        if has_picture and self.studio.is_watched(name):
            labels = [build_label(person.box, person.shown) for person in people.in_view(now)]
            size = (frame.width, frame.height)
            self.studio.submit_frame(name, RenderJob(jpeg, labels, frame.captured_us, size))

    def on_result(self, name: str, result: Result) -> None:
        """A result came for this camera.

        Raises:
            MessageError: it is corrupt.
        """
        people = self._people.get(name)
        if people is None:
            return
        now = self._clock()
        if not people.add_result(result, now):
            self._metrics.results_dropped.labels("duplicate").inc()
            return
        latency_s = max(0, now_us() - result.captured_us) / 1e6
        self._answering.on_result(latency_s, now)
        self._metrics.results.labels(name).inc()
        self._metrics.result_latency.observe(latency_s)

    def people(self, name: str) -> list[Person]:
        """Who is in view of this camera now."""
        people = self._people.get(name)
        return people.in_view(self._clock()) if people else []

    def publish_cameras(self) -> None:
        """Send every page the cameras, if that is news."""
        cameras = []
        for status in self.statuses():
            camera = self._cameras[status.name]
            cameras.append(
                status.model_dump()
                | {
                    "fps": round(status.fps, 1),
                    "rotate": camera.rotate,
                    "paused": camera.paused,
                    "is_phone": camera.is_phone,
                }
            )
        self._events.publish("cameras", cameras)

    def publish_people(self) -> None:
        """Send every page who is in view, where that changed; drop who is long gone."""
        now = self._clock()
        passed_s, self._people_told_at = now - self._people_told_at, now
        for name, people in self._people.items():
            in_view = people.in_view(now)
            self._metrics.people_in_view.labels(name).set(len(in_view))
            self._metrics.person_seconds.labels(name).inc(len(in_view) * passed_s)
            self._events.publish(
                "people",
                {"camera": name, "people": [person_json(person) for person in in_view]},
                name,
            )
            unmet = people.evict_stale(now)
            if unmet:
                self._metrics.results_dropped.labels("unknown_track").inc(unmet)

    def publish_status(self) -> None:
        """Send every page how the system does, if that is news."""
        now = self._clock()
        in_view = {name: len(people.in_view(now)) for name, people in self._people.items()}
        facts = system_status.SystemSnapshot(
            broker_missing=self.broker_error,
            cameras=self.statuses(),
            people=sum(in_view.values()),
            unanswered_for_s=self._answering.longest_wait_s(
                (name for name, people in in_view.items() if people), now
            ),
            answer_latency_s=self._answering.median_latency_s(now),
            counts_trouble=self.people_counter.storage_error,
        )
        found = system_status.build_messages(facts, self._wall_clock())
        self._events.publish("system", [{"level": n.level, "text": n.text} for n in found])

    def publish_history(self) -> None:
        """Take a sample and send every page the charts."""
        now = self._wall_clock()
        self._history.add_sample((p.shown for name in self._people for p in self.people(name)), now)
        # Who left is among those that are gone only after a while: not in between is nobody.
        of_late = [shown for people in self._people.values() for shown in people.recent_estimates()]
        self._events.publish("history", self._history.to_json(of_late, now))

    def _remember_gone(self, shown: DisplayedEstimate) -> None:
        self._history.add_departed(shown, self._wall_clock())

    def _forget(self, name: str) -> None:
        self._people.pop(name, None)
        self._answering.forget(name)
        self.people_counter.remove_camera(name)
        self.studio.remove_camera(name)
        self._events.forget(name)
        self._metrics.forget_camera(name)


def person_json(person: Person) -> PersonJson:
    """A person as the API and the events say it."""
    shown = person.shown
    return {
        "track": person.track,
        "box": [round(x) for x in person.box],
        "seen_s": round(person.seen_s, 1),
        "age": shown.age,
        "age_low": shown.age_low,
        "age_high": shown.age_high,
        "female": shown.female_probability,
        "answers": shown.predictions,
    }


def _with_first_since(status: CameraStatus, before: CameraStatus | None) -> CameraStatus:
    """Where nobody reads a camera the registry has no `since`: the first time it said so counts."""
    if before is not None and before.state == status.state and before.reason == status.reason:
        return status.model_copy(update={"since": min(before.since, status.since)})
    return status
