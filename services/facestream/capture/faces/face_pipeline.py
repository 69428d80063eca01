"""Finds and follows the faces of one camera: a frame goes in, tracks and the crops to ask come out.

Ties together picture, detector, tracker and sampler for one camera. Called at each detection, by
the one detector thread.
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

from facestream.capture.faces.crop_sampler import Candidate, Sampler, frontality, quality
from facestream.capture.faces.detector_input import fit_to_input
from facestream.capture.faces.motion_gate import MotionGate
from facestream.capture.faces.tracker import Box, TrackedFace, Tracker
from facestream.capture.faces.yuv_frame import (
    YuvFrame,
    copy_face_region,
    face_crop,
    face_luma,
    from_av_frame,
)
from facestream.capture.settings import CaptureSettings
from facestream.common.broker.messages import MAX_CROP_BYTES
from facestream.common.cameras.models import Rotation
from facestream.common.vision.crop_codec import encode_crop
from facestream.common.vision.face_detector import FaceDetector

# A session's tracks are numbered from a random start: whoever keeps numbers without sessions does
# not take the first face after a reconnection for one that it knows. Numbers stay below 2^31.
_FIRST_TRACKS = 2**30
_SHARPNESS_SIZE_PX = 48  # faces are compared for sharpness at one size


@dataclass(frozen=True, slots=True)
class FaceCrop:
    """A face to ask the model about: track, when it was captured, quality 0-1, its crop as JPEG."""

    track: int
    captured_us: int
    quality: float
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class DetectionResult:
    """What one detection brought. Boxes in pixels of the upright frame of this size."""

    width: int
    height: int
    found: int  # faces that the detector saw
    is_still: bool  # nothing had changed: these are the faces of the last search
    faces: tuple[TrackedFace, ...]
    crops: tuple[FaceCrop, ...]
    failed_crops: int  # could not be cut or encoded
    is_steady: bool = False  # nothing comes, goes or moves fast: the next look may wait longer
    redaction_boxes: tuple[Box, ...] = ()  # where a face is or may be: more than the faces followed


@dataclass(frozen=True, slots=True)
class _Sight:
    picture: YuvFrame  # of the face alone
    landmarks: NDArray[np.float32]
    captured_us: int


@dataclass(frozen=True, slots=True)
class _Sightings:
    """What a search saw, in pixels of the upright picture; one entry a face in each."""

    boxes: list[Box]
    scores: list[float]
    landmarks: NDArray[np.float32]

    def only(self, keep: list[int]) -> _Sightings:
        return _Sightings(
            [self.boxes[i] for i in keep], [self.scores[i] for i in keep], self.landmarks[keep]
        )


class FacePipeline:
    """The faces of one session of one camera.

    Args:
        detectors: the detector for an upright picture's width and height; what it is less sure of
            than the settings ask is hidden where faces are, and not followed.
        hides: only pictures that were searched are shown: one is searched each second at least.
    """

    def __init__(
        self,
        settings: CaptureSettings,
        rotate: Rotation,
        detectors: Callable[[int, int], FaceDetector],
        *,
        hides: bool = False,
    ) -> None:
        self._settings, self._rotate, self._detectors = settings, rotate, detectors
        self._hides = hides
        self._calm_gap_s = 1.0 / min(settings.detection_idle_fps, settings.detection_fps)
        self._tracker = Tracker(1 + secrets.randbelow(_FIRST_TRACKS), self._calm_gap_s)
        self._motion = MotionGate()
        self._last = _Sightings([], [], np.empty((0, 5, 2), np.float32))
        self._last_found: list[Box] = []
        self._sampler: Sampler[_Sight] = Sampler(settings.crop_interval_s)

    def process(self, frame: av.VideoFrame, captured_us: int, now: float) -> DetectionResult:
        """Detect, track and choose.

        Args:
            frame: as decoded.
            captured_us: when it came, Unix time in microseconds; goes with its crops.
            now: the same moment in seconds of the monotonic clock.

        Raises:
            ImageError: the frame's pixel format cannot be converted.
        """
        picture = from_av_frame(frame, self._rotate)
        is_empty = not self._last_found and not self._hides
        is_still = self._motion.is_unchanged(picture.y, now, is_empty=is_empty)
        seen = self._last if is_still else self._search(picture)
        boxes, scores, landmarks = seen.boxes, seen.scores, seen.landmarks
        owners = self._tracker.update(boxes, scores, now)
        # What is not yet sure to be a face must be found by a second search, not by this one.
        self._last = seen.only([i for i, face in enumerate(owners) if face is not None])
        moments: dict[int, Candidate[_Sight]] = {}
        for box, score, points, face in zip(boxes, scores, landmarks, owners, strict=True):
            if face is None:
                continue
            worth = self._quality(picture, box, score, points)
            if worth <= 0:
                continue
            try:
                sight = _Sight(*copy_face_region(picture, points), captured_us)
            except ValueError:  # its landmarks lie outside the picture
                continue
            moments[face.track] = Candidate(now, worth, sight)
        chosen = self._sampler.select(moments)
        self._sampler.retain_only(self._tracker.live_track_ids())
        crops = [self._crop(track, moment) for track, moment in chosen.items()]
        good = tuple(crop for crop in crops if crop is not None)
        return DetectionResult(
            picture.width,
            picture.height,
            len(boxes),
            is_still,
            self._tracker.visible(now),
            good,
            len(crops) - len(good),
            self._tracker.is_calm(now, self._calm_gap_s),
            (*self._last_found, *self._tracker.predicted_boxes(now)),
        )

    def _search(self, picture: YuvFrame) -> _Sightings:
        detector = self._detectors(picture.width, picture.height)
        seen = fit_to_input(picture, detector.width, detector.height)
        found = detector.detect(seen.bgr)
        places = found.boxes * np.tile(seen.scale, 2)
        places[:, :2] += seen.origin
        boxes: list[Box] = [tuple(box) for box in places.tolist()]
        self._last_found = boxes
        scores = found.scores.tolist()
        sure = [i for i, score in enumerate(scores) if score >= self._settings.min_detection_score]
        return _Sightings(boxes, scores, found.landmarks * seen.scale + seen.origin).only(sure)

    def _quality(
        self, picture: YuvFrame, box: Box, score: float, landmarks: NDArray[np.float32]
    ) -> float:
        """0-1; 0 for a face not worth asking about."""
        face_px = math.sqrt(max(0.0, box[2] * box[3]))
        frontal = frontality(landmarks)
        if face_px < self._settings.min_face_px or frontal < self._settings.min_frontality:
            return 0.0
        luma = face_luma(picture, box)
        if luma.size == 0:
            return 0.0
        small = cv2.resize(
            luma, (_SHARPNESS_SIZE_PX, _SHARPNESS_SIZE_PX), interpolation=cv2.INTER_AREA
        )
        deviation = cv2.meanStdDev(cv2.Laplacian(small, cv2.CV_16S))[1]
        return quality(face_px, float(deviation[0, 0]) ** 2, frontal, score)

    def _crop(self, track: int, moment: Candidate[_Sight]) -> FaceCrop | None:
        sight = moment.sight
        try:
            crop = face_crop(sight.picture, sight.landmarks, self._settings.crop_size_px)
            jpeg = encode_crop(crop, self._settings.crop_jpeg_quality)
        except (ValueError, cv2.error):
            return None
        if len(jpeg) > MAX_CROP_BYTES:
            return None
        return FaceCrop(track, sight.captured_us, moment.quality, jpeg)
