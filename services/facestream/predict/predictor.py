"""Predict age and gender of the faces in images: detection, alignment and network in this process.

The three steps use the code and the exported model of the live pipeline. Most images are portraits,
whose face is certain at half the detector's size and a quarter of its cost. A first detection at
half size therefore comes first. Up to two large but uncertain candidates are detected again in a
crop of their own. The full-size detection runs only where candidates are more, or small, or no face
is certain.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facestream.common.core.paths import MODELS_DIR
from facestream.common.vision.age_distribution import central_interval
from facestream.common.vision.crop_quality import crop_quality, frontality
from facestream.common.vision.exported_model import ExportedModel
from facestream.common.vision.face_alignment import align
from facestream.common.vision.face_detector import STEP_PX, Detections, FaceDetector
from facestream.common.vision.model_store import newest_version
from facestream.predict.image_decoder import read_image

_MAX_DETECTORS = 12  # compiled detectors in the cache, one per image shape
_MIN_TWO_STAGE_PX = 400  # detection in smaller images is cheap anyway
# The half-size detection suffices where every candidate (score 0.1 and more) is certain: it scores
# 0.8 and is 32 px large, which exact landmarks need.
_CANDIDATE_SCORE, _CERTAIN_SCORE, _CERTAIN_PX = 0.1, 0.8, 32
_DEFAULT_MIN_SCORE = 0.6  # below it the half-size detection is skipped: it would lose faces
# At most 2 uncertain candidates of 40 px and more are refined: each is detected again in a crop of
# 2.5 times its size, scaled to 160 px, and must then reach the certain score.
_MAX_REFINED, _MIN_REFINED_PX = 2, 40
_REFINE_MARGIN, _REFINE_PX = 2.5, 160
_SAME_FACE_IOU = 0.3
_SHARPNESS_SIZE_PX = 64
_FACE_PER_EYE_DISTANCE = 2.3  # side of a detector's box, in eye distances


@dataclass(frozen=True, slots=True)
class FacePrediction:
    """One face of an image.

    box: x, y, width, height in pixels; score: the detector's score, 0–1; age: years; age_low,
    age_high: years, the central 80 % interval of the predicted distribution; female: probability,
    0–1. A value is None if the model has no head for it.
    """

    box: tuple[float, float, float, float]
    score: float
    age: float | None
    age_low: float | None
    age_high: float | None
    female: float | None


@dataclass(frozen=True, slots=True)
class FaceObservation:
    """One face of a video frame, with what the fusion of predictions needs.

    face: the prediction; quality: of the crop, 0-1; age_distribution: probability of each whole
    year from 0, float32 `[bins]`, empty if the model has none.
    """

    face: FacePrediction
    quality: float
    age_distribution: NDArray[np.float32]


class Predictor:
    """Predictor of age and gender from images; not thread-safe, uses one CPU thread.

    Args:
        model: folder of an exported model, or of one of its versions.
        detector_size_px: longest image side for face detection; larger images are reduced to it.
            Smaller is faster and misses small faces (below about 1/30 of that side).
        min_score: minimum detector score (0–1) in the full-size detection. Where the half-size
            detection suffices, the minimum is at least 0.8. Below 0.6 every image is searched at
            full size.

    Raises:
        ModelError: there is no model, or it does not load.
    """

    def __init__(
        self,
        model: Path = MODELS_DIR / "age_gender",
        *,
        detector_size_px: int = 640,
        min_score: float = _DEFAULT_MIN_SCORE,
    ) -> None:
        cv2.setNumThreads(1)
        self._model = ExportedModel(newest_version(model), precision="auto")
        self._detector_size_px, self._min_score = detector_size_px, min_score
        self._detectors: OrderedDict[tuple[int, int, float], FaceDetector] = OrderedDict()

    def faces_in_file(self, path: str | Path) -> list[FacePrediction]:
        """Return the faces of an image file, best score first.

        Raises:
            ImageError: the file cannot be read.
        """
        return self.faces(read_image(Path(path)))

    def faces(self, image: NDArray[np.uint8]) -> list[FacePrediction]:
        """Return the faces of a BGR image, uint8 `[height, width, 3]`, best score first."""
        return self.faces_in_batch([image])[0]

    def faces_in_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[list[FacePrediction]]:
        """Return the faces of each of a few BGR images; one inference batch for all saves time."""
        return [[observed.face for observed in faces] for faces in self.observe(images)]

    def observe(self, images: Sequence[NDArray[np.uint8]]) -> list[list[FaceObservation]]:
        """Return the faces of each of a few BGR images with crop quality and distribution."""
        detections = [self._detect(image) for image in images]
        size = self._model.size_px
        crops, qualities = [], []
        for image, faces in zip(images, detections, strict=True):
            for landmarks, score in zip(faces.landmarks, faces.scores, strict=True):
                crops.append(align(image, landmarks, size))
                qualities.append(_quality(crops[-1], landmarks, float(score)))
        if not crops:
            return [[] for _ in images]
        outputs = self._model.predict(np.ascontiguousarray(np.stack(crops)[..., ::-1]))
        age, female = outputs.get("age"), outputs.get("gender")
        distribution = outputs.get("age_distribution")
        low = high = None
        if distribution is not None:
            low, high = central_interval(distribution)
        boxes = np.concatenate([faces.boxes for faces in detections])
        scores = np.concatenate([faces.scores for faces in detections])
        none = np.zeros(0, np.float32)
        observations = iter(
            FaceObservation(
                FacePrediction(
                    box=tuple(float(v) for v in boxes[i]),  # type: ignore[arg-type]
                    score=float(scores[i]),
                    age=None if age is None else float(age[i]),
                    age_low=None if low is None else float(low[i]),
                    age_high=None if high is None else float(high[i]),
                    female=None if female is None else float(female[i]),
                ),
                qualities[i],
                none if distribution is None else np.asarray(distribution[i], np.float32),
            )
            for i in range(len(crops))
        )
        return [list(islice(observations, len(faces))) for faces in detections]

    def _detect(self, image: NDArray[np.uint8]) -> Detections:
        """Return the faces in pixels of the image."""
        longest = max(image.shape[:2])
        scale = min(1.0, self._detector_size_px / longest)
        if longest * scale >= _MIN_TWO_STAGE_PX and self._min_score >= _DEFAULT_MIN_SCORE:
            candidates = self._detect_at_scale(image, scale / 2, _CANDIDATE_SCORE)
            certain_score = max(_CERTAIN_SCORE, self._min_score)
            sizes = candidates.boxes[:, 2:].min(axis=1) * scale / 2
            is_certain = (candidates.scores >= certain_score) & (sizes >= _CERTAIN_PX)
            uncertain = candidates.boxes[~is_certain]
            if len(uncertain) <= _MAX_REFINED and (sizes[~is_certain] >= _MIN_REFINED_PX).all():
                faces = candidates.filter(is_certain)
                for box in uncertain:
                    refined = self._refine(image, box, certain_score)
                    faces = faces.merge_nms(refined, _SAME_FACE_IOU)
                if len(faces):
                    return faces
        return self._detect_at_scale(image, scale, self._min_score)

    def _refine(
        self, image: NDArray[np.uint8], box: NDArray[np.float32], min_score: float
    ) -> Detections:
        """Return the faces in and around a box (x, y, width, height), in pixels of the image."""
        side = float(max(box[2:])) * _REFINE_MARGIN
        corner = np.maximum(0, box[:2] + box[2:] / 2 - side / 2).astype(int)
        end = np.ceil(corner + side).astype(int)
        crop = image[corner[1] : end[1], corner[0] : end[0]]
        scale = _REFINE_PX / max(crop.shape[:2])
        return self._detect_at_scale(crop, scale, min_score, _REFINE_PX).transform(1.0, *corner)

    def _detect_at_scale(
        self, image: NDArray[np.uint8], scale: float, min_score: float, side_px: int = 1
    ) -> Detections:
        """Detect faces in the scaled image; return them in pixels of the image.

        Args:
            image: BGR uint8 `[height, width, 3]`.
            scale: factor on the image's size for the detector.
            min_score: minimum detector score.
            side_px: minimum width and height of the detector input.
        """
        height, width = (max(round(side * scale), side_px) for side in image.shape[:2])
        detector = self._detector(width, height, min_score)
        if scale == 1.0:
            return detector.detect(_pad(image, detector.width, detector.height))
        # At least one pixel must remain of a very narrow image.
        fy, fx = (max(scale, 1 / side) for side in image.shape[:2])
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        reduced = cv2.resize(image, None, fx=fx, fy=fy, interpolation=interpolation)
        reduced = _pad(np.asarray(reduced, np.uint8), detector.width, detector.height)
        return detector.detect(reduced).transform(1 / scale)

    def _detector(self, width: int, height: int, min_score: float) -> FaceDetector:
        """Return a detector whose input holds an image of this size, from an LRU cache."""
        width, height = (-(-max(1, side) // STEP_PX) * STEP_PX for side in (width, height))
        key = (width, height, min_score)
        if key not in self._detectors:
            self._detectors[key] = FaceDetector(width, height, min_score=min_score)
            while len(self._detectors) > _MAX_DETECTORS:
                self._detectors.popitem(last=False)
        self._detectors.move_to_end(key)
        return self._detectors[key]


def _quality(crop: NDArray[np.uint8], landmarks: NDArray[np.float32], score: float) -> float:
    """Return the quality of a crop for prediction, 0-1, from size, sharpness, pose and score."""
    # The eyes of the aligned crop are a fixed part of the face apart.
    eye_distance = float(np.hypot(*(landmarks[1] - landmarks[0])))
    luma = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(luma, (_SHARPNESS_SIZE_PX,) * 2, interpolation=cv2.INTER_AREA)
    deviation = float(cv2.meanStdDev(cv2.Laplacian(small, cv2.CV_16S))[1][0, 0])
    face_px = eye_distance * _FACE_PER_EYE_DISTANCE
    return crop_quality(face_px, deviation**2, frontality(landmarks), score)


def _pad(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    if image.shape[:2] == (height, width):
        return image
    right, bottom = width - image.shape[1], height - image.shape[0]
    return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
