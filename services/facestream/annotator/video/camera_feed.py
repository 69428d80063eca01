"""One-slot buffer per camera: the newest annotated JPEG, for all clients. Event loop only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from facestream.common.vision.overlay import Label

BOUNDARY = b"facestream"
CONTENT_TYPE = "multipart/x-mixed-replace; boundary=" + BOUNDARY.decode()
OPENING = b"--" + BOUNDARY + b"\r\n"
# A browser shows a part when it receives the next boundary, so every part ends with one.
_CLOSING = b"\r\n" + OPENING


@dataclass(frozen=True)
class RenderJob:
    """One frame to annotate; without a JPEG, on a blank image of `size` (width, height) pixels."""

    jpeg: bytes | None
    labels: Sequence[Label]
    captured_us: int
    size: tuple[int, int] = (0, 0)


class CameraFeed:
    """One-slot buffer of a camera's newest JPEG, which is a frame or a placeholder.

    Attributes:
        seq: number of the newest JPEG; 0 before the first.
        frame_seq: number of the newest JPEG that is a frame.
        stale_seq: number of the last JPEG from before the first viewer; it must not be sent.
        jpeg: the newest JPEG; empty before the first and without viewers.
        part: the same as a part of a multipart response.
        viewers: number of open streams and snapshots.
        closed: whether the camera was removed, or the service stops.
        pending: the next frame to render.
        is_rendering: whether a frame is being rendered.
        last_frame_s: monotonic time at which the newest frame was published.
    """

    def __init__(self, camera: str, *, closed: bool = False) -> None:
        self.camera = camera
        self.seq = 0
        self.frame_seq = 0
        self.stale_seq = 0
        self.jpeg = b""
        self.part = b""
        self.viewers = 0
        self.closed = closed
        self.pending: RenderJob | None = None
        self.is_rendering = False
        self.last_frame_s = float("-inf")
        self._changed = asyncio.Event()

    def publish(self, jpeg: bytes, captured_us: int) -> None:
        """Replace the newest JPEG and wake all waiting clients."""
        self.seq += 1
        self.jpeg = jpeg
        head = (
            f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n"
            f"X-Camera: {self.camera}\r\nX-Captured-Us: {captured_us}\r\n\r\n"
        )
        self.part = b"".join((head.encode(), jpeg, _CLOSING))
        self._wake()

    def clear(self) -> None:
        """Drop the JPEG and the pending frame: no client watches."""
        self.jpeg = self.part = b""
        self.pending = None

    def close(self) -> None:
        """End the streams of this camera."""
        self.closed = True
        self._wake()

    async def wait_newer(self, seq: int) -> None:
        """Wait for a JPEG with a number above `seq`, or until the feed is closed."""
        while self.seq <= seq and not self.closed:
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
