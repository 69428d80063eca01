"""Capture replicas as real processes that share real cameras by leases in a real broker."""

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
TAKEN_OVER_S = 10.0
START_S = 45.0


class _Cameras:
    """What the cameras and the broker see: who reads, and whose pictures arrive."""

    def __init__(self, server: RtspServer, url: str) -> None:
        self.client = redis.Redis.from_url(url)
        self._streams = {name: server.stream(name) for name in NAMES}
        self._last = {keys.frames_key(name): "0" for name in NAMES}
        self.sessions: dict[str, list[int]] = {name: [] for name in NAMES}  # in order of arrival
        self.most_readers = 0

    def look(self) -> None:
        for stream in self._streams.values():
            assert stream is not None
            self.most_readers = max(self.most_readers, len(stream.clients))
        answer: Any = self.client.xread(self._last)  # type: ignore[arg-type]
        for key, entries in answer:
            for entry, fields in entries:
                self._last[key.decode()] = entry
                frame, _ = decode_frame(fields)
                seen = self.sessions[frame.camera]
                if not seen or seen[-1] != frame.session:
                    seen.append(frame.session)

    def held_by(self, replica: _Replica) -> list[str]:
        """The names of the cameras that it holds."""
        holders: Any = self.client.hgetall(keys.LEASES_KEY)
        port = f"-{replica.port}"
        return [name.decode() for name, holder in holders.items() if holder.decode().endswith(port)]

    def are_live(self) -> bool:
        statuses = CameraRegistry(self.client).statuses()
        return len(statuses) == len(NAMES) and all(s.state == "live" for s in statuses)

    def until(self, holds: Callable[[], object], what: str, deadline_s: float) -> float:
        """Look on until something holds; returns after how many seconds."""

        def look_on() -> object:
            self.look()
            return holds()

        began = time.monotonic()
        wait_for(look_on, what, deadline_s)
        return time.monotonic() - began

    def no_stale_picture_came(self) -> bool:
        """Whether no session went on after another one had begun."""
        return all(len(set(seen)) == len(seen) for seen in self.sessions.values())


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
        cameras.until(lambda: first.holds(cameras, 4), "the first has all", START_S)
        second = start()
        cameras.until(lambda: second.holds(cameras, 2), "the second has its share", START_S)
        cameras.until(lambda: first.holds(cameras, 2), "the first has the other", 5)
        cameras.until(cameras.are_live, "all are live", TAKEN_OVER_S)
        assert cameras.most_readers == 1, "no camera was read twice while they moved"

        moved = cameras.held_by(second)
        second.process.send_signal(signal.SIGSTOP)
        cameras.until(lambda: first.holds(cameras, 4), "the first takes over", TAKEN_OVER_S)
        known = {name: len(seen) for name, seen in cameras.sessions.items()}
        cameras.until(
            lambda: all(len(cameras.sessions[name]) > known[name] for name in moved),
            "pictures of the cameras of the one that was stopped",
            TAKEN_OVER_S - LEASE_S,
        )
        second.process.send_signal(signal.SIGCONT)
        cameras.until(lambda: second.holds(cameras, 2), "it has a share again", TAKEN_OVER_S)
        cameras.until(cameras.are_live, "all are live", TAKEN_OVER_S)
        assert cameras.no_stale_picture_came(), "what it still had in hand was not published"

        first.process.kill()
        took_s = cameras.until(lambda: second.holds(cameras, 4), "taken over", TAKEN_OVER_S)
        cameras.until(cameras.are_live, "all are live", TAKEN_OVER_S - took_s)

        third = start()
        cameras.until(lambda: third.holds(cameras, 2), "a share without a restart", START_S)
        second.process.terminate()
        assert second.process.wait(10) == 0
        cameras.until(lambda: third.holds(cameras, 4), "released, not waited for", LEASE_S * 0.5)
        cameras.until(cameras.are_live, "all are live", TAKEN_OVER_S)
        assert cameras.no_stale_picture_came()
    finally:
        for replica in replicas:
            replica.end()
