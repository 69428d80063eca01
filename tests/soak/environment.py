"""A stack under load whose parts and links can be hurt: cameras, links, viewers, a watch."""

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
from tests.soak.fault_proxy import Link, Switchboard
from tests.soak.probe import Watch

CLIP_S = 6.0  # of the demo camera's, somebody is in view all the time
TROUBLED, LOSSY = "troubled", "lossy"
_TIMEOUT_S = 5.0
_START_S = 90.0
END_S = 60.0  # a long run is not to be lost for a stack that ends slowly
_BROKER_USERS = ("capture", "worker", "annotator")
PARTS = ("broker", "model-server", *_BROKER_USERS)


class LossyServer(RtspServer):
    """Sends over UDP, but not every packet. `loss` is the share that is lost, 0-1."""

    loss = 0.0

    async def start(self) -> None:
        """Listen and begin to play."""
        await super().start()
        for task in self._tasks:
            task.cancel()
        whole, chance, server = self._udp[0], random.Random(0), self

        class Lossy:
            def sendto(self, packet: bytes, address: tuple[str, int]) -> None:
                if chance.random() >= server.loss:
                    whole.sendto(packet, address)

        lossy: Any = Lossy()
        loop = self._server.get_loop()
        self._tasks = [loop.create_task(stream.play(lossy)) for stream in self._streams.values()]


class Viewer:
    """Somebody who looks at a camera, and opens the page again when it breaks off."""

    def __init__(self, url: str) -> None:
        self.picture_at = 0.0
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
                        self.picture_at = time.monotonic()


@dataclass
class Scene:
    """Everything that the faults are done to."""

    stack: Stack
    watch: Watch
    viewer: Viewer
    links: Mapping[str, Link]
    camera: Link  # to the troubled camera
    lossy: LossyServer
    cameras: tuple[str, ...]
    ports: list[int]  # of the troubled camera in either size; the first is in use

    def camera_states(self) -> dict[str, str]:
        """What the API says, by name; nothing while it says nothing."""
        return {camera["name"]: camera["state"] for camera in self.stack.get("/api/cameras") or []}

    def resize(self) -> None:
        """Have the troubled camera come back with another size."""
        self.ports.reverse()
        self.camera.hang_up()

    def is_ready(self) -> bool:
        """Whether all parts run and say that they can do their work."""
        addresses = self.stack.health_addresses().values()
        return len(self.stack.parts()) == len(PARTS) and all(map(_is_ready, addresses))

    def is_answered(self, since_s: float) -> bool:
        """Whether faces of every camera were answered, and pictures shown, after this moment."""
        answered_at = self.watch.seen.answered_at
        return self.viewer.picture_at > since_s and all(
            answered_at.get(camera, 0.0) > since_s for camera in self.cameras
        )


@contextlib.contextmanager
def scene(
    steady: int, *, height_px: int = 720, environment: Mapping[str, str] | None = None
) -> Iterator[Scene]:
    """A stack with so many steady cameras, one that can be troubled, and one over UDP.

    Args:
        height_px: of the cameras' pictures; the troubled one changes between this and half of it.
        environment: of all parts, besides their own.
    """
    with contextlib.ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        clips = _clips(folder, (height_px, height_px // 2))
        names = [f"steady{i}" for i in range(steady)]
        bank = held.enter_context(running(RtspServer(dict.fromkeys(names, clips[0]), port=0)))
        sizes = [held.enter_context(running(RtspServer({TROUBLED: c}, port=0))) for c in clips]
        lossy = held.enter_context(running(LossyServer({LOSSY: clips[1]}, port=0)))
        assert isinstance(lossy, LossyServer)
        board = held.enter_context(Switchboard())
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
            {"name": TROUBLED, "url": f"rtsp://127.0.0.1:{camera.port}/{TROUBLED}"},
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
        watch = held.enter_context(Watch(stack, folder, [c["name"] for c in cameras]))
        url = f"http://127.0.0.1:{stack.port}/cameras/{names[0]}/stream.mjpg"
        viewer = held.enter_context(Viewer(url))
        whole = Scene(
            stack, watch, viewer, links, camera, lossy, tuple(c["name"] for c in cameras), ports
        )
        wait_for(lambda: whole.is_answered(0.0), "every camera is answered", _START_S)
        yield whole


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
