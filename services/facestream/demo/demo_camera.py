"""Run `facestream demo-camera`: a live RTSP camera for trials, tests and benchmarks.

It plays a clip in a loop and in real time until stopped: the demo clip, which is rendered from
`samples/` on first use, or any H.264 file.
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
    """What to serve and where; a `file` of None means the demo clip."""

    file: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8554
    paths: tuple[str, ...] = ("demo",)
    user: str = ""
    password: str = ""

    def __post_init__(self) -> None:
        if bool(self.user) != bool(self.password):
            raise SettingsError("demo camera: set both a user and a password, or neither")
        for path in self.paths:
            if not path or path != path.strip("/") or len(path.split()) != 1:
                raise SettingsError(
                    f"demo camera: path {path!r}: must be one word without slashes around it"
                )


def cache_dir() -> Path:
    """Return the user's cache folder, where rendered clips are stored."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "facestream"


def serve(
    options: DemoCameraOptions, stop: threading.Event, print_line: Callable[[str], None]
) -> None:
    """Play until `stop` is set; `print_line` receives the progress and the URL.

    Raises:
        StartError: the port is taken, or the clip cannot be written.
        ImageError: the file or a sample cannot be used.
    """
    file = options.file or ensure_clip(cache_dir(), _RenderProgress(print_line))
    clip = Clip.load(file)
    asyncio.run(_play(clip, options, stop, print_line))


async def _play(
    clip: Clip, options: DemoCameraOptions, stop: threading.Event, print_line: Callable[[str], None]
) -> None:
    credentials = (options.user, options.password) if options.user else None
    clips = dict.fromkeys(options.paths, clip)
    server = RtspServer(clips, options.host, options.port, credentials)
    await server.start()
    try:
        for path in options.paths:
            print_line(f"serving rtsp://{options.host}:{server.port}/{path}")
        while not stop.is_set():
            await asyncio.sleep(_STOP_POLL_S)
    finally:
        await server.close()


class _RenderProgress:
    """Printer of the rendering progress in steps of 20 %."""

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self._print, self._next = print_line, 0.0

    def __call__(self, share: float) -> None:
        if share >= self._next:
            self._print(f"rendering the demo clip (first run only): {share:.0%}")
            self._next += _PROGRESS_STEP
