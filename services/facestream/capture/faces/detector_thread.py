"""The one thread that looks for faces, for all cameras in turn.

Readers announce that a frame of theirs is due; the thread takes the camera that waits longest and
its latest frame. At most one announcement waits per camera: when the machine cannot keep up, every
camera is looked at less often, evenly, and each skipped detection is counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import cv2

from facestream.capture.faces.detector_input import choose_input_size
from facestream.capture.faces.face_pipeline import DetectionResult, FacePipeline
from facestream.capture.metrics import CaptureMetrics
from facestream.capture.settings import CaptureSettings
from facestream.capture.sources.camera_reader import CameraReader, CapturedFrame, TrackSnapshot
from facestream.common.core.errors import ImageError
from facestream.common.vision.face_detector import FaceDetector

_log = logging.getLogger(__name__)

MOST_SHAPES = 8  # of detectors; each takes memory, and pictures may change their size at will
HIDE_SCORE = 0.3  # where faces are hidden, so does everything that the detector is so sure of


class DetectorThread:
    """Looks for faces in what the readers announce.

    Args:
        on_found: called from this thread with what each detection brought, unless the camera was
            told to stop meanwhile.
    """

    def __init__(
        self,
        settings: CaptureSettings,
        metrics: CaptureMetrics,
        on_found: Callable[[CameraReader, CapturedFrame, DetectionResult], None],
    ) -> None:
        self._settings, self._metrics, self._on_found = settings, metrics, on_found
        self._waiting: dict[CameraReader, None] = {}  # in order of arrival
        self._changed = threading.Condition()
        self._stopping = False
        self._finders: dict[CameraReader, tuple[int, FacePipeline]] = {}
        self._detectors: dict[tuple[int, int, float], FaceDetector] = {}
        self._step = metrics.stage_duration.labels("detect")
        self._thread = threading.Thread(target=self._run, name="detector", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._detector_for(1280, 720)  # a file that is missing should be noticed at the start
        self._thread.start()

    def request_detection(self, reader: CameraReader) -> None:
        """A frame of this camera is due for detection."""
        with self._changed:
            if reader in self._waiting:
                self._metrics.frames_dropped.labels(reader.camera.name, "detector_busy").inc()
                return
            self._waiting[reader] = None
            self._changed.notify()

    def remove_camera(self, reader: CameraReader) -> None:
        """This camera, which was told to stop, is no longer read; nothing of it is kept."""
        with self._changed:
            self._waiting.pop(reader, None)
            self._finders.pop(reader, None)

    def stop(self, deadline: float) -> None:
        """Finish the frame in hand and end; waits until `deadline` (monotonic)."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        cv2.setNumThreads(1)
        while (reader := self._next()) is not None:
            frame = reader.latest_frame
            if frame is None or reader.is_stopped:
                continue
            began = time.perf_counter()
            try:
                self._detect(reader, frame)
            except ImageError as error:
                self._metrics.frames_dropped.labels(
                    reader.camera.name, "unsupported_pixel_format"
                ).inc()
                _log.debug("camera %s: %s", reader.camera.name, error)
            except Exception:
                # One camera's strange frame must not end the detection of all the others.
                self._metrics.frames_dropped.labels(reader.camera.name, "internal_error").inc()
                _log.exception("camera %s: detection failed", reader.camera.name)
            self._step.observe(time.perf_counter() - began)

    def _next(self) -> CameraReader | None:
        with self._changed:
            while not self._waiting and not self._stopping:
                self._changed.wait()
            if self._stopping:
                return None
            reader = next(iter(self._waiting))
            del self._waiting[reader]
            return reader

    def _detect(self, reader: CameraReader, frame: CapturedFrame) -> None:
        session, finder = self._finders.get(reader, (None, None))
        if finder is None or session != frame.session:
            hides = reader.privacy == "blur"
            detectors = self._detector_for if not hides else self._sensitive_detector_for
            finder = FacePipeline(self._settings, reader.camera.rotate, detectors, hides=hides)
            with self._changed:
                if reader.is_stopped:
                    return
                self._finders[reader] = (frame.session, finder)
        found = finder.process(frame.video, frame.captured_us, frame.at)
        reader.tracks = TrackSnapshot(frame.session, found.faces)
        reader.schedule_next_detection(is_calm=found.is_steady)
        with self._changed:
            if reader.is_stopped:  # its metrics may have gone with it
                return
            self._count(reader.camera.name, found)
        self._on_found(reader, frame, found)

    def _count(self, name: str, found: DetectionResult) -> None:
        if found.is_still:
            self._metrics.detections_skipped.labels(name).inc()
        else:
            self._metrics.detections.labels(name).inc()
            self._metrics.faces_detected.labels(name).inc(found.found)
        self._metrics.active_tracks.labels(name).set(len(found.faces))
        self._metrics.faces_dropped.labels(name, "encode_failed").inc(found.failed_crops)

    def _sensitive_detector_for(self, width: int, height: int) -> FaceDetector:
        """One that tells of what is hardly a face too: it is hidden, but not followed."""
        return self._detector_for(
            width, height, min(HIDE_SCORE, self._settings.min_detection_score)
        )

    def _detector_for(
        self, width: int, height: int, min_score: float | None = None
    ) -> FaceDetector:
        """A detector whose input has the picture's shape, where there are not too many of them."""
        min_score = min_score or self._settings.min_detection_score
        sides = (self._settings.detector_long_side_px, self._settings.detector_short_side_px)
        longer, shorter = max(sides), min(sides)
        size = choose_input_size(width, height, longer, shorter)
        shapes = {key[:2] for key in self._detectors}
        if size not in shapes and len(shapes) >= MOST_SHAPES:
            size = (longer, shorter) if width >= height else (shorter, longer)
        key = (*size, min_score)
        if key not in self._detectors:
            self._detectors[key] = FaceDetector(*size, min_score=min_score)
        return self._detectors[key]
