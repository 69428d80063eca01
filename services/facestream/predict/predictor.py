"""Pictures in, their faces out: detector, alignment and network in this process.

The same three steps as in the live pipeline, with the same code and the same exported model. A
portrait, which most pictures are, is clear at half the detector's size and a quarter of its cost.
What such a first look leaves in doubt is looked at closely, by itself; only where it is much, or
small, or nothing is sure, is there a second look at full size.
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

from facestream.common.core.errors import ImageError
from facestream.common.core.paths import MODELS_DIR
from facestream.common.vision.age_distribution import central_interval
from facestream.common.vision.exported_model import ExportedModel
from facestream.common.vision.face_alignment import align
from facestream.common.vision.face_detector import STEP_PX, Detections, FaceDetector
from facestream.common.vision.model_store import newest_version

_MAX_DETECTORS = 12  # compiled ones kept, by the shape of the picture
_TWO_LOOKS_FROM_PX = 400  # smaller pictures cost little anyway
# A first look is enough where it finds a face and nothing that might be one: what is there scores
# high and is large enough for exact landmarks (at half size).
_CANDIDATE_SCORE, _CLEAR_SCORE, _CLEAR_PX = 0.1, 0.8, 32
_SURE_SCORE = 0.6  # who wants less sure ones too gets the whole look
# Up to so many that are this large but not clear are looked at closely: each by itself, with so
# many of its sizes around it, by a detector of one size; only a clear one then counts.
_MOST_CLOSE, _CLOSE_PX = 2, 40
_AROUND, _CLOSE_LOOK_PX = 2.5, 160
_SAME_FACE_IOU = 0.3
MAX_SIDE_PX = 16_384


@dataclass(frozen=True, slots=True)
class FacePrediction:
    """One face of a picture.

    box: x, y, width, height in pixels; score: the detector's, 0–1; age: years; age_low,
    age_high: years, the middle 80 % of what the model holds possible; female: probability, 0–1.
    What the model has no head for is None.
    """

    box: tuple[float, float, float, float]
    score: float
    age: float | None
    age_low: float | None
    age_high: float | None
    female: float | None


class Predictor:
    """Reads faces; not thread-safe, one thread of CPU.

    Args:
        model: folder of an exported model or of one of its versions.
        detect_px: pictures are reduced to this longest side to look for faces; smaller is faster
            and misses small faces (below about 1/30 of that side).
        min_score: detector's confidence (0–1) from which on a face counts in a look at full size.
            Where a first look at half size is enough, faces count from 0.8 on at least; below 0.6
            there is no such look.

    Raises:
        ModelError: there is no model, or it does not load.
    """

    def __init__(
        self,
        model: Path = MODELS_DIR / "age_gender",
        *,
        detect_px: int = 640,
        min_score: float = _SURE_SCORE,
    ) -> None:
        cv2.setNumThreads(1)
        self._model = ExportedModel(newest_version(model), precision="auto")
        self._detect_px, self._min_score = detect_px, min_score
        self._detectors: OrderedDict[tuple[int, int, float], FaceDetector] = OrderedDict()

    def faces_in_file(self, path: str | Path) -> list[FacePrediction]:
        """Faces of a picture file, best first.

        Raises:
            ImageError: it cannot be read.
        """
        return self.faces(read_picture(Path(path)))

    def faces(self, picture: NDArray[np.uint8]) -> list[FacePrediction]:
        """Faces of a BGR picture, uint8 `[height, width, 3]`, best first."""
        return self.faces_of_each([picture])[0]

    def faces_of_each(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[FacePrediction]]:
        """Faces of each of a few BGR pictures; their faces share a batch, which saves time."""
        found = [self._find(picture) for picture in pictures]
        size = self._model.size_px
        crops = [
            align(picture, landmarks, size)
            for picture, faces in zip(pictures, found, strict=True)
            for landmarks in faces.landmarks
        ]
        if not crops:
            return [[] for _ in pictures]
        answers = self._model.predict(np.ascontiguousarray(np.stack(crops)[..., ::-1]))
        age, female = answers.get("age"), answers.get("gender")
        low = high = None
        if "age_distribution" in answers:
            low, high = central_interval(answers["age_distribution"])
        boxes = np.concatenate([faces.boxes for faces in found])
        scores = np.concatenate([faces.scores for faces in found])
        predictions = iter(
            FacePrediction(
                box=tuple(float(v) for v in boxes[i]),  # type: ignore[arg-type]
                score=float(scores[i]),
                age=None if age is None else float(age[i]),
                age_low=None if low is None else float(low[i]),
                age_high=None if high is None else float(high[i]),
                female=None if female is None else float(female[i]),
            )
            for i in range(len(crops))
        )
        return [list(islice(predictions, len(faces))) for faces in found]

    def _find(self, picture: NDArray[np.uint8]) -> Detections:
        """Faces in pixels of the picture."""
        longest = max(picture.shape[:2])
        scale = min(1.0, self._detect_px / longest)
        if longest * scale >= _TWO_LOOKS_FROM_PX and self._min_score >= _SURE_SCORE:
            first = self._detect_at_scale(picture, scale / 2, _CANDIDATE_SCORE)
            clear_score = max(_CLEAR_SCORE, self._min_score)
            sizes = first.boxes[:, 2:].min(axis=1) * scale / 2
            is_clear = (first.scores >= clear_score) & (sizes >= _CLEAR_PX)
            doubtful = first.boxes[~is_clear]
            if len(doubtful) <= _MOST_CLOSE and (sizes[~is_clear] >= _CLOSE_PX).all():
                found = first.filter(is_clear)
                for box in doubtful:
                    close = self._refine(picture, box, clear_score)
                    found = found.merge_nms(close, _SAME_FACE_IOU)
                if len(found):
                    return found
        return self._detect_at_scale(picture, scale, self._min_score)

    def _refine(
        self, picture: NDArray[np.uint8], box: NDArray[np.float32], min_score: float
    ) -> Detections:
        """Faces found in and around a box (x, y, width, height), in pixels of the picture."""
        side = float(max(box[2:])) * _AROUND
        corner = np.maximum(0, box[:2] + box[2:] / 2 - side / 2).astype(int)
        end = np.ceil(corner + side).astype(int)
        part = picture[corner[1] : end[1], corner[0] : end[0]]
        scale = _CLOSE_LOOK_PX / max(part.shape[:2])
        return self._detect_at_scale(part, scale, min_score, _CLOSE_LOOK_PX).transform(1.0, *corner)

    def _detect_at_scale(
        self, picture: NDArray[np.uint8], scale: float, min_score: float, side_px: int = 1
    ) -> Detections:
        """Faces found in the picture when it is scaled, in its own pixels.

        Args:
            side_px: least width and height of the detector.
        """
        height, width = (max(round(side * scale), side_px) for side in picture.shape[:2])
        detector = self._detector(width, height, min_score)
        if scale == 1.0:
            return detector.detect(_padded(picture, detector.width, detector.height))
        # Of a picture like a thread a pixel is left.
        fy, fx = (max(scale, 1 / side) for side in picture.shape[:2])
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        reduced = cv2.resize(picture, None, fx=fx, fy=fy, interpolation=interpolation)
        reduced = _padded(np.asarray(reduced, np.uint8), detector.width, detector.height)
        return detector.detect(reduced).transform(1 / scale)

    def _detector(self, width: int, height: int, min_score: float) -> FaceDetector:
        """A detector that holds a picture of this size; those last used are kept."""
        width, height = (-(-max(1, side) // STEP_PX) * STEP_PX for side in (width, height))
        key = (width, height, min_score)
        if key not in self._detectors:
            self._detectors[key] = FaceDetector(width, height, min_score=min_score)
            while len(self._detectors) > _MAX_DETECTORS:
                self._detectors.popitem(last=False)
        self._detectors.move_to_end(key)
        return self._detectors[key]


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A picture file as BGR uint8 `[height, width, 3]`, turned upright as its EXIF says.

    Raises:
        ImageError: missing, unreadable, not a picture, or larger than `MAX_SIDE_PX` on a side.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}") from None
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:
        picture = None
    if picture is None:
        raise ImageError(f"{path}: not a picture, or damaged")
    if max(picture.shape[:2]) > MAX_SIDE_PX:
        raise ImageError(f"{path}: larger than {MAX_SIDE_PX} pixels on a side")
    return picture


def _padded(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    if picture.shape[:2] == (height, width):
        return picture
    right, bottom = width - picture.shape[1], height - picture.shape[0]
    return cv2.copyMakeBorder(picture, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
