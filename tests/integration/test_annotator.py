"""The annotator with a real broker and real HTTP: cameras, people, events."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from facestream.annotator.service import serve
from facestream.annotator.settings import AnnotatorSettings
from facestream.common.broker import keys
from facestream.common.cameras.models import Camera
from facestream.common.cameras.registry import CameraRegistry
from facestream.common.core.errors import StartError

from tests.fixtures.annotator import DEADLINE_S, Pipeline, Running, filming
from tests.fixtures.polling import wait_for


def test_people_are_joined_from_frames_and_results(annotator: Running, pipeline: Pipeline) -> None:
    with filming(pipeline, "door", [1, 2]):
        people = wait_for(lambda: annotator.http.get("/api/cameras/door/people").json())
        assert {person["track_id"] for person in people} == {1, 2}
        assert all(
            person["age"] is None and person["female_probability"] is None for person in people
        )
        pipeline.result("door", 2)

        def second() -> Any:
            people = annotator.http.get("/api/cameras/door/people").json()
            return next((p for p in people if p["track_id"] == 2 and p["predictions"]), None)

        person = wait_for(second)
    assert person["box"] == [80, 100, 40, 50]
    assert person["dwell_s"] == pytest.approx(2, abs=0.3)
    assert person["age"] == pytest.approx(34, abs=0.5)
    assert person["age_low"] < 30 < 38 < person["age_high"]
    assert person["female_probability"] == pytest.approx(0.95, abs=0.02)
    assert set(person) == {
        "track_id", "box", "dwell_s", "age", "age_low", "age_high", "female_probability",
        "predictions",
    }  # fmt: skip


def test_cameras_are_added_changed_and_removed(annotator: Running, pipeline: Pipeline) -> None:
    http = annotator.http
    added = http.post(
        "/api/cameras",
        json={"name": "phone", "url": "rtsp://u:topsecret1@10.0.0.7/x", "rotate": 90},
    )
    assert added.status_code == 201
    assert added.json()["url"] == "rtsp://u:***@10.0.0.7/x"
    assert [c["name"] for c in http.get("/api/cameras").json()] == ["door", "phone"]
    assert pipeline.registry.cameras()["phone"].rotate == 90
    again = http.post("/api/cameras", json={"name": "phone", "url": "rtsp://10.0.0.7/x"})
    assert again.status_code == 409
    assert http.patch("/api/cameras/phone", json={"paused": True, "rotate": 180}).json() == {
        "name": "phone",
        "url": "rtsp://u:***@10.0.0.7/x",
        "rotate": 180,
        "pixel_aspect": None,
        "deinterlace": False,
        "transport": "tcp",
        "paused": True,
        "privacy": "full",
        "zones": [],
        "lines": [],
    }
    assert http.patch("/api/cameras/phone", json={"name": "door"}).status_code == 409
    assert http.patch("/api/cameras/phone", json={"name": "hall"}).status_code == 200
    stored = pipeline.registry.cameras()["hall"]
    assert stored.url.get_secret_value() == "rtsp://u:topsecret1@10.0.0.7/x"
    assert http.delete("/api/cameras/hall").status_code == 204
    assert http.delete("/api/cameras/hall").status_code == 404
    assert [c["name"] for c in http.get("/api/cameras").json()] == ["door"]


def test_concurrent_changes_are_serialized(
    annotator: Running, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = CameraRegistry.upsert

    def put_slowly(registry: CameraRegistry, camera: Camera) -> None:
        time.sleep(0.1)
        put(registry, camera)

    monkeypatch.setattr(CameraRegistry, "upsert", put_slowly)
    door = f"{annotator.url}/api/cameras/door"
    hall = {"name": "hall", "url": "rtsp://10.0.0.7/x"}
    with ThreadPoolExecutor(4) as pool:
        wishes: list[dict[str, object]] = [{"rotate": 90}, {"paused": True}, {"privacy": "blur"}]
        changes = [pool.submit(httpx.patch, door, json=wish) for wish in wishes]
        assert [change.result().status_code for change in changes] == [200] * 3
        after = pipeline.registry.cameras()["door"]
        assert (after.rotate, after.paused, after.privacy) == (90, True, "blur")
        adding = [pool.submit(annotator.http.post, "/api/cameras", json=hall) for _ in range(3)]
        assert sorted(one.result().status_code for one in adding) == [201, 409, 409]
        change = pool.submit(httpx.patch, door, json={"rotate": 0})
        time.sleep(0.05)
        assert httpx.delete(door).status_code == 204
        assert change.result().status_code in (200, 404)
        assert list(pipeline.registry.cameras()) == ["hall"]


def test_cameras_can_be_renamed_at_the_camera_limit(
    annotator: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MAX_CAMERAS", 1)
    http = annotator.http
    assert http.patch("/api/cameras/door", json={"name": "hall"}).status_code == 200
    one_more = http.post("/api/cameras", json={"name": "door", "url": "rtsp://10.0.0.7/x"})
    assert one_more.status_code == 409


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"name": "Front Door", "url": "rtsp://10.0.0.7/x"}, "name: use lower-case"),
        ({"name": "a", "url": "gopher://u:topsecret2@10.0.0.7/x"}, "url: scheme must be one of"),
        ({"name": "a", "url": "rtsp://"}, "url: has no host"),
        ({"name": "a", "url": "rtsp://10.0.0.7/x", "rotate": 45}, "rotate: "),
        ({"name": "a"}, "url: "),
        ({"name": "a", "url": "rtsp://h/x", "unknown": 1}, "unknown: "),
        ([], "body: "),
    ],
)
def test_invalid_camera_is_explained_in_one_line(
    annotator: Running, body: object, message: str
) -> None:
    response = annotator.http.post("/api/cameras", json=body)
    assert response.status_code == 422
    detail = response.json()["detail"]
    assert detail.startswith(message)
    assert "\n" not in detail
    assert "topsecret" not in response.text


@pytest.mark.parametrize(
    "path",
    [
        "/api/cameras/missing",
        "/api/cameras/missing/people",
        "/cameras/missing/stream.mjpg",
        "/cameras/missing/snapshot.jpg",
        "/api/streams.mjpg?camera=missing",
        "/api/nothing",
    ],
)
def test_missing_resources_are_404_with_a_detail(annotator: Running, path: str) -> None:
    response = annotator.http.get(path)
    assert response.status_code == 404
    assert "detail" in response.json()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/livez",
        "/readyz",
        "/metrics",
        "/login",
        "/static/app.js",
        "/api/cameras",
        "/api/events",
        "/cameras/door/snapshot.jpg",
        "/cameras/door/stream.mjpg",
        "/api/streams.mjpg",
    ],
)
def test_head_responds_as_get_without_a_body(
    annotator: Running, pipeline: Pipeline, path: str
) -> None:
    with filming(pipeline, "door", [1]):
        head = annotator.http.head(path)
        with annotator.http.stream("GET", path) as get:
            assert head.status_code == get.status_code != 405
            assert head.headers.get("content-type") == get.headers.get("content-type")
    assert not head.content


def test_http_1_0_client_gets_a_stream_without_chunks(
    annotator: Running, pipeline: Pipeline
) -> None:
    with (
        filming(pipeline, "door", [1]),
        socket.create_connection(("127.0.0.1", annotator.port), 10) as client,
    ):
        client.sendall(b"GET /cameras/door/stream.mjpg HTTP/1.0\r\nHost: localhost\r\n\r\n")
        data = b""
        while len(data.partition(b"\r\n\r\n")[2]) < 60:
            data += client.recv(4096)
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    assert body.lstrip(b"\r\n").startswith(b"--")


def test_no_response_contains_a_password(annotator: Running) -> None:
    for path in ("/api/cameras", "/api/cameras/door", "/metrics", "/readyz", "/api/openapi.json"):
        assert "geheim99" not in annotator.http.get(path).text


def test_events_report_people_and_cameras(annotator: Running, pipeline: Pipeline) -> None:
    def received(matches: Callable[[str, object], bool]) -> bool:
        with annotator.http.stream("GET", "/api/events") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            kind, end = "", time.monotonic() + DEADLINE_S
            for line in response.iter_lines():
                assert time.monotonic() < end, "not received in time"
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: ") and matches(
                    kind, json.loads(line.removeprefix("data: "))
                ):
                    return True
        return False

    with filming(pipeline, "door", [3]):
        wait_for(lambda: annotator.http.get("/api/cameras/door/people").json())
        pipeline.result("door", 3)
        assert received(
            lambda kind, data: kind == "people" and any(p["predictions"] for p in data["people"])  # type: ignore[index]
        )
    pipeline.status("door", "stalled", "no frame for 5 s")
    assert received(lambda kind, data: kind == "cameras" and data[0]["state"] == "stalled")  # type: ignore[index]
    assert received(lambda kind, data: kind == "system" and "door" in data[0]["text"])  # type: ignore[index]


def test_port_in_use_is_reported_in_one_line() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(StartError, match=rf"127\.0\.0\.1:{port}.*--port"):
            serve(AnnotatorSettings(port=port, health_port=0), threading.Event())


def test_web_ui_loads_no_foreign_resources(annotator: Running) -> None:
    page = annotator.http.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name in (
        "app.js",
        "multi-stream.js",
        "charts.js",
        "people.js",
        "camera-dialogs.js",
        "api-client.js",
        "session.js",
        "login.js",
        "login.html",
        "style.css",
        "icon.svg",
    ):
        file = annotator.http.get(f"/static/{name}")
        assert file.status_code == 200
        without_examples = file.text.replace("http://www.w3.org/2000/svg", "")
        if name != "camera-dialogs.js":
            assert "http://" not in without_examples
            assert "https://" not in without_examples
