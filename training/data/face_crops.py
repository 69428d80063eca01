"""Aligned face crops of a data set: detected once, cached on disk, augmented from there.

The crops hold some context around the face, so that the augmentation can rotate and shift them
without leaving the image.
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

from training.data.utkface import LabeledImage, folds_digest

STORE_PX = 240
STORE_MARGIN = 0.1  # context on each side of the face's frame; the frame itself is 200 px
DETECT_PX = 224


@dataclass(frozen=True, slots=True)
class FaceSet:
    """Face crops and their labels, in one order.

    crops: uint8 RGB `[n, STORE_PX, STORE_PX, 3]`; age: float32 years `[n]`; female: float32 0 or 1;
    ethnicity: int8; found: bool, false if the detector missed the face and the crop is the whole
    image, which UTKFace has already framed.
    """

    crops: NDArray[np.uint8]
    age: NDArray[np.float32]
    female: NDArray[np.float32]
    ethnicity: NDArray[np.int8]
    found: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.age)

    def subset(self, keep: NDArray[np.intp]) -> FaceSet:
        """Return the faces at these positions; copies their crops out of the cache."""
        return FaceSet(
            self.crops[keep],
            self.age[keep],
            self.female[keep],
            self.ethnicity[keep],
            self.found[keep],
        )


def decode(image: LabeledImage) -> NDArray[np.uint8]:
    """Decode an image to RGB uint8 `[height, width, 3]`.

    Raises:
        DataError: the file is no image or is damaged.
    """
    data = np.frombuffer(image.data, np.uint8)
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if bgr is None:
        raise DataError(f"{image.name}: cannot decode image; remove it from the data")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def best_landmarks(detector: FaceDetector, rgb: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """Return the landmarks `[5, 2]` of the largest face in image pixels, None without a face."""
    fitted, back = letterbox(rgb[:, :, ::-1], detector.width, detector.height)
    faces = detector.detect(fitted)
    if len(faces) == 0:
        return None
    largest = int(np.argmax(faces.boxes[:, 2] * faces.boxes[:, 3]))
    return faces.transform(back).landmarks[largest]


def template_landmarks(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the template's landmarks scaled to an image that is already framed like it."""
    return TEMPLATE * np.array([rgb.shape[1], rgb.shape[0]], np.float32)


def crop_faces(images: Sequence[LabeledImage], cache_dir: Path) -> FaceSet:
    """Crop the face of every image, or read the crops from `cache_dir`, keyed by content."""
    cache_dir.mkdir(parents=True, exist_ok=True)
    stem = cache_dir / f"faces_{folds_digest(images)[:16]}_{STORE_PX}"
    crops_path, found_path = stem.with_suffix(".npy"), stem.with_suffix(".found.npy")
    if not (crops_path.exists() and found_path.exists()):
        # One file per process: two runs on an empty cache must not write into the same file.
        partial = stem.with_suffix(f".partial-{os.getpid()}.npy")
        try:
            np.save(found_path, _crop_all(images, partial))
            partial.replace(crops_path)
        finally:
            partial.unlink(missing_ok=True)
    return FaceSet(
        np.load(crops_path, mmap_mode="r"),
        np.array([p.age for p in images], np.float32),
        np.array([p.female for p in images], np.float32),
        np.array([p.ethnicity for p in images], np.int8),
        np.load(found_path),
    )


def _crop_all(images: Sequence[LabeledImage], path: Path) -> NDArray[np.bool_]:
    """Write the crops of all images to `path`; return for each whether a face was detected."""
    crops = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.uint8, shape=(len(images), STORE_PX, STORE_PX, 3)
    )
    found = np.zeros(len(images), np.bool_)
    detector = FaceDetector(DETECT_PX, DETECT_PX)
    for i, image in enumerate(images):
        rgb = decode(image)
        landmarks = best_landmarks(detector, rgb)
        found[i] = landmarks is not None
        if landmarks is None:
            landmarks = template_landmarks(rgb)
        crops[i] = align(rgb, landmarks, STORE_PX, STORE_MARGIN)
    crops.flush()
    return found
