"""The annotated pictures: drawn once a frame, whoever watches, for any number of viewers.

Frames with their picture come in by `offer` (event loop), are decoded, drawn and encoded in worker
threads (C code that lets go of the GIL) and land in one latest-picture slot per camera. Each viewer
takes the newest picture when it is ready for one: a slow viewer skips pictures, the others do not
notice. Nobody watching, nothing drawn. A camera without pictures shows a notice instead.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from facestream.annotator.metrics import AnnotatorMetrics
from facestream.annotator.video.placeholder import render_placeholder
from facestream.common.broker.messages import now_us
from facestream.common.cameras.models import CameraStatus
from facestream.common.core.errors import ImageError
from facestream.common.vision import yuv_image
from facestream.common.vision.overlay import Label, draw_labels

BOUNDARY = b"facestream"
CONTENT_TYPE = "multipart/x-mixed-replace; boundary=" + BOUNDARY.decode()
OPENING = b"--" + BOUNDARY + b"\r\n"
NOTICE_EVERY_S = 1.0
# A browser shows a part once the next boundary came, so every part ends with one.
_CLOSING = b"\r\n" + OPENING
_EMPTY = (40, 130, 125)  # Y, U, V: the dark of a notice
_MAX_THREADS = 4
_DOWN_DEADLINE_S = 1.0  # a camera that is down is given little time to prove the opposite
_SIDE_INTERVAL_S = 0.2  # between two pictures of a camera that is not the large one


@dataclass(frozen=True)
class RenderJob:
    """One frame to be drawn; without a yuv_image, on an empty one of this size in pixels."""

    jpeg: bytes | None
    labels: Sequence[Label]
    captured_us: int
    size: tuple[int, int] = (0, 0)


class CameraFeed:
    """The newest picture of one camera and who waits for it. Event loop only."""

    def __init__(self, camera: str, *, closed: bool = False) -> None:
        self.camera = camera
        self.seq = 0  # of the newest picture; 0 = none yet
        self.frame_number = 0  # of the newest picture that is no notice
        self.jpeg = b""
        self.part = b""
        self.stale_seq = 0  # number of the last picture from before somebody began to watch
        self.viewers = 0
        self.closed = closed
        self.waiting: RenderJob | None = None
        self.drawing = False
        self.fresh_at_s = float("-inf")  # steady clock; when the newest frame was shown
        self._changed = asyncio.Event()

    def publish(self, jpeg: bytes, captured_us: int) -> None:
        """Put a picture into the slot and wake everyone who waits."""
        self.seq += 1
        self.jpeg = jpeg
        head = (
            f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n"
            f"X-Camera: {self.camera}\r\nX-Captured-Us: {captured_us}\r\n\r\n"
        )
        self.part = b"".join((head.encode(), jpeg, _CLOSING))
        self.wake()

    def clear(self) -> None:
        """Keep no picture that nobody looks at."""
        self.jpeg = self.part = b""
        self.waiting = None

    def wake(self) -> None:
        """Let everyone who waits look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """The camera is gone: its viewers end."""
        self.closed = True
        self.wake()

    async def wait_newer(self, than: int) -> None:
        """Return once there is a picture newer than number `than`, or the channel is closed."""
        while self.seq <= than and not self.closed:
            await self._changed.wait()


class MjpegHub:
    """Every camera's channel, and the threads that draw.

    Args:
        quality: JPEG quality of what goes out.
        max_video_streams: picture streams open at once.
        stale_frame_timeout_s: a notice is shown when no frame came for so long.
        status_of: what is known of a camera, for its notice.
        clock: steady, seconds.
    """

    def __init__(
        self,
        metrics: AnnotatorMetrics,
        quality: int,
        max_video_streams: int,
        stale_frame_timeout_s: float,
        status_of: Callable[[str], CameraStatus],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._quality = quality
        self._max_viewers = max_video_streams
        self._stale_after_s = stale_frame_timeout_s
        self._status_of = status_of
        self._clock = clock
        self._channels: dict[str, CameraFeed] = {}
        self._any_changed = asyncio.Event()
        self._viewers = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(
            min(_MAX_THREADS, os.cpu_count() or 1), thread_name_prefix="draw"
        )
        self._is_closed = False
        self.first_viewer = asyncio.Event()  # somebody began to watch a camera nobody watched

    @property
    def viewers(self) -> int:
        """Picture streams open now."""
        return self._viewers

    def full(self) -> bool:
        """No further viewer is taken."""
        return self._viewers >= self._max_viewers

    def channel(self, camera: str) -> CameraFeed:
        """The channel of a camera, made when first asked for."""
        if camera not in self._channels:
            self._channels[camera] = CameraFeed(camera, closed=self._is_closed)
        return self._channels[camera]

    def watched(self) -> list[str]:
        """Cameras that somebody watches."""
        return [name for name, channel in self._channels.items() if channel.viewers]

    def is_watched(self, camera: str) -> bool:
        """Whether somebody watches this camera."""
        channel = self._channels.get(camera)
        return channel is not None and channel.viewers > 0

    def remove_camera(self, camera: str) -> None:
        """The camera was removed."""
        channel = self._channels.pop(camera, None)
        if channel is not None:
            channel.close()
            self._wake_walls()

    def close(self) -> None:
        """End every viewer, and whoever still comes."""
        self._is_closed = True
        for camera in list(self._channels):
            self.remove_camera(camera)

    def shutdown(self) -> None:
        """End the threads; nobody asks for a picture any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def subscribe(self, cameras: Sequence[str]) -> Iterator[list[CameraFeed]]:
        """Count as one viewer of these cameras for as long as the block lasts."""
        channels = [self.channel(camera) for camera in cameras]
        self._viewers += 1
        for channel in channels:
            if channel.viewers == 0:
                # Frames come a moment after the first viewer; until then there is no stall.
                channel.fresh_at_s = self._clock()
                channel.stale_seq = channel.seq
                self.first_viewer.set()
            self._count(channel, 1)
        try:
            yield channels
        finally:
            self._viewers -= 1
            for channel in channels:
                self._count(channel, -1)
                if channel.viewers == 0:
                    channel.clear()

    def submit_frame(self, camera: str, job: RenderJob) -> None:
        """A frame to draw; an older one that still waits is dropped for it."""
        channel = self.channel(camera)
        if channel.viewers == 0:
            return
        if channel.waiting is not None:
            self._metrics.frames_dropped.labels(camera, "superseded").inc()
        channel.waiting = job
        if not channel.drawing:
            channel.drawing = True
            task = asyncio.get_running_loop().create_task(self._draw_waiting(channel))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def publish_placeholders(self) -> None:
        """Tell the viewers of every camera without pictures what is the matter. Once a second."""
        now = self._clock()
        for channel in list(self._channels.values()):
            if channel.viewers == 0 or channel.closed:
                continue
            status = self._status_of(channel.camera)
            silent_s = now - channel.fresh_at_s
            grace_s = self._stale_after_s if status.state == "live" else NOTICE_EVERY_S / 2
            if silent_s < grace_s:
                continue
            jpeg = await self._in_thread(partial(render_placeholder, status, time.time()))
            channel.publish(jpeg, now_us())
            self._wake_walls()

    async def stream(self, channel: CameraFeed) -> AsyncIterator[bytes]:
        """Parts of a multipart answer, one a yuv_image, until the channel is closed."""
        seen = max(channel.stale_seq, channel.seq - 1)
        first = True
        while True:
            await channel.wait_newer(seen)
            if channel.closed:
                return
            if not first and channel.seq > seen + 1:
                skipped = channel.seq - seen - 1
                self._metrics.stream_frames_skipped.labels(channel.camera).inc(skipped)
            seen = channel.seq
            yield OPENING + channel.part if first else channel.part
            first = False

    async def multi_stream(
        self, channels: Sequence[CameraFeed], large: str
    ) -> AsyncIterator[bytes]:
        """The pictures of several cameras in one answer, each part with its `X-Camera`.

        Browsers open six connections to a server at most: one stream a camera would leave a page
        with six cameras unable to do anything else. The `large` one comes at its full rate.
        """
        seen = {channel.camera: channel.stale_seq for channel in channels}
        next_s = dict.fromkeys(seen, 0.0)
        opening = OPENING
        while True:
            changed = self._any_changed
            now, soonest = self._clock(), float("inf")
            for channel in channels:
                name = channel.camera
                if channel.closed or channel.seq <= seen[name]:
                    continue
                if now < next_s[name]:
                    soonest = min(soonest, next_s[name] - now)
                    continue
                seen[name] = channel.seq
                next_s[name] = now if name == large else now + _SIDE_INTERVAL_S
                yield opening + channel.part
                opening = b""
            if all(channel.closed for channel in channels):
                return
            if changed is self._any_changed:
                timeout = soonest if soonest < float("inf") else None
                try:
                    async with asyncio.timeout(timeout):
                        await changed.wait()
                except TimeoutError:
                    pass

    async def snapshot(self, camera: str, deadline_s: float) -> tuple[bytes, bool]:
        """A picture taken from now on, or a notice when none came in time.

        Returns:
            the JPEG, and whether it is the camera's own picture.
        """
        with self.subscribe([camera]) as (channel,):
            asked = channel.frame_number
            if self._status_of(camera).state != "live":
                deadline_s = min(deadline_s, _DOWN_DEADLINE_S)
            try:
                async with asyncio.timeout(deadline_s):
                    while channel.frame_number <= asked and not channel.closed:
                        await channel.wait_newer(channel.seq)
            except TimeoutError:
                pass
            if channel.frame_number > asked:
                return channel.jpeg, True
            status = self._status_of(camera)
            return await self._in_thread(partial(render_placeholder, status, time.time())), False

    def _count(self, channel: CameraFeed, change: int) -> None:
        channel.viewers += change
        if not channel.closed:
            self._metrics.video_streams.labels(channel.camera).set(channel.viewers)

    async def _draw_waiting(self, channel: CameraFeed) -> None:
        try:
            while (job := channel.waiting) is not None and not channel.closed:
                channel.waiting = None
                try:
                    jpeg = await self._in_thread(partial(self._annotated, job))
                except ImageError as error:
                    self._metrics.frames_dropped.labels(channel.camera, "invalid").inc()
                    logging.debug("%s: %s", channel.camera, error)
                    continue
                if channel.viewers == 0:
                    return
                channel.fresh_at_s = self._clock()
                channel.frame_number = channel.seq + 1
                channel.publish(jpeg, job.captured_us)
                self._wake_walls()
                self._metrics.frames_annotated.labels(channel.camera).inc()
                self._metrics.frame_latency.observe(max(0, now_us() - job.captured_us) / 1e6)
        finally:
            channel.drawing = False

    def _annotated(self, job: RenderJob) -> bytes:
        started = time.perf_counter()
        planes = (
            yuv_image.solid_color(*job.size, _EMPTY)
            if job.jpeg is None
            else yuv_image.decode_jpeg(job.jpeg)
        )
        decoded = time.perf_counter()
        draw_labels(planes, job.labels)
        drawn = time.perf_counter()
        jpeg = yuv_image.encode_jpeg(planes, self._quality)
        step = self._metrics.stage_duration
        step.labels("decode").observe(decoded - started)
        step.labels("draw").observe(drawn - decoded)
        step.labels("encode").observe(time.perf_counter() - drawn)
        return jpeg

    async def _in_thread(self, work: Callable[[], bytes]) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _wake_walls(self) -> None:
        self._any_changed.set()
        self._any_changed = asyncio.Event()
