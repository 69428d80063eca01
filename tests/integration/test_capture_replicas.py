"""Capture replicas as processes that share cameras by leases in a real broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from facestream.common.broker import keys
from facestream.common.broker.messages import decode_frame
from facestream.common.cameras.models import Camera
from facestream.common.cameras.registry import CameraRegistry
from facestream.common.core.paths import CHECKOUT
from facestream.demo.h264_packetizer import Clip
from facestream.demo.rtsp_server import RtspServer, running

from tests.fixtures.polling import wait_for
from tests.fixtures.stack import free_port, make_clip

NAMES = ("a", "b", "c", "d")
LEASE_S = 2.0
TAKEOVER_S = 10.0
START_S = 45.0


class _Cameras:
    """Readers of each camera, and the sessions whose frames arrive in the broker."""

    def __init__(self, server: RtspServer, url: str) -> None:
        self.client = redis.Redis.from_url(url)
        self._streams = {name: server.stream(name) for name in NAMES}
        self._last = {keys.frames_key(name): "0" for name in NAMES}
        self.sessions: dict[str, list[int]] = {name: [] for name in NAMES}  # in order of arrival
        self.most_readers = 0

    def poll(self) -> None:
        for stream in self._streams.values():
            assert stream is not None
            self.most_readers = max(self.most_readers, len(stream.clients))
        reply: Any = self.client.xread(self._last)  # type: ignore[arg-type]
        for key, entries in reply:
            for entry, fields in entries:
                self._last[key.decode()] = entry
                frame, _ = decode_frame(fields)
                sessions = self.sessions[frame.camera]
                if not sessions or sessions[-1] != frame.session:
                    sessions.append(frame.session)

    def held_by(self, replica: _Replica) -> list[str]:
        """Return the cameras whose leases the replica holds."""
        holders: Any = self.client.hgetall(keys.LEASES_KEY)
        port = f"-{replica.port}"
        return [name.decode() for name, holder in holders.items() if holder.decode().endswith(port)]

    def are_live(self) -> bool:
        statuses = CameraRegistry(self.client).statuses()
        return len(statuses) == len(NAMES) and all(s.state == "live" for s in statuses)

    def wait_until(self, condition: Callable[[], object], what: str, deadline_s: float) -> float:
        """Poll until the condition holds; return the elapsed seconds."""

        def poll_condition() -> object:
            self.poll()
            return condition()

        began = time.monotonic()
        wait_for(poll_condition, what, deadline_s)
        return time.monotonic() - began

    def no_stale_session_continued(self) -> bool:
        """Return whether no session continued after the next one had started."""
        return all(len(set(sessions)) == len(sessions) for sessions in self.sessions.values())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtspServer]:
    clip = Clip.load(make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", fps=10))
    with running(RtspServer(dict.fromkeys(NAMES, clip), port=0)) as server:
        yield server


class _Replica:
    def __init__(self, broker_url: str) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "facestream", "capture"],
            cwd=CHECKOUT,
            env=os.environ
            | {
                "FACESTREAM_BROKER": broker_url,
                "FACESTREAM_CAPTURE_HEALTH_PORT": str(self.port),
                "FACESTREAM_CAPTURE_LEASE_TTL_S": str(LEASE_S),
                "FACESTREAM_CAPTURE_ALLOW_LOCAL_SOURCES": "true",
            },
        )

    def holds(self, cameras: _Cameras, number: int) -> bool:
        return len(cameras.held_by(self)) == number

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(5)


def test_replicas_share_cameras_and_take_over_from_each_other(
    broker_url: str, server: RtspServer, tmp_path: Path
) -> None:
    cameras = _Cameras(server, broker_url)
    registry = CameraRegistry(cameras.client)
    for name in NAMES:
        registry.upsert(Camera.parse(f"{name}=rtsp://127.0.0.1:{server.port}/{name}"))
    replicas: list[_Replica] = []

    def start() -> _Replica:
        replicas.append(_Replica(broker_url))
        return replicas[-1]

    try:
        first = start()
        cameras.wait_until(lambda: first.holds(cameras, 4), "the first holds all", START_S)
        second = start()
        cameras.wait_until(lambda: second.holds(cameras, 2), "the second holds its share", START_S)
        cameras.wait_until(lambda: first.holds(cameras, 2), "the first holds the others", 5)
        cameras.wait_until(cameras.are_live, "all are live", TAKEOVER_S)
        assert cameras.most_readers == 1, "no camera was read twice while they moved"

        moved = cameras.held_by(second)
        second.process.send_signal(signal.SIGSTOP)
        cameras.wait_until(lambda: first.holds(cameras, 4), "the first takes over", TAKEOVER_S)
        known = {name: len(sessions) for name, sessions in cameras.sessions.items()}
        cameras.wait_until(
            lambda: all(len(cameras.sessions[name]) > known[name] for name in moved),
            "frames of the cameras of the suspended replica",
            TAKEOVER_S - LEASE_S,
        )
        second.process.send_signal(signal.SIGCONT)
        cameras.wait_until(lambda: second.holds(cameras, 2), "it holds a share again", TAKEOVER_S)
        cameras.wait_until(cameras.are_live, "all are live", TAKEOVER_S)
        assert cameras.no_stale_session_continued(), (
            "frames in flight at the suspension were not published"
        )

        first.process.kill()
        elapsed_s = cameras.wait_until(lambda: second.holds(cameras, 4), "taken over", TAKEOVER_S)
        cameras.wait_until(cameras.are_live, "all are live", TAKEOVER_S - elapsed_s)

        third = start()
        cameras.wait_until(lambda: third.holds(cameras, 2), "a share for the third", START_S)
        second.process.terminate()
        assert second.process.wait(10) == 0
        cameras.wait_until(lambda: third.holds(cameras, 4), "released at once", LEASE_S * 0.5)
        cameras.wait_until(cameras.are_live, "all are live", TAKEOVER_S)
        assert cameras.no_stale_session_continued()
    finally:
        for replica in replicas:
            replica.end()
