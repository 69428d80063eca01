"""The detector thread: runs face detection for all cameras in turn.

Readers request a detection when one is due. The thread serves the request that waits longest, with
the camera's latest frame. At most one request waits per camera: when the machine cannot keep up,
the detection rate of every camera drops evenly, and each skipped detection is counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import cv2

from facestream.capture.faces.detector_input import choose_input_size
from facestream.capture.faces.face_pipeline import DetectionResult, FacePipeline
from facestream.capture.metrics import CaptureMetrics, FrameDropReason
from facestream.capture.settings import CaptureSettings
from facestream.capture.sources.camera_reader import CameraReader, CapturedFrame, TrackSnapshot
from facestream.common.core.errors import ImageError
from facestream.common.vision.face_detector import FaceDetector

_log = logging.getLogger(__name__)

MAX_INPUT_SIZES = 8  # a detector takes memory for each size, and cameras may change theirs at will
REDACTION_MIN_SCORE = 0.3  # faces from this score on are pixelated, where faces are


class DetectorThread:
    """Thread that runs the face pipelines of all cameras.

    Args:
        settings: of capture.
        metrics: of capture.
        on_result: called from this thread with the result of each detection, unless the reader was
            stopped meanwhile.
    """

    def __init__(
        self,
        settings: CaptureSettings,
        metrics: CaptureMetrics,
        on_result: Callable[[CameraReader, CapturedFrame, DetectionResult], None],
    ) -> None:
        self._settings, self._metrics, self._on_result = settings, metrics, on_result
        self._waiting: dict[CameraReader, None] = {}  # in order of arrival
        self._changed = threading.Condition()
        self._is_stopping = False
        self._pipelines: dict[CameraReader, tuple[int, FacePipeline]] = {}  # with their session
        self._detectors: dict[tuple[int, int, float], FaceDetector] = {}
        self._stage = metrics.stage_duration.labels("detect")
        self._thread = threading.Thread(target=self._run, name="detector", daemon=True)

    def start(self) -> None:
        """Start the thread; load one detector first, so that a missing model file fails here."""
        self._detector_for(1280, 720)
        self._thread.start()

    def request_detection(self, reader: CameraReader) -> None:
        """Request a detection of this camera's latest frame; thread-safe."""
        with self._changed:
            if reader in self._waiting:
                self._count_dropped(reader, "detector_busy")
                return
            self._waiting[reader] = None
            self._changed.notify()

    def remove_camera(self, reader: CameraReader) -> None:
        """Drop the state of a reader that was stopped before."""
        with self._changed:
            self._waiting.pop(reader, None)
            self._pipelines.pop(reader, None)

    def stop(self, deadline: float) -> None:
        """Finish the current detection and end; wait until `deadline` (monotonic) at most."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        cv2.setNumThreads(1)
        while (reader := self._next_reader()) is not None:
            frame = reader.latest_frame
            if frame is None or reader.is_stopped:
                continue
            started_at = time.perf_counter()
            try:
                self._detect(reader, frame)
            except ImageError as error:
                self._count_dropped(reader, "unsupported_pixel_format")
                _log.debug("camera %s: %s", reader.camera.name, error)
            except Exception:
                # An unexpected frame of one camera must not end detection for the others.
                self._count_dropped(reader, "internal_error")
                _log.exception("camera %s: detection failed", reader.camera.name)
            self._stage.observe(time.perf_counter() - started_at)

    def _count_dropped(self, reader: CameraReader, reason: FrameDropReason) -> None:
        self._metrics.frames_dropped.labels(reader.camera.name, reason).inc()

    def _next_reader(self) -> CameraReader | None:
        with self._changed:
            while not self._waiting and not self._is_stopping:
                self._changed.wait()
            if self._is_stopping:
                return None
            reader = next(iter(self._waiting))
            del self._waiting[reader]
            return reader

    def _detect(self, reader: CameraReader, frame: CapturedFrame) -> None:
        session, pipeline = self._pipelines.get(reader, (None, None))
        if pipeline is None or session != frame.session:
            pixelates = reader.privacy == "blur"
            detectors = self._sensitive_detector_for if pixelates else self._detector_for
            pipeline = FacePipeline(
                self._settings, reader.camera.rotate, detectors, pixelates=pixelates
            )
            with self._changed:
                if reader.is_stopped:
                    return
                self._pipelines[reader] = (frame.session, pipeline)
        result = pipeline.process(frame.video, frame.captured_us, frame.captured_at, frame.geometry)
        reader.tracks = TrackSnapshot(frame.session, result.faces)
        reader.schedule_next_detection(is_steady=result.is_steady)
        with self._changed:
            if reader.is_stopped:  # its metric series may have been dropped
                return
            self._count(reader.camera.name, result)
        self._on_result(reader, frame, result)

    def _count(self, camera: str, result: DetectionResult) -> None:
        if result.is_skipped:
            self._metrics.detections_skipped.labels(camera).inc()
        else:
            self._metrics.detections.labels(camera).inc()
            self._metrics.faces_detected.labels(camera).inc(result.face_count)
        self._metrics.active_tracks.labels(camera).set(len(result.faces))
        self._metrics.faces_dropped.labels(camera, "encode_failed").inc(result.failed_crops)

    def _sensitive_detector_for(self, width: int, height: int) -> FaceDetector:
        """Return a detector that reports uncertain faces too: they are pixelated, not tracked."""
        return self._detector_for(
            width, height, min(REDACTION_MIN_SCORE, self._settings.min_detection_score)
        )

    def _detector_for(
        self, width: int, height: int, min_score: float | None = None
    ) -> FaceDetector:
        """Return a detector for this frame size; one of a common size if there are too many."""
        min_score = min_score or self._settings.min_detection_score
        sides = (self._settings.detector_long_side_px, self._settings.detector_short_side_px)
        longer, shorter = max(sides), min(sides)
        size = choose_input_size(width, height, longer, shorter)
        sizes = {key[:2] for key in self._detectors}
        if size not in sizes and len(sizes) >= MAX_INPUT_SIZES:
            size = (longer, shorter) if width >= height else (shorter, longer)
        key = (*size, min_score)
        if key not in self._detectors:
            self._detectors[key] = FaceDetector(*size, min_score=min_score)
        return self._detectors[key]
