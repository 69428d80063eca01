"""`facestream demo-camera`: a live RTSP camera for trials, tests and benchmarks.

Plays a clip (drawn from `samples/` on first use, or any H.264 file) in a loop and in real time
until it is told to stop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from facestream.common.core.errors import SettingsError
from facestream.demo.clip_renderer import ensure_clip
from facestream.demo.h264_packetizer import Clip
from facestream.demo.rtsp_server import RtspServer

_STOP_POLL_S = 0.1
_PROGRESS_STEP = 0.2

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DemoCameraOptions:
    """What to serve and where; `file` None is the clip of the samples."""

    file: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8554
    paths: tuple[str, ...] = ("demo",)
    user: str = ""
    password: str = ""

    def __post_init__(self) -> None:
        if bool(self.user) != bool(self.password):
            raise SettingsError("demo camera: give both a user and a password, or neither")
        for path in self.paths:
            if not path or path != path.strip("/") or len(path.split()) != 1:
                raise SettingsError(f"demo camera: path {path!r}: write it as in /demo, without /")


def cache_folder() -> Path:
    """Where rendered clips are kept: the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "facestream"


def serve(options: DemoCameraOptions, stop: threading.Event, say: Callable[[str], None]) -> None:
    """Play until `stop` is set; `say` is told the progress and the address.

    Raises:
        StartError: the port is taken, or the clip cannot be kept.
        ImageError: the file or a sample cannot be used.
    """
    file = options.file or ensure_clip(cache_folder(), _Progress(say))
    clip = Clip.load(file)
    asyncio.run(_play(clip, options, stop, say))


async def _play(
    clip: Clip, options: DemoCameraOptions, stop: threading.Event, say: Callable[[str], None]
) -> None:
    credentials = (options.user, options.password) if options.user else None
    clips = dict.fromkeys(options.paths, clip)
    server = RtspServer(clips, options.host, options.port, credentials)
    await server.start()
    try:
        for path in options.paths:
            say(f"playing at rtsp://{options.host}:{server.port}/{path}")
        while not stop.is_set():
            await asyncio.sleep(_STOP_POLL_S)
    finally:
        await server.close()


class _Progress:
    """Says every fifth of the work."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._next = say, 0.0

    def __call__(self, share: float) -> None:
        if share >= self._next:
            self._say(f"drawing its clip, this once: {share:.0%}")
            self._next += _PROGRESS_STEP
