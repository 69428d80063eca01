"""MJPEG hub: renders each annotated frame once and serves it to any number of clients.

Frames arrive by `submit_frame` on the event loop. Render threads decode them, draw boxes and
labels, and encode them (C code that releases the GIL). Each camera has a one-slot buffer, its
`CameraFeed`. Each client takes the newest JPEG when it is ready: a slow client skips frames and
delays no other. Without clients nothing is rendered. A camera without frames gets a placeholder.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from facestream.annotator.metrics import AnnotatorMetrics
from facestream.annotator.stream_limit import StreamLimit
from facestream.annotator.video.camera_feed import OPENING, CameraFeed, RenderJob
from facestream.annotator.video.placeholder import render_placeholder
from facestream.common.broker.messages import now_us
from facestream.common.cameras.models import CameraStatus
from facestream.common.core.errors import ImageError
from facestream.common.vision import yuv_image
from facestream.common.vision.overlay import draw_labels

PLACEHOLDER_INTERVAL_S = 1.0
_BLANK_YUV = (40, 130, 125)  # the dark background of a placeholder
_MAX_THREADS = 4
_DOWN_SNAPSHOT_TIMEOUT_S = 1.0  # a camera that is down rarely delivers a frame
_SECONDARY_INTERVAL_S = 0.2  # between two frames of each camera but the primary one


class MjpegHub:
    """Feeds of all cameras, and the threads that render.

    Args:
        metrics: of the annotator.
        quality: JPEG quality of the annotated frames.
        stream_limit: slots of open streams and snapshots.
        stale_frame_timeout_s: a live camera gets a placeholder after this time without a frame.
        status_of: returns the status of a camera, for its placeholder.
        clock: monotonic seconds.

    Attributes:
        first_viewer: set when a camera without viewers gets its first one.
    """

    def __init__(
        self,
        metrics: AnnotatorMetrics,
        quality: int,
        stream_limit: StreamLimit,
        stale_frame_timeout_s: float,
        status_of: Callable[[str], CameraStatus],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._quality = quality
        self._stream_limit = stream_limit
        self._stale_frame_timeout_s = stale_frame_timeout_s
        self._status_of = status_of
        self._clock = clock
        self._feeds: dict[str, CameraFeed] = {}
        self._any_changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(
            min(_MAX_THREADS, os.cpu_count() or 1), thread_name_prefix="render"
        )
        self._is_closed = False
        self.first_viewer = asyncio.Event()

    @property
    def viewers(self) -> int:
        """Number of open streams and snapshots."""
        return self._stream_limit.held

    def feed(self, camera: str) -> CameraFeed:
        """Return the feed of a camera; create it on first use."""
        if camera not in self._feeds:
            self._feeds[camera] = CameraFeed(camera, closed=self._is_closed)
        return self._feeds[camera]

    def watched(self) -> list[str]:
        """Return the cameras with at least one viewer."""
        return [name for name, feed in self._feeds.items() if feed.viewers]

    def is_watched(self, camera: str) -> bool:
        """Return whether a camera has a viewer."""
        feed = self._feeds.get(camera)
        return feed is not None and feed.viewers > 0

    def remove_camera(self, camera: str) -> None:
        """End the streams of a removed camera."""
        feed = self._feeds.pop(camera, None)
        if feed is not None:
            feed.close()
            self._wake_multi_streams()

    def close(self) -> None:
        """End all streams, also those that are opened later."""
        self._is_closed = True
        for camera in list(self._feeds):
            self.remove_camera(camera)

    def shutdown(self) -> None:
        """Stop the render threads; call it after all requests have ended."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def subscribe(self, cameras: Sequence[str], client: str = "") -> Iterator[list[CameraFeed]]:
        """Count as one viewer of these cameras for the duration of the block.

        Args:
            cameras: names of the cameras.
            client: address of the client.

        Raises:
            StreamLimitError: too many streams are open.
        """
        with self._stream_limit.slot(client):
            feeds = [self.feed(camera) for camera in cameras]
            yield from self._watch(feeds)

    def _watch(self, feeds: list[CameraFeed]) -> Iterator[list[CameraFeed]]:
        for feed in feeds:
            if feed.viewers == 0:
                # Capture starts to send frames when a viewer connects: no placeholder until then.
                feed.last_frame_s = self._clock()
                feed.stale_seq = feed.seq
                self.first_viewer.set()
            self._add_viewers(feed, 1)
        try:
            yield feeds
        finally:
            for feed in feeds:
                self._add_viewers(feed, -1)
                if feed.viewers == 0:
                    feed.clear()

    def submit_frame(self, camera: str, job: RenderJob) -> None:
        """Render a frame as soon as possible; it replaces an older frame in the buffer."""
        feed = self.feed(camera)
        if feed.viewers == 0:
            return
        if feed.pending is not None:
            self._metrics.frames_dropped.labels(camera, "superseded").inc()
        feed.pending = job
        if not feed.is_rendering:
            feed.is_rendering = True
            task = asyncio.get_running_loop().create_task(self._render_pending(feed))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def publish_placeholders(self) -> None:
        """Publish a placeholder for each watched camera without frames; call it once per second."""
        now = self._clock()
        for feed in list(self._feeds.values()):
            if feed.viewers == 0 or feed.closed:
                continue
            status = self._status_of(feed.camera)
            silent_s = now - feed.last_frame_s
            is_live = status.state == "live"
            grace_s = self._stale_frame_timeout_s if is_live else PLACEHOLDER_INTERVAL_S / 2
            if silent_s < grace_s:
                continue
            jpeg = await self._run_in_thread(partial(render_placeholder, status, time.time()))
            feed.publish(jpeg, now_us())
            self._wake_multi_streams()

    async def stream(self, feed: CameraFeed) -> AsyncIterator[bytes]:
        """Yield the parts of a multipart response, one per JPEG, until the feed is closed."""
        sent = max(feed.stale_seq, feed.seq - 1)
        is_first = True
        while True:
            await feed.wait_newer(sent)
            if feed.closed:
                return
            if not is_first and feed.seq > sent + 1:
                skipped = feed.seq - sent - 1
                self._metrics.stream_frames_skipped.labels(feed.camera).inc(skipped)
            sent = feed.seq
            yield OPENING + feed.part if is_first else feed.part
            is_first = False

    async def multi_stream(self, feeds: Sequence[CameraFeed], primary: str) -> AsyncIterator[bytes]:
        """Yield the frames of several cameras in one response; each part has its `X-Camera`.

        Browsers open at most six connections to a server: with one stream per camera, six cameras
        would block all other requests of a page. The `primary` camera is sent at its full rate.
        """
        sent = {feed.camera: feed.stale_seq for feed in feeds}
        next_s = dict.fromkeys(sent, 0.0)
        opening = OPENING
        while True:
            changed = self._any_changed
            now, soonest_s = self._clock(), float("inf")
            for feed in feeds:
                name = feed.camera
                if feed.closed or feed.seq <= sent[name]:
                    continue
                if now < next_s[name]:
                    soonest_s = min(soonest_s, next_s[name] - now)
                    continue
                sent[name] = feed.seq
                next_s[name] = now if name == primary else now + _SECONDARY_INTERVAL_S
                yield opening + feed.part
                opening = b""
            if all(feed.closed for feed in feeds):
                return
            if changed is self._any_changed:
                timeout = soonest_s if soonest_s < float("inf") else None
                try:
                    async with asyncio.timeout(timeout):
                        await changed.wait()
                except TimeoutError:
                    pass

    async def snapshot(self, camera: str, timeout_s: float, client: str = "") -> tuple[bytes, bool]:
        """Return the next annotated frame, or a placeholder if none arrives in time.

        Returns:
            The JPEG, and whether it is a frame.

        Raises:
            StreamLimitError: too many streams are open.
        """
        with self.subscribe([camera], client) as (feed,):
            previous = feed.frame_seq
            if self._status_of(camera).state != "live":
                timeout_s = min(timeout_s, _DOWN_SNAPSHOT_TIMEOUT_S)
            try:
                async with asyncio.timeout(timeout_s):
                    while feed.frame_seq <= previous and not feed.closed:
                        await feed.wait_newer(feed.seq)
            except TimeoutError:
                pass
            if feed.frame_seq > previous:
                return feed.jpeg, True
            render = partial(render_placeholder, self._status_of(camera), time.time())
            return await self._run_in_thread(render), False

    def _add_viewers(self, feed: CameraFeed, change: int) -> None:
        feed.viewers += change
        if not feed.closed:
            self._metrics.video_streams.labels(feed.camera).set(feed.viewers)

    async def _render_pending(self, feed: CameraFeed) -> None:
        try:
            while (job := feed.pending) is not None and not feed.closed:
                feed.pending = None
                try:
                    jpeg = await self._run_in_thread(partial(self._annotate, job))
                except ImageError as error:
                    self._metrics.frames_dropped.labels(feed.camera, "invalid").inc()
                    logging.debug("invalid frame skipped: camera=%s: %s", feed.camera, error)
                    continue
                if feed.viewers == 0:
                    return
                feed.last_frame_s = self._clock()
                feed.frame_seq = feed.seq + 1
                feed.publish(jpeg, job.captured_us)
                self._wake_multi_streams()
                self._metrics.frames_annotated.labels(feed.camera).inc()
                self._metrics.frame_latency.observe(max(0, now_us() - job.captured_us) / 1e6)
        finally:
            feed.is_rendering = False

    def _annotate(self, job: RenderJob) -> bytes:
        started_s = time.perf_counter()
        if job.jpeg is None:
            image = yuv_image.solid_color(*job.size, _BLANK_YUV)
        else:
            image = yuv_image.decode_jpeg(job.jpeg)
        decoded_s = time.perf_counter()
        draw_labels(image, job.labels)
        drawn_s = time.perf_counter()
        jpeg = yuv_image.encode_jpeg(image, self._quality)
        stage = self._metrics.stage_duration
        stage.labels("decode").observe(decoded_s - started_s)
        stage.labels("draw").observe(drawn_s - decoded_s)
        stage.labels("encode").observe(time.perf_counter() - drawn_s)
        return jpeg

    async def _run_in_thread(self, work: Callable[[], bytes]) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _wake_multi_streams(self) -> None:
        self._any_changed.set()
        self._any_changed = asyncio.Event()
