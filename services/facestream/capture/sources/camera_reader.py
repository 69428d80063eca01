"""Read one camera in its own thread: open, decode, reconnect with backoff, keep the latest frame.

The thread reads the source without a pause, so that no stale frames queue up. Without viewers it
does little per frame: decode, store, check for a scene cut and check the time. It requests a
detection when one is due, and passes frames to the publisher while the camera has viewers. Every
error changes the state of this camera only, and leads to a reconnect.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import av
import redis

from facestream.capture.faces.yuv_frame import luma_of
from facestream.capture.metrics import CaptureMetrics
from facestream.capture.settings import CaptureSettings
from facestream.capture.sources.connection_state import (
    INITIAL_BACKOFF_S,
    MAX_BACKOFF_S,
    ConnectionState,
)
from facestream.capture.sources.ffmpeg_source import SourceFrame, read_frames
from facestream.capture.sources.phone_source import read_phone
from facestream.capture.sources.scene_cuts import SceneCutDetector
from facestream.common.cameras.models import Camera, CameraStatus
from facestream.common.cameras.privacy import stricter
from facestream.common.core.errors import CameraError
from facestream.common.security.egress_policy import EgressPolicy
from facestream.common.security.redaction import redact
from facestream.common.vision.source_frame import DISPLAYED_AS_DECODED, FrameGeometry
from facestream.common.vision.tracker import TrackedFace

_log = logging.getLogger(__name__)

_SESSION_BITS = 32


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """A decoded frame, its session and its number in the session.

    captured_us: Unix time in microseconds, for messages. captured_at: the same time in monotonic
    seconds. geometry: how to display the frame.
    """

    video: av.VideoFrame
    session: int
    seq: int
    captured_us: int
    captured_at: float
    geometry: FrameGeometry = DISPLAYED_AS_DECODED


@dataclass(frozen=True, slots=True)
class TrackSnapshot:
    """Visible tracks of a session after the last detection, from which boxes are predicted."""

    session: int
    faces: tuple[TrackedFace, ...]


class CameraReader:
    """Reader thread of one camera.

    Args:
        camera: to read.
        settings: of capture.
        metrics: of capture.
        egress_policy: addresses that the camera may have.
        phone_broker: connection for phone frames; thread-safe.
        phase: fraction of the detection interval by which detections are shifted, 0-1.
        on_detection_due: called from the reader thread when a detection is due.
        on_live_frame: called from the reader thread with each frame to show while the camera has
            viewers; never with a frame whose faces must be pixelated.
    """

    def __init__(
        self,
        camera: Camera,
        settings: CaptureSettings,
        metrics: CaptureMetrics,
        *,
        egress_policy: EgressPolicy,
        phone_broker: redis.Redis,
        phase: float,
        on_detection_due: Callable[[CameraReader], None],
        on_live_frame: Callable[[CameraReader, CapturedFrame], None],
    ) -> None:
        self.camera = camera
        self.privacy = stricter(camera.privacy, settings.privacy_mode)
        self.latest_frame: CapturedFrame | None = None
        self.tracks = TrackSnapshot(0, ())
        self.has_viewers = False
        self._settings, self._metrics, self._egress_policy = settings, metrics, egress_policy
        self._phone_broker = phone_broker
        self._on_detection_due, self._on_live_frame = on_detection_due, on_live_frame
        self._stop = threading.Event()
        self._connection = ConnectionState(
            camera.name,
            settings.stall_timeout_s,
            time.monotonic(),
            time.time,
            random.random,
            # Polling for a phone connects to no camera, so a short backoff is cheap.
            INITIAL_BACKOFF_S if camera.is_phone else MAX_BACKOFF_S,
        )
        self._logged_reason = ""  # of the last failure; the same reason is logged once
        self._frame_count = 0
        self._last_frame_at = 0.0
        self._count_frame = metrics.frames.labels(camera.name).inc
        self._detection_interval_s = 1.0 / settings.detection_fps
        self._idle_interval_s = 1.0 / min(settings.detection_idle_fps, settings.detection_fps)
        # Due times of the next detection and of the last one requested, monotonic.
        self.next_detection_at = time.monotonic() + phase * self._detection_interval_s
        self.detection_due_at = self.next_detection_at
        self._live_interval_s = 1.0 / settings.live_view_max_fps
        self._next_live_frame_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"camera-{camera.name}", daemon=True)

    def start(self) -> None:
        """Start the reader thread."""
        self._thread.start()

    def stop(self) -> None:
        """Request the thread to end; it does so at its next frame or timeout."""
        self._stop.set()
        self._connection.on_stopped("")

    def join(self, deadline: float) -> bool:
        """Wait until `deadline` (monotonic) for the thread; return whether it has ended."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def schedule_next_detection(self, *, is_steady: bool) -> None:
        """Set the due time of the next detection, counted from the one last requested.

        Args:
            is_steady: whether the faces are steady, so that the idle interval is enough.
        """
        self.next_detection_at = self.detection_due_at + (
            self._idle_interval_s if is_steady else self._detection_interval_s
        )

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def status(self) -> CameraStatus:
        """Return the current status of the camera."""
        status = self._connection.status(time.monotonic(), self._last_frame_at, self._frame_count)
        return status.model_copy(update={"privacy": self.privacy})

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._read_until_end()
                continue
            except CameraError as error:
                reason = redact(str(error))
            except Exception as error:
                _log.exception("camera %s: unexpected error", self.camera.name)
                reason = redact(f"unexpected error: {type(error).__name__}: {error}")
            if self._stop.is_set():
                return
            backoff_s = self._connection.on_failure(reason)
            level = logging.DEBUG if reason == self._logged_reason else logging.INFO
            _log.log(
                level, "camera %s: %s; reconnecting in %.1f s", self.camera.name, reason, backoff_s
            )
            self._logged_reason = reason
            if not self._stop.wait(backoff_s):
                self._metrics.reconnects.labels(self.camera.name).inc()

    def _read_until_end(self) -> None:
        last_display: tuple[object, ...] | None = None
        session = seq = 0
        cut_detector = SceneCutDetector()
        for frame in self._open():
            if self._stop.is_set():
                return
            geometry = frame.geometry
            display = (
                *geometry.display_size(frame.video.width, frame.video.height),
                geometry.rotate,
                geometry.is_mirrored,
            )
            if display != last_display:
                # Boxes in pixels of another size are meaningless, so a new session begins.
                last_display = display
                cut_detector = SceneCutDetector()
                session, seq = secrets.randbits(_SESSION_BITS), 0
                self._on_connected(*display[:2])
            elif self._is_scene_cut(cut_detector, frame):
                # The tracks are of another scene, so a new session begins and a detection is due.
                session, seq = secrets.randbits(_SESSION_BITS), 0
                self._metrics.scene_cuts.labels(self.camera.name).inc()
                self.next_detection_at = min(self.next_detection_at, time.monotonic())
            seq += 1
            self._on_frame(frame, session, seq)

    def _is_scene_cut(self, cut_detector: SceneCutDetector, frame: SourceFrame) -> bool:
        if self.privacy == "blur":
            return False  # a false cut would end tracks, and with them the pixelation of lost faces
        if frame.is_corrupt:
            return False
        luma = luma_of(frame.video)
        return luma is not None and cut_detector.is_cut(luma, frame.received_at)

    def _open(self) -> Iterator[SourceFrame]:
        dropped = self._metrics.frames_dropped
        on_invalid = dropped.labels(self.camera.name, "invalid").inc
        on_stale = dropped.labels(self.camera.name, "stale").inc
        if self.camera.is_phone:
            return read_phone(
                self.camera,
                self._stop,
                self._phone_broker,
                read_timeout_s=self._settings.read_timeout_s,
                on_invalid=on_invalid,
                on_stale=on_stale,
            )
        return read_frames(
            self.camera,
            self._stop,
            egress_policy=self._egress_policy,
            open_timeout_s=self._settings.open_timeout_s,
            read_timeout_s=self._settings.read_timeout_s,
            on_invalid=on_invalid,
            on_stale=on_stale,
        )

    def _on_connected(self, width: int, height: int) -> None:
        _log.info("camera %s: live, %d×%d", self.camera.name, width, height)
        self._logged_reason = ""
        self._connection.on_connected(time.monotonic(), width, height)

    def _on_frame(self, frame: SourceFrame, session: int, seq: int) -> None:
        captured = CapturedFrame(
            frame.video, session, seq, frame.received_us, frame.received_at, frame.geometry
        )
        self._last_frame_at = frame.received_at
        self._frame_count += 1
        self._count_frame()
        now = time.monotonic()
        if not frame.is_corrupt:
            self.latest_frame = captured  # the detector takes it from here
        if not frame.is_corrupt and now >= self.next_detection_at:
            missed = int((now - self.next_detection_at) / self._detection_interval_s)
            self.detection_due_at = self.next_detection_at + missed * self._detection_interval_s
            self.next_detection_at = self.detection_due_at + self._detection_interval_s
            self._on_detection_due(self)
        if self.has_viewers and self.privacy == "full" and now >= self._next_live_frame_at:
            # Half an interval of grace: a camera as fast as the limit must not lose frames to
            # jitter.
            self._next_live_frame_at = max(
                self._next_live_frame_at + self._live_interval_s, now - self._live_interval_s / 2
            )
            self._on_live_frame(self, captured)
