"""Run a stack with cameras, a viewer and a probe, whose processes and links can take faults."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from facestream.common.core.paths import CHECKOUT
from facestream.demo.clip_renderer import ensure_clip
from facestream.demo.demo_camera import cache_dir
from facestream.demo.h264_packetizer import Clip
from facestream.demo.rtsp_server import RtspServer, running

from benchmarks.clip import numbered_clip
from tests.fixtures.polling import wait_for
from tests.fixtures.stack import Stack, free_port, running_stack
from tests.soak import up_with_fault_proxy
from tests.soak.fault_proxy import FaultProxy, Link
from tests.soak.probe import Probe

CLIP_S = 6.0  # of the demo camera's clip; a person is in view all the time
FAULTY, LOSSY = "troubled", "lossy"
_TIMEOUT_S = 5.0
_START_S = 90.0
END_S = 60.0  # a slow shutdown must not lose the record of a long run
_BROKER_USERS = ("capture", "worker", "annotator")
PARTS = ("broker", "model-server", *_BROKER_USERS)


class LossyServer(RtspServer):
    """RTSP server that drops UDP packets at random. `loss` is the share, 0-1."""

    loss = 0.0

    async def start(self) -> None:
        """Listen and start to play."""
        await super().start()
        for task in self._tasks:
            task.cancel()
        transport, rng, server = self._udp[0], random.Random(0), self

        class Lossy:
            def sendto(self, packet: bytes, address: tuple[str, int]) -> None:
                if rng.random() >= server.loss:
                    transport.sendto(packet, address)

        lossy: Any = Lossy()
        loop = self._server.get_loop()
        self._tasks = [loop.create_task(stream.play(lossy)) for stream in self._streams.values()]


class Viewer:
    """MJPEG viewer of one camera that reconnects after a loss."""

    def __init__(self, url: str) -> None:
        self.last_frame_at = 0.0
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="viewer", daemon=True)

    def __enter__(self) -> Viewer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_TIMEOUT_S + 1)

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                self._watch()

    def _watch(self) -> None:
        with urllib.request.urlopen(self._url, timeout=_TIMEOUT_S) as stream:
            while not self._stop.is_set() and (line := stream.readline()):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
                    while stream.readline() not in (b"\r\n", b""):
                        pass
                    if len(stream.read(length)) == length:
                        self.last_frame_at = time.monotonic()


@dataclass
class SoakEnvironment:
    """Everything that faults can be injected into."""

    stack: Stack
    probe: Probe
    viewer: Viewer
    links: Mapping[str, Link]
    camera: Link  # to the faulty camera
    lossy: LossyServer
    cameras: tuple[str, ...]
    ports: list[int]  # of the faulty camera in either size; the first is in use

    def camera_states(self) -> dict[str, str]:
        """Return the camera states by name; empty if the API is unavailable."""
        return {camera["name"]: camera["state"] for camera in self.stack.get("/api/cameras") or []}

    def resize(self) -> None:
        """Let the faulty camera reconnect with another frame size."""
        self.ports.reverse()
        self.camera.disconnect()

    def is_ready(self) -> bool:
        """Return whether all processes run and are ready."""
        addresses = self.stack.health_addresses().values()
        return len(self.stack.parts()) == len(PARTS) and all(map(_is_ready, addresses))

    def has_results(self, since_s: float) -> bool:
        """Return whether every camera had results, and the viewer frames, after `since_s`."""
        last_result_at = self.probe.observations.last_result_at
        return self.viewer.last_frame_at > since_s and all(
            last_result_at.get(camera, 0.0) > since_s for camera in self.cameras
        )


@contextlib.contextmanager
def soak_environment(
    steady: int, *, height_px: int = 720, environment: Mapping[str, str] | None = None
) -> Iterator[SoakEnvironment]:
    """Run a stack with `steady` cameras without faults, a faulty one, and one over lossy UDP.

    Args:
        height_px: frame height of the cameras; the faulty one switches between this and half.
        environment: additional variables of all processes.
    """
    with contextlib.ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        clips = _clips(folder, (height_px, height_px // 2))
        names = [f"steady{i}" for i in range(steady)]
        bank = held.enter_context(running(RtspServer(dict.fromkeys(names, clips[0]), port=0)))
        sizes = [held.enter_context(running(RtspServer({FAULTY: c}, port=0))) for c in clips]
        lossy = held.enter_context(running(LossyServer({LOSSY: clips[1]}, port=0)))
        assert isinstance(lossy, LossyServer)
        board = held.enter_context(FaultProxy())
        ports = [size.port for size in sizes]
        camera = board.link(lambda: ("127.0.0.1", ports[0]))
        server_port = free_port()
        links = {
            f"{service}-broker": board.link(
                lambda: next(folder.glob("facestream-*/broker.sock"), None),
                folder / f"{service}.sock",
            )
            for service in _BROKER_USERS
        }
        links["worker-model-server"] = board.link(lambda: ("127.0.0.1", server_port))
        parts = {part: dict(environment or {}) for part in PARTS}
        for service in _BROKER_USERS:
            parts[service]["FACESTREAM_BROKER"] = f"unix://{links[f'{service}-broker'].address}"
        parts["model-server"]["FACESTREAM_MODEL_SERVER_PORT"] = str(server_port)
        own_link = f"127.0.0.1:{links['worker-model-server'].port}"
        parts["worker"]["FACESTREAM_WORKER_MODEL_SERVER_ADDRESS"] = own_link
        cameras = [{"name": n, "url": f"rtsp://127.0.0.1:{bank.port}/{n}"} for n in names]
        cameras += [
            {"name": FAULTY, "url": f"rtsp://127.0.0.1:{camera.port}/{FAULTY}"},
            {"name": LOSSY, "url": f"rtsp://127.0.0.1:{lossy.port}/{LOSSY}", "transport": "udp"},
        ]
        file = folder / "cameras.yaml"
        file.write_text(yaml.safe_dump({"cameras": cameras}))
        stack = held.enter_context(
            running_stack(
                "--cameras-file",
                str(file),
                cache=cache_dir(),
                environment={
                    "TMPDIR": str(folder),
                    "XDG_DATA_HOME": str(folder),
                    "FACESTREAM_MODEL_SERVER_MODELS_DIR": str(CHECKOUT / "models"),
                    up_with_fault_proxy.VARIABLE: json.dumps(parts),
                },
                program="tests.soak.up_with_fault_proxy",
                end_s=END_S,
            )
        )
        probe = held.enter_context(Probe(stack, folder, [c["name"] for c in cameras]))
        url = f"http://127.0.0.1:{stack.port}/cameras/{names[0]}/stream.mjpg"
        viewer = held.enter_context(Viewer(url))
        result = SoakEnvironment(
            stack, probe, viewer, links, camera, lossy, tuple(c["name"] for c in cameras), ports
        )
        wait_for(lambda: result.has_results(0.0), "results of every camera", _START_S)
        yield result


def _clips(folder: Path, heights_px: tuple[int, int]) -> list[Clip]:
    source = ensure_clip(cache_dir(), lambda share: None)
    clips = []
    for height in heights_px:
        numbered_clip(source, height, CLIP_S, folder / f"{height}.mp4")
        clips.append(Clip.load(folder / f"{height}.mp4"))
    return clips


def _is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False
