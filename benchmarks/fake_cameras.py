"""Serve clips in a loop as live RTSP cameras that know when each frame was due."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from facestream.demo.h264_packetizer import CLOCK_HZ, Clip
from facestream.demo.rtsp_server import RtspServer

_START_TIMEOUT_S = 10.0


class CameraBank:
    """An RTSP server in a thread of this process; a context manager.

    Its cost belongs to this process, so the benchmark does not measure it.

    Args:
        clips: the clip of each camera, by camera name.
    """

    def __init__(self, clips: Mapping[str, Path]) -> None:
        loaded = {path: Clip.load(path) for path in set(clips.values())}
        self._clips = {name: loaded[path] for name, path in clips.items()}
        self._server = RtspServer(self._clips, port=0)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cameras", daemon=True)

    def __enter__(self) -> CameraBank:
        self._thread.start()
        if not self._ready.wait(_START_TIMEOUT_S):
            raise TimeoutError("the cameras did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_TIMEOUT_S)

    @property
    def names(self) -> list[str]:
        """Names of all cameras."""
        return list(self._clips)

    def url(self, name: str) -> str:
        """Return the RTSP URL of a camera."""
        return f"rtsp://127.0.0.1:{self._server.port}/{name}"

    def age_s(self, name: str, number: int) -> float:
        """Return how long ago the frame with this number was last due."""
        stream, clip = self._server.stream(name), self._clips[name]
        if stream is None or number >= len(clip.units):
            raise KeyError(name)
        since_start_s = time.monotonic() - stream.start_s
        due_s = clip.units[number].dts_ticks / CLOCK_HZ
        return (since_start_s - due_s) % (clip.duration_ticks / CLOCK_HZ)

    def played_s(self) -> float:
        """Return the total duration that all cameras have sent, in seconds of video.

        It grows by one second per second and camera, or less if this process lacks CPU.
        """
        streams = filter(None, map(self._server.stream, self._clips))
        return sum(stream.next_pts_ticks for stream in streams) / CLOCK_HZ

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self._server.start()
        self._ready.set()
        await self._stop.wait()
        await self._server.close()
