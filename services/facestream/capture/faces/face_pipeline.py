"""Face pipeline of one camera session: detect, track, sample and cut face crops.

A frame goes in; tracks and the crops to send come out. Combines motion gate, detector, tracker and
crop sampler. Called at each detection by the detector thread; not thread-safe.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from facestream.capture.faces.crop_sampler import Candidate, Sampler
from facestream.capture.faces.detector_input import fit_to_input
from facestream.capture.faces.motion_gate import MotionGate
from facestream.capture.faces.yuv_frame import (
    YuvFrame,
    copy_face_region,
    face_crop,
    face_luma,
    from_av_frame,
)
from facestream.capture.settings import CaptureSettings
from facestream.common.broker.messages import MAX_CROP_BYTES
from facestream.common.core.frame_limits import Rotation
from facestream.common.vision.crop_codec import encode_crop
from facestream.common.vision.crop_quality import crop_quality, frontality
from facestream.common.vision.face_detector import FaceDetector
from facestream.common.vision.source_frame import FrameGeometry
from facestream.common.vision.tracker import Box, TrackedFace, Tracker

# Track numbers of a session begin at random. A client that keeps numbers without sessions then does
# not take the first face after a reconnect for a face that it knows. Numbers stay below 2^31.
_MAX_FIRST_TRACK = 2**30
_SHARPNESS_SIZE_PX = 48  # sharpness is measured at one size for all faces


@dataclass(frozen=True, slots=True)
class EncodedCrop:
    """A face crop to send to the model.

    captured_us: Unix time of its frame. quality: 0-1. jpeg: the encoded crop.
    """

    track: int
    captured_us: int
    quality: float
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class DetectionResult:
    """Result of one detection. Boxes are in pixels of the upright frame of this size."""

    width: int
    height: int
    face_count: int  # faces found by the detector
    is_skipped: bool  # by the motion gate: the faces are those of the last detector run
    faces: tuple[TrackedFace, ...]
    crops: tuple[EncodedCrop, ...]
    failed_crops: int  # could not be cut or encoded
    is_steady: bool = False  # no face appears, disappears or moves fast: the next one may wait
    redaction_boxes: tuple[Box, ...] = ()  # certain and possible faces, to be pixelated


@dataclass(frozen=True, slots=True)
class _FaceRegion:
    """Copy of the part of a frame around one face; landmarks are relative to it."""

    frame: YuvFrame
    landmarks: NDArray[np.float32]
    captured_us: int


@dataclass(frozen=True, slots=True)
class _Observations:
    """Faces found by one detection, in pixels of the upright frame; one entry per face in each."""

    boxes: list[Box]
    scores: list[float]
    landmarks: NDArray[np.float32]

    def filter(self, indexes: list[int]) -> _Observations:
        return _Observations(
            [self.boxes[i] for i in indexes],
            [self.scores[i] for i in indexes],
            self.landmarks[indexes],
        )


class FacePipeline:
    """Faces of one session of one camera.

    Args:
        settings: of capture.
        rotate: degrees clockwise that turn a frame upright, unless `process` gets a geometry.
        detectors: returns the detector for width and height of an upright frame. It may have a
            lower score limit than the settings: faces below `min_detection_score` are pixelated
            but not tracked.
        pixelates: whether faces are pixelated. Then only frames with a detector run are shown, so
            the detector runs at least once per second.
    """

    def __init__(
        self,
        settings: CaptureSettings,
        rotate: Rotation,
        detectors: Callable[[int, int], FaceDetector],
        *,
        pixelates: bool = False,
    ) -> None:
        self._settings, self._rotate, self._detectors = settings, rotate, detectors
        self._pixelates = pixelates
        self._idle_interval_s = 1.0 / min(settings.detection_idle_fps, settings.detection_fps)
        self._tracker = Tracker(1 + secrets.randbelow(_MAX_FIRST_TRACK), self._idle_interval_s)
        self._motion_gate = MotionGate()
        self._observations = _Observations([], [], np.empty((0, 5, 2), np.float32))
        self._detected_boxes: list[Box] = []
        self._sampler: Sampler[_FaceRegion] = Sampler(settings.crop_interval_s)

    def process(
        self,
        av_frame: av.VideoFrame,
        captured_us: int,
        now: float,
        geometry: FrameGeometry | None = None,
    ) -> DetectionResult:
        """Detect and track the faces of a frame, and cut the crops that are due.

        Args:
            av_frame: as decoded.
            captured_us: Unix time of the frame in microseconds, attached to its crops.
            now: the same time in monotonic seconds.
            geometry: how to display the frame; its size must not change during a session.

        Raises:
            ImageError: the frame's pixel format cannot be converted.
        """
        frame = from_av_frame(av_frame, geometry or self._rotate)
        is_empty = not self._detected_boxes and not self._pixelates
        is_skipped = self._motion_gate.is_unchanged(frame.y, now, is_empty=is_empty)
        current = self._observations if is_skipped else self._detect(frame)
        boxes, scores, landmarks = current.boxes, current.scores, current.landmarks
        tracks = self._tracker.update(boxes, scores, now)
        # Only a second detector run may confirm a track, not the same observation used again.
        self._observations = current.filter(
            [i for i, face in enumerate(tracks) if face is not None]
        )
        candidates: dict[int, Candidate[_FaceRegion]] = {}
        for box, score, points, face in zip(boxes, scores, landmarks, tracks, strict=True):
            if face is None:
                continue
            quality = self._quality(frame, box, score, points)
            if quality <= 0:
                continue
            try:
                region = _FaceRegion(*copy_face_region(frame, points), captured_us)
            except ValueError:  # the landmarks lie outside the frame
                continue
            candidates[face.track] = Candidate(now, quality, region)
        selected = self._sampler.select(candidates)
        self._sampler.retain_only(self._tracker.live_track_ids())
        crops = [self._cut_crop(track, candidate) for track, candidate in selected.items()]
        valid_crops = tuple(crop for crop in crops if crop is not None)
        return DetectionResult(
            frame.width,
            frame.height,
            len(boxes),
            is_skipped,
            self._tracker.visible(now),
            valid_crops,
            len(crops) - len(valid_crops),
            self._tracker.is_steady(now, self._idle_interval_s),
            (*self._detected_boxes, *self._tracker.predicted_boxes(now)),
        )

    def _detect(self, frame: YuvFrame) -> _Observations:
        detector = self._detectors(frame.width, frame.height)
        detector_input = fit_to_input(frame, detector.width, detector.height)
        detections = detector.detect(detector_input.bgr)
        scaled = detections.boxes * np.tile(detector_input.scale, 2)
        scaled[:, :2] += detector_input.origin
        boxes: list[Box] = [tuple(box) for box in scaled.tolist()]
        self._detected_boxes = boxes
        scores = detections.scores.tolist()
        landmarks = detections.landmarks * detector_input.scale + detector_input.origin
        min_score = self._settings.min_detection_score
        return _Observations(boxes, scores, landmarks).filter(
            [i for i, score in enumerate(scores) if score >= min_score]
        )

    def _quality(
        self, frame: YuvFrame, box: Box, score: float, landmarks: NDArray[np.float32]
    ) -> float:
        """Return the quality of an observation, 0-1; 0 if its crop must not be sent."""
        face_px = math.sqrt(max(0.0, box[2] * box[3]))
        frontal = frontality(landmarks)
        if face_px < self._settings.min_face_px or frontal < self._settings.min_frontality:
            return 0.0
        luma = face_luma(frame, box)
        if luma.size == 0:
            return 0.0
        small = cv2.resize(
            luma, (_SHARPNESS_SIZE_PX, _SHARPNESS_SIZE_PX), interpolation=cv2.INTER_AREA
        )
        deviation = cv2.meanStdDev(cv2.Laplacian(small, cv2.CV_16S))[1]
        return crop_quality(face_px, float(deviation[0, 0]) ** 2, frontal, score)

    def _cut_crop(self, track: int, candidate: Candidate[_FaceRegion]) -> EncodedCrop | None:
        region = candidate.payload
        try:
            crop = face_crop(region.frame, region.landmarks, self._settings.crop_size_px)
            jpeg = encode_crop(crop, self._settings.crop_jpeg_quality)
        except (ValueError, cv2.error):
            return None
        if len(jpeg) > MAX_CROP_BYTES:
            return None
        return EncodedCrop(track, region.captured_us, candidate.quality, jpeg)
