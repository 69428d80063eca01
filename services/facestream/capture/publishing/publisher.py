"""The publisher thread: the only writer to the broker's frame and face streams.

The detector passes frames with their tracks and face crops, readers of watched cameras pass frames
for the live view; both calls return at once. The queue is bounded: at most `MAX_WAITING` entries,
and one live-view frame per camera, of which a newer one supersedes the older. While the broker is
unavailable everything is dropped and counted, and the cameras are read on.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable

import redis

from facestream.capture.faces.face_pipeline import DetectionResult
from facestream.capture.metrics import CaptureMetrics
from facestream.capture.publishing.live_view_encoder import LiveViewEncoder
from facestream.capture.publishing.stream_entries import StreamEntry, build_entries
from facestream.capture.publishing.stream_writer import DropCounter, StreamWriter
from facestream.capture.settings import CaptureSettings
from facestream.capture.sources.camera_reader import CameraReader, CapturedFrame

_log = logging.getLogger(__name__)

MAX_WAITING = 256

_LiveFrames = dict[CameraReader, tuple[CapturedFrame, DetectionResult | None]]


class PublisherThread:
    """Thread that publishes frames and faces. All public methods are thread-safe.

    Args:
        broker: connection used by this thread only.
        settings: of capture.
        metrics: of capture.
        on_broker_status: called after each round trip with None, or with the broker's error.
        may_publish: returns whether this replica holds the lease of a camera; checked last before
            an entry is sent.
    """

    def __init__(
        self,
        broker: redis.Redis,
        settings: CaptureSettings,
        metrics: CaptureMetrics,
        on_broker_status: Callable[[str | None], None],
        may_publish: Callable[[str], bool] = lambda camera: True,
    ) -> None:
        self._settings, self._metrics, self._may_publish = settings, metrics, may_publish
        self._writer = StreamWriter(broker, metrics, on_broker_status)
        self._encoder = LiveViewEncoder(settings.jpeg_quality, metrics)
        self._drops = DropCounter(metrics)
        self._changed = threading.Condition()
        self._entries: deque[StreamEntry] = deque()
        self._live_frames: _LiveFrames = {}
        self._removed: set[str] = set()  # cameras whose streams are to be deleted
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, deadline: float) -> bool:
        """Send all waiting entries and end.

        Returns:
            whether the thread has ended by `deadline` (monotonic).
        """
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def publish_detection(
        self, reader: CameraReader, frame: CapturedFrame, result: DetectionResult
    ) -> None:
        """Queue the result of a detection: the frame with its tracks, and its face crops."""
        camera = reader.camera.name
        entries = build_entries(camera, frame, result, self._settings)
        with self._changed:
            if reader.is_stopped:
                self._drops.count(entries, "camera_removed")
                return
            self._entries.extend(entries)
            while len(self._entries) > MAX_WAITING:
                self._drops.count([self._entries.popleft()], "broker_unavailable")
            self._changed.notify()
        if reader.has_viewers and reader.privacy == "blur" and not result.is_skipped:
            self.publish_frame(reader, frame, result)

    def publish_frame(
        self, reader: CameraReader, frame: CapturedFrame, result: DetectionResult | None = None
    ) -> None:
        """Queue a frame for the live view; it supersedes one of this camera that still waits.

        Args:
            reader: of the frame's camera.
            frame: to publish as JPEG.
            result: of a detection in this very frame. Without it faces cannot be pixelated, and
                a camera whose faces must be pixelated publishes nothing.
        """
        with self._changed:
            if self._live_frames.pop(reader, None) is not None:
                self._drops.count_frame(reader.camera.name, "superseded")
            self._live_frames[reader] = (frame, result)
            self._changed.notify()

    def remove_camera(self, camera: str) -> None:
        """Drop the waiting entries of a removed camera, and delete its keys in the broker."""
        with self._changed:
            dropped = [entry for entry in self._entries if entry.camera == camera]
            self._drops.count(dropped, "camera_removed")
            self._entries = deque(entry for entry in self._entries if entry.camera != camera)
            self._removed.add(camera)
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._entries or self._live_frames or self._is_stopping):
                    wait_s = self._maintenance_wait_s()
                    if wait_s is not None and wait_s <= 0:
                        break
                    self._changed.wait(wait_s)
                if self._is_stopping and not self._entries and not self._can_remove():
                    break
                entries, self._entries = list(self._entries), deque()
                live_frames, self._live_frames = self._live_frames, {}
                removed, self._removed = self._removed, set()
            try:
                self._publish(entries, live_frames, removed)
            except Exception:
                _log.exception("publishing failed")
        self._writer.drop_unconfirmed()

    def _maintenance_wait_s(self) -> float | None:
        """Return the time until keys or expired faces are to be deleted; None if there are none."""
        due_at = -math.inf if self._removed else self._writer.sweep_due_at
        return None if due_at is None else max(due_at, self._writer.retry_at) - time.monotonic()

    def _can_remove(self) -> bool:
        return bool(self._removed) and time.monotonic() >= self._writer.retry_at

    def _publish(
        self, entries: list[StreamEntry], live_frames: _LiveFrames, removed: set[str]
    ) -> None:
        if not self._writer.is_ready():
            self._drops.count(entries, "broker_unavailable")
            for reader in live_frames:
                self._drops.count_frame(reader.camera.name, "broker_unavailable")
            self._remove_later(removed)
            return
        for reader, (frame, result) in live_frames.items():
            if not reader.is_stopped:
                entry = self._encoder.encode(reader, frame, result)
                if entry is not None:
                    entries.append(entry)
        if not self._writer.write(self._filter_by_lease(entries), removed):
            self._remove_later(removed)

    def _filter_by_lease(self, entries: list[StreamEntry]) -> list[StreamEntry]:
        """Return the entries of cameras whose lease is held here; count and drop the others."""
        is_held = {entry.camera: self._may_publish(entry.camera) for entry in entries}
        self._drops.count([entry for entry in entries if not is_held[entry.camera]], "lease_lost")
        return [entry for entry in entries if is_held[entry.camera]]

    def _remove_later(self, removed: set[str]) -> None:
        with self._changed:
            self._removed |= removed
