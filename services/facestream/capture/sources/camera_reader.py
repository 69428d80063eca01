"""Reads one camera in a thread of its own: always drained, the latest frame at hand.

Per frame, with nobody watching, the thread does no more than decode, keep the frame, see whether it
is of another scene and look at the clock; when a detection is due it tells the detector, while the
camera is watched it tells the publisher. Whatever goes wrong changes this camera's state and leads
to another try.
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

from facestream.capture.faces.tracker import TrackedFace
from facestream.capture.faces.yuv_frame import luma_of
from facestream.capture.metrics import CaptureMetrics
from facestream.capture.settings import CaptureSettings
from facestream.capture.sources.connection_state import (
    FIRST_WAIT_S,
    LONGEST_WAIT_S,
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

_log = logging.getLogger(__name__)

_SESSION_BITS = 32


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """A frame with its place: camera session, number in it, when received.

    captured_us: Unix time in microseconds; at: the same moment in seconds of the monotonic clock.
    """

    video: av.VideoFrame
    session: int
    seq: int
    captured_us: int
    at: float


@dataclass(frozen=True, slots=True)
class TrackSnapshot:
    """The faces that are followed in a session, to be predicted from."""

    session: int
    faces: tuple[TrackedFace, ...]


class CameraReader:
    """One camera being read.

    Args:
        camera: what to read.
        reach: where it may be.
        phone_broker: where pictures of phones come from; safe for many threads.
        on_due: called from the reading thread when a frame came and a detection is due.
        on_picture: called from the reading thread with each frame to show, while watched; never
            with a frame whose faces must not be seen.
    """

    def __init__(
        self,
        camera: Camera,
        settings: CaptureSettings,
        metrics: CaptureMetrics,
        *,
        reach: EgressPolicy,
        phone_broker: redis.Redis,
        phase: float,
        on_due: Callable[[CameraReader], None],
        on_picture: Callable[[CameraReader, CapturedFrame], None],
    ) -> None:
        self.camera = camera
        self.privacy = stricter(camera.privacy, settings.privacy_mode)
        self.latest_frame: CapturedFrame | None = None
        self.tracks = TrackSnapshot(0, ())
        self.has_viewers = False
        self._settings, self._metrics, self._reach = settings, metrics, reach
        self._phone_broker = phone_broker
        self._on_due, self._on_picture = on_due, on_picture
        self._stop = threading.Event()
        self._life = ConnectionState(
            camera.name,
            settings.stall_timeout_s,
            time.monotonic(),
            time.time,
            random.random,
            # Looking whether a phone sends costs nobody anything.
            FIRST_WAIT_S if camera.is_phone else LONGEST_WAIT_S,
        )
        self._said = ""  # the failure last logged; repeated ones are not
        self._frames = 0
        self._count_frame = metrics.frames.labels(camera.name).inc
        self._detect_every_s = 1.0 / settings.detection_fps
        self._detect_calm_every_s = 1.0 / min(settings.detection_idle_fps, settings.detection_fps)
        # When the next look for faces is due, and the last one announced was; monotonic.
        self.next_detection_at = time.monotonic() + phase * self._detect_every_s
        self.due_at = self.next_detection_at
        self._show_every_s = 1.0 / settings.live_view_max_fps
        self._show_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"camera-{camera.name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it does at its next frame or time-out."""
        self._stop.set()
        self._life.on_stopped("")

    def join(self, deadline: float) -> bool:
        """Wait for the thread's end until `deadline` (monotonic); whether it has ended."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def schedule_next_detection(self, *, is_calm: bool) -> None:
        """The look last announced was taken; from it on the next one may wait, or may not."""
        self.next_detection_at = self.due_at + (
            self._detect_calm_every_s if is_calm else self._detect_every_s
        )

    @property
    def is_stopped(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    def status(self) -> CameraStatus:
        """How the camera is now."""
        latest = self.latest_frame
        status = self._life.status(time.monotonic(), latest.at if latest else 0.0, self._frames)
        return status.model_copy(update={"privacy": self.privacy})

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._read_until_it_ends()
                continue
            except CameraError as error:
                reason = redact(str(error))
            except Exception as error:
                _log.exception("camera %s: unexpected", self.camera.name)
                reason = redact(f"unexpected: {type(error).__name__}: {error}")
            if self._stop.is_set():
                return
            wait_s = self._life.on_failure(reason)
            level = logging.DEBUG if reason == self._said else logging.INFO
            _log.log(level, "camera %s: %s; again in %.1f s", self.camera.name, reason, wait_s)
            self._said = reason
            if not self._stop.wait(wait_s):
                self._metrics.reconnects.labels(self.camera.name).inc()

    def _read_until_it_ends(self) -> None:
        size = (0, 0)
        session = seq = 0
        cuts = SceneCutDetector()
        for frame in self._opened():
            if self._stop.is_set():
                return
            if (frame.video.width, frame.video.height) != size:
                # Boxes of another size mean nothing: tracks start over.
                size, cuts = (frame.video.width, frame.video.height), SceneCutDetector()
                session, seq = secrets.randbits(_SESSION_BITS), 0
                self._began(*size)
            elif self._is_cut(cuts, frame):
                # Nobody is where he was: tracks start over, and a look is due.
                session, seq = secrets.randbits(_SESSION_BITS), 0
                self._metrics.scene_cuts.labels(self.camera.name).inc()
                self.next_detection_at = min(self.next_detection_at, time.monotonic())
            seq += 1
            self._on_frame(frame, session, seq)

    def _is_cut(self, cuts: SceneCutDetector, frame: SourceFrame) -> bool:
        if self.privacy == "blur":
            return False  # where a face was a moment ago must stay hidden, should it be no cut
        luma = luma_of(frame.video)
        return luma is not None and cuts.is_cut(luma, frame.at)

    def _opened(self) -> Iterator[SourceFrame]:
        dropped = self._metrics.frames_dropped
        on_corrupt = dropped.labels(self.camera.name, "corrupt").inc
        on_late = dropped.labels(self.camera.name, "stale").inc
        if self.camera.is_phone:
            return read_phone(
                self.camera,
                self._stop,
                self._phone_broker,
                read_timeout_s=self._settings.read_timeout_s,
                on_corrupt=on_corrupt,
                on_late=on_late,
            )
        return read_frames(
            self.camera,
            self._stop,
            reach=self._reach,
            open_timeout_s=self._settings.open_timeout_s,
            read_timeout_s=self._settings.read_timeout_s,
            on_corrupt=on_corrupt,
            on_late=on_late,
        )

    def _began(self, width: int, height: int) -> None:
        if self.camera.rotate in (90, 270):
            width, height = height, width
        _log.info("camera %s: live, %d×%d", self.camera.name, width, height)
        self._said = ""
        self._life.on_connected(time.monotonic(), width, height)

    def _on_frame(self, frame: SourceFrame, session: int, seq: int) -> None:
        captured = CapturedFrame(frame.video, session, seq, frame.received_us, frame.at)
        self.latest_frame = captured
        self._frames += 1
        self._count_frame()
        now = time.monotonic()
        if now >= self.next_detection_at:
            missed = int((now - self.next_detection_at) / self._detect_every_s)
            self.due_at = self.next_detection_at + missed * self._detect_every_s
            self.next_detection_at = self.due_at + self._detect_every_s
            self._on_due(self)
        if self.has_viewers and self.privacy == "full" and now >= self._show_at:
            # Half a frame's grace: a camera as fast as the limit must not lose frames to jitter.
            self._show_at = max(self._show_at + self._show_every_s, now - self._show_every_s / 2)
            self._on_picture(self, captured)
