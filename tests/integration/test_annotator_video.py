"""The annotator's video: streams, snapshots, placeholders, slow clients, limits."""

from __future__ import annotations

import socket
import threading
import time

import numpy as np
import simplejpeg
from facestream.common.broker import keys
from facestream.common.broker.messages import Frame, encode, now_us

from tests.fixtures.annotator import DEADLINE_S, Pipeline, Running, filming, parts
from tests.fixtures.polling import wait_for


def test_stream_sends_annotated_frames_to_several_clients(
    annotator: Running, pipeline: Pipeline
) -> None:
    assert not pipeline.registry.watched_cameras(["door"])
    with (
        filming(pipeline, "door", [2]),
        annotator.http.stream("GET", "/cameras/door/stream.mjpg") as one,
        annotator.http.stream("GET", "/cameras/door/stream.mjpg") as two,
    ):
        assert one.headers["content-type"].startswith("multipart/x-mixed-replace")
        first, second = parts(one), parts(two)
        for _ in range(10):
            a, b = next(first), next(second)
        for jpeg in (a, b):
            image = simplejpeg.decode_jpeg(jpeg)
            assert image.shape == (240, 320, 3)
            assert image[100:150, 80:120].max() > 200, "the box is drawn"
        assert annotator.metric('facestream_annotator_video_streams{camera="door"}') == 2
        assert pipeline.registry.watched_cameras(["door"]) == {"door"}
        drawn = annotator.metric('facestream_annotator_frames_annotated_total{camera="door"}')
        assert 0 < drawn <= pipeline.seq
    wait_for(lambda: annotator.metric('facestream_annotator_video_streams{camera="door"}') == 0)
    wait_for(lambda: not pipeline.registry.watched_cameras(["door"]), "the end of watching")
    drawn = annotator.metric('facestream_annotator_frames_annotated_total{camera="door"}')
    pipeline.frame("door", [2], 100)
    pipeline.frame("door", [1, 2, 3])
    wait_for(lambda: len(annotator.http.get("/api/cameras/door/people").json()) == 3)
    now = annotator.metric('facestream_annotator_frames_annotated_total{camera="door"}')
    assert now == drawn, "without viewers nothing is rendered"


def test_slow_client_does_not_delay_others(broker_url: str, pipeline: Pipeline) -> None:
    pipeline.camera("door")
    running = Running(broker_url, send_timeout_s=1.0)
    noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
    big = simplejpeg.encode_jpeg(noise, 90, colorsubsampling="420")
    stop = threading.Event()

    def film() -> None:
        while not stop.wait(0.03):
            message = Frame(camera="door", session=1, captured_us=now_us(), width=1280, height=720)
            pipeline.redis.xadd(
                keys.frames_key("door"),
                encode(message, big),  # type: ignore[arg-type]
                maxlen=8,
                approximate=False,
            )

    filmer = threading.Thread(target=film)
    try:
        wait_for(lambda: running.http.get("/api/cameras").json())
        filmer.start()
        with socket.socket() as stuck:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.connect(("127.0.0.1", running.port))
            stuck.sendall(b"GET /cameras/door/stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with running.http.stream("GET", "/cameras/door/stream.mjpg") as response:
                watcher = parts(response)
                viewers = 'facestream_annotator_video_streams{camera="door"}'
                most = 0.0
                end = time.monotonic() + DEADLINE_S
                while time.monotonic() < end:
                    next(watcher)
                    count = running.metric(viewers)
                    most = max(most, count)
                    if most == 2 and count == 1:
                        break
                else:
                    raise AssertionError("the stuck viewer was never let go")
    finally:
        stop.set()
        filmer.join()
        running.end()


def test_snapshot_is_a_new_frame(annotator: Running, pipeline: Pipeline) -> None:
    with filming(pipeline, "door", [1]):
        response = annotator.http.get("/cameras/door/snapshot.jpg")
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["cache-control"] == "no-store"
    assert simplejpeg.decode_jpeg(response.content).shape == (240, 320, 3)


def test_camera_that_is_down_shows_a_placeholder(annotator: Running, pipeline: Pipeline) -> None:
    pipeline.status("door", "failed", "wrong user or password")
    wait_for(lambda: annotator.http.get("/api/cameras").json()[0]["state"] == "failed")
    with annotator.http.stream("GET", "/cameras/door/stream.mjpg") as response:
        frames = parts(response)
        first, second = next(frames), next(frames)
    assert simplejpeg.decode_jpeg(first).shape == (720, 1280, 3)
    assert first != second, "it counts the seconds"
    response = annotator.http.get("/cameras/door/snapshot.jpg")
    assert response.status_code == 503
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["x-camera-state"] == "failed"


def test_open_streams_do_not_delay_shutdown(broker_url: str, pipeline: Pipeline) -> None:
    pipeline.camera("door")
    running = Running(broker_url)
    wait_for(lambda: running.http.get("/api/cameras").json())
    with (
        filming(pipeline, "door", [1]),
        running.http.stream("GET", "/cameras/door/stream.mjpg") as one,
        running.http.stream("GET", "/api/streams.mjpg") as multi,
        running.http.stream("GET", "/api/events") as events,
    ):
        frames, tiles, lines = parts(one), parts(multi), events.iter_lines()
        next(frames), next(tiles), next(lines)
        assert running.metric('facestream_annotator_video_streams{camera="door"}') == 2
        assert running.end() < 2, "not only when the server's patience ends"


def test_stream_limits_are_reported(broker_url: str, pipeline: Pipeline) -> None:
    pipeline.camera("door")
    running = Running(broker_url, max_video_streams=1, max_event_streams=1)
    try:
        wait_for(lambda: running.http.get("/api/cameras").json())
        with (
            filming(pipeline, "door", [1]),
            running.http.stream("GET", "/cameras/door/stream.mjpg") as one,
            running.http.stream("GET", "/api/events") as events,
        ):
            # Hold the iterators: a discarded one closes its connection.
            frames, lines = parts(one), events.iter_lines()
            next(frames), next(lines)
            for path in ("/cameras/door/stream.mjpg", "/cameras/door/snapshot.jpg", "/api/events"):
                response = running.http.get(path)
                assert response.status_code == 503
                assert "too many" in response.json()["detail"]
    finally:
        running.end()
