"""Order of registry replies."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from facestream.annotator.api.sse import EventBus
from facestream.annotator.counting.people_counter import PeopleCounter
from facestream.annotator.counting.sqlite_store import SqliteCountStore
from facestream.annotator.counting.visit_tracker import VisitPolicy
from facestream.annotator.ingest.stream_reader import DEPENDENCY, StreamReader
from facestream.annotator.live_state import LiveState
from facestream.annotator.metrics import AnnotatorMetrics
from facestream.annotator.stream_limit import StreamLimit
from facestream.annotator.video.mjpeg_hub import MjpegHub
from facestream.common.broker.connection import connect, connect_async
from facestream.common.cameras.models import Camera
from facestream.common.cameras.registry import CameraRegistry, RegistrySnapshot
from facestream.common.observability.health import Health
from facestream.common.vision.displayed_estimate import DisplayThresholds
from prometheus_client import CollectorRegistry
from pydantic import SecretStr


def test_late_registry_reply_does_not_overwrite_a_newer_one(
    broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_queried = threading.Event()
    ask = CameraRegistry.snapshot

    def slow_at_first(registry: CameraRegistry, statuses_of: Sequence[str]) -> RegistrySnapshot:
        response = ask(registry, statuses_of)
        if not was_queried.is_set():
            was_queried.set()
            threading.Event().wait(0.3)
        return response

    monkeypatch.setattr(CameraRegistry, "snapshot", slow_at_first)

    async def names() -> list[str]:
        broker, blocking_broker = (
            connect(SecretStr(broker_url)),
            connect_async(SecretStr(broker_url)),
        )
        metrics = AnnotatorMetrics(CollectorRegistry())
        events = EventBus(StreamLimit(4, 4, "full"))
        live_state = LiveState(
            DisplayThresholds(),
            10.0,
            lambda state: MjpegHub(metrics, 80, StreamLimit(4, 4, "full"), 2.0, state.status),
            metrics,
            PeopleCounter(VisitPolicy(), SqliteCountStore(None), 400, events, metrics, Health(())),
        )
        reader = StreamReader(blocking_broker, broker, live_state, metrics, Health((DEPENDENCY,)))
        older = asyncio.create_task(reader.refresh())
        assert await asyncio.to_thread(was_queried.wait, 10.0)
        door = Camera(name="door", url=SecretStr("rtsp://10.0.0.5/live"))
        await reader.update_registry(lambda registry: registry.upsert(door))
        await older
        live_state.mjpeg_hub.close()
        await blocking_broker.aclose()
        broker.close()
        return live_state.names()

    assert asyncio.run(names()) == ["door"]
