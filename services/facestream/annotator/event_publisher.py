"""Publish the live state to the web UI as server-sent events (SSE). Event loop only; no I/O.

`EventBus` drops an event that equals the last one of its topic, so each method may be called at a
fixed interval.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from facestream.annotator.api.sse import EventBus
from facestream.annotator.live_state import LiveState
from facestream.annotator.metrics import AnnotatorMetrics
from facestream.annotator.people.camera_people import Person
from facestream.annotator.system_status import build_messages

PersonJson = dict[str, object]


class EventPublisher:
    """Events `cameras`, `people`, `system` and `history`, made from a `LiveState`.

    It registers itself with the state, so that `cameras` is published at every change.

    Args:
        clock: monotonic seconds.
        wall_clock: Unix time in seconds.
    """

    def __init__(
        self,
        live_state: LiveState,
        events: EventBus,
        metrics: AnnotatorMetrics,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._live_state, self._events, self._metrics = live_state, events, metrics
        self._clock, self._wall_clock = clock, wall_clock
        self._people_published_s = clock()
        live_state.on_cameras_changed = self.publish_cameras
        live_state.on_camera_removed = events.remove_camera

    def publish_cameras(self) -> None:
        """Publish the cameras with their status."""
        cameras = []
        configured = self._live_state.cameras()
        for status in self._live_state.statuses():
            camera = configured[status.name]
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
        """Publish the people in view, update their metrics and evict stale tracks."""
        now = self._clock()
        elapsed_s, self._people_published_s = now - self._people_published_s, now
        for name, people in self._live_state.people_in_view().items():
            self._metrics.people_in_view.labels(name).set(len(people))
            self._metrics.person_seconds.labels(name).inc(len(people) * elapsed_s)
            self._events.publish(
                "people",
                {"camera": name, "people": [person_json(person) for person in people]},
                camera=name,
            )
        self._live_state.evict_stale_tracks()

    def publish_status(self) -> None:
        """Publish the status messages of the system."""
        messages = build_messages(self._live_state.system_snapshot(), self._wall_clock())
        self._events.publish("system", [{"level": m.level, "text": m.text} for m in messages])

    def publish_history(self) -> None:
        """Sample the people in view and publish the chart data."""
        self._events.publish("history", self._live_state.sample_history())


def person_json(person: Person) -> PersonJson:
    """Return a person as the API and the events represent it."""
    shown = person.shown
    return {
        "track_id": person.track_id,
        "box": [round(x) for x in person.box],
        "dwell_s": round(person.dwell_s, 1),
        "age": shown.age,
        "age_low": shown.age_low,
        "age_high": shown.age_high,
        "female_probability": shown.female_probability,
        "predictions": shown.predictions,
    }
