"""From pictures to aligned face crops: found once, kept in a cache, augmented from there.

Pictures go in; `FaceSet` comes out: uint8 crops with some context around each, so that the
augmentation can turn and shift without leaving the picture.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from facestream.common.core.errors import DataError
from facestream.common.vision.face_alignment import TEMPLATE, align
from facestream.common.vision.face_detector import FaceDetector, letterbox
from numpy.typing import NDArray

from training.data.utkface import LabelledImage, folds_digest

STORE_PX = 240
STORE_MARGIN = 0.1  # context on each side of the face's frame; the frame itself is 200 px
DETECT_PX = 224


@dataclass(frozen=True, slots=True)
class FaceSet:
    """Crops and labels, in one order.

    crops: uint8 RGB `[n, STORE_PX, STORE_PX, 3]`; age: float32 years `[n]`; female: float32 0 or 1;
    ethnicity: int8; found: bool, whether the detector found the face (else the crop is the whole
    picture, which UTKFace has already framed).
    """

    crops: NDArray[np.uint8]
    age: NDArray[np.float32]
    female: NDArray[np.float32]
    ethnicity: NDArray[np.int8]
    found: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.age)

    def subset(self, keep: NDArray[np.intp]) -> FaceSet:
        """The faces at these positions; the crops are copied out of the cache."""
        return FaceSet(
            self.crops[keep],
            self.age[keep],
            self.female[keep],
            self.ethnicity[keep],
            self.found[keep],
        )


def decode(picture: LabelledImage) -> NDArray[np.uint8]:
    """RGB uint8 `[height, width, 3]`.

    Raises:
        DataError: the file is no picture, or a damaged one.
    """
    data = np.frombuffer(picture.data, np.uint8)
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if bgr is None:
        raise DataError(f"{picture.name}: not a readable picture; take it out of the data")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def best_landmarks(detector: FaceDetector, rgb: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """Landmarks `[5, 2]` of the largest face in the picture's pixels, None if there is none."""
    fitted, back = letterbox(rgb[:, :, ::-1], detector.width, detector.height)
    faces = detector.detect(fitted)
    if len(faces) == 0:
        return None
    largest = int(np.argmax(faces.boxes[:, 2] * faces.boxes[:, 3]))
    return faces.transform(back).landmarks[largest]


def framed_landmarks(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Where the landmarks lie if the picture is already framed as the template is."""
    return TEMPLATE * np.array([rgb.shape[1], rgb.shape[0]], np.float32)


def collect(pictures: Sequence[LabelledImage], cache_dir: Path) -> FaceSet:
    """Find and cut the face of every picture; the crops stay in `cache_dir`, keyed by content."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    stem = cache_dir / f"faces_{folds_digest(pictures)[:16]}_{STORE_PX}"
    crops_path, found_path = stem.with_suffix(".npy"), stem.with_suffix(".found.npy")
    if not (crops_path.exists() and found_path.exists()):
        # By process: two runs that begin on a fresh cache must not write into each other's file.
        partial = stem.with_suffix(f".partial-{os.getpid()}.npy")
        try:
            np.save(found_path, _cut_all(pictures, partial))
            partial.replace(crops_path)
        finally:
            partial.unlink(missing_ok=True)
    return FaceSet(
        np.load(crops_path, mmap_mode="r"),
        np.array([p.age for p in pictures], np.float32),
        np.array([p.female for p in pictures], np.float32),
        np.array([p.ethnicity for p in pictures], np.int8),
        np.load(found_path),
    )


def _cut_all(pictures: Sequence[LabelledImage], path: Path) -> NDArray[np.bool_]:
    """Write the crops of all pictures to `path`; returns whose face the detector found."""
    crops = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.uint8, shape=(len(pictures), STORE_PX, STORE_PX, 3)
    )
    found = np.zeros(len(pictures), np.bool_)
    detector = FaceDetector(DETECT_PX, DETECT_PX)
    for i, picture in enumerate(pictures):
        rgb = decode(picture)
        landmarks = best_landmarks(detector, rgb)
        found[i] = landmarks is not None
        if landmarks is None:
            landmarks = framed_landmarks(rgb)
        crops[i] = align(rgb, landmarks, STORE_PX, STORE_MARGIN)
    crops.flush()
    return found
