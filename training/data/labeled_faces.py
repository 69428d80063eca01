"""Aligned face crops with age ranges, from labeled images of any collection.

For training on collections whose ages are ranges. Landmarks and template are those of
`face_crops`. Each face has an inclusive age range, a gender, a group and the name of its
collection. UTKFace's images get the range [age, age].
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from facestream.common.core.errors import DataError
from facestream.common.vision.face_alignment import align
from facestream.common.vision.face_detector import FaceDetector, letterbox
from numpy.typing import NDArray

from training.data.face_crops import (
    DETECT_PX,
    STORE_MARGIN,
    STORE_PX,
    best_landmarks,
    template_landmarks,
)
from training.data.labels_csv import RangeLabeledImage, has_labels, labels_digest, load_labels
from training.data.utkface import ETHNICITIES, LabeledImage, load

UTKFACE = "utkface"


@dataclass(frozen=True, slots=True)
class Collection:
    """Source of labeled images; `report` holds one line of text per fact."""

    name: str
    images: list[RangeLabeledImage]
    report: list[str]


@dataclass(frozen=True, slots=True)
class LabeledFaces:
    """Aligned crops and labels of one or more collections, in one order.

    crops: uint8 RGB `[n, STORE_PX, STORE_PX, 3]`; age_low, age_high: float32 years `[n]`,
    inclusive; female: float32 0 or 1; group: text `[n]`; collection: name `[n]`; fold: int 0–9;
    share: float 0–1 by content; digest: MD5 of the image, text `[n]`.
    """

    crops: NDArray[np.uint8]
    age_low: NDArray[np.float32]
    age_high: NDArray[np.float32]
    female: NDArray[np.float32]
    group: NDArray[np.str_]
    collection: NDArray[np.str_]
    fold: NDArray[np.intp]
    share: NDArray[np.float64]
    digest: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.age_low)

    def subset(self, keep: NDArray[np.intp]) -> LabeledFaces:
        """Return the faces at these positions; the crops are copied."""
        names = (n for n in self.__dataclass_fields__ if n != "crops")
        return LabeledFaces(self.crops[keep], *(getattr(self, name)[keep] for name in names))


def load_collection(source: Path, name: str | None = None) -> Collection:
    """Read a folder or tar with a `labels.csv`, or UTKFace by its file names.

    Raises:
        DataError: it is neither.
    """
    if not source.exists():
        raise DataError(f"{source}: no such folder or tar")
    if has_labels(source):
        images, report = load_labels(source)
        return Collection(name or source.stem, images, report.lines())
    exact, data_report = load(source)
    images = [_with_range(image) for image in exact]
    return Collection(name or UTKFACE, images, data_report.lines())


def concatenate(parts: Sequence[LabeledFaces]) -> LabeledFaces:
    """Return the faces of all parts in one set, in the order of the parts."""
    names = LabeledFaces.__dataclass_fields__
    return LabeledFaces(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def middle_landmarks(detector: FaceDetector, rgb: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """Return the landmarks `[5, 2]` of the central face in image pixels, None without a face.

    A collection's label belongs to the face in the middle. That is the largest face whose box
    contains the center of the image. If no box contains it, it is the face nearest to the center.
    """
    fitted, back = letterbox(rgb[:, :, ::-1], detector.width, detector.height)
    faces = detector.detect(fitted)
    if len(faces) == 0:
        return None
    moved = faces.transform(back)
    origin, size = moved.boxes[:, :2], moved.boxes[:, 2:4]
    center = np.array([rgb.shape[1], rgb.shape[0]], np.float32) / 2
    holds = ((origin <= center) & (center <= origin + size)).all(axis=1)
    if holds.any():
        chosen = int(np.argmax(np.where(holds, size.prod(axis=1), -1)))
    else:
        chosen = int(np.argmin(np.square(origin + size / 2 - center).sum(axis=1)))
    return moved.landmarks[chosen]


def decode_rgb(image: RangeLabeledImage) -> NDArray[np.uint8]:
    """Decode an image to RGB uint8 `[height, width, 3]`.

    Raises:
        DataError: the file is no image or is damaged.
    """
    data = np.frombuffer(image.data, np.uint8)
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if bgr is None:
        raise DataError(f"{image.name}: cannot decode image; remove it from the collection")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def crop_labeled_faces(collection: Collection, cache_dir: Path) -> LabeledFaces:
    """Crop the face of every image, or read the crops from `cache_dir`, keyed by content.

    An image without a detected face is left out; one of UTKFace keeps its own framing.
    """
    images = collection.images
    cache_dir.mkdir(parents=True, exist_ok=True)
    stem = cache_dir / f"{collection.name}_{labels_digest(images)[:16]}_{STORE_PX}"
    crops_path, found_path = stem.with_suffix(".npy"), stem.with_suffix(".found.npy")
    if not (crops_path.exists() and found_path.exists()):
        # One file per process: two runs on an empty cache must not write into the same file.
        partial = stem.with_suffix(f".partial-{os.getpid()}.npy")
        try:
            np.save(found_path, _crop_all(collection, partial))
            partial.replace(crops_path)
        finally:
            partial.unlink(missing_ok=True)
    faces = LabeledFaces(
        np.load(crops_path, mmap_mode="r"),
        np.array([i.age_low for i in images], np.float32),
        np.array([i.age_high for i in images], np.float32),
        np.array([i.female for i in images], np.float32),
        np.array([i.group for i in images], np.str_),
        np.full(len(images), collection.name),
        np.array([i.fold for i in images], np.intp),
        np.array([i.share for i in images], np.float64),
        np.array([i.digest for i in images], np.str_),
    )
    return faces.subset(np.flatnonzero(np.load(found_path)))


def _crop_all(collection: Collection, path: Path) -> NDArray[np.bool_]:
    """Write the crops of all images to `path`; return for each whether its crop is usable."""
    shape = (len(collection.images), STORE_PX, STORE_PX, 3)
    crops = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    found = np.zeros(len(collection.images), np.bool_)
    detector = FaceDetector(DETECT_PX, DETECT_PX)
    framed = collection.name == UTKFACE
    choose = best_landmarks if framed else middle_landmarks
    for i, image in enumerate(collection.images):
        rgb = decode_rgb(image)
        landmarks = choose(detector, rgb)
        if landmarks is None and framed:
            landmarks = template_landmarks(rgb)
        found[i] = landmarks is not None
        if landmarks is not None:
            crops[i] = align(rgb, landmarks, STORE_PX, STORE_MARGIN)
    crops.flush()
    return found


def _with_range(image: LabeledImage) -> RangeLabeledImage:
    return RangeLabeledImage(
        image.name,
        image.digest,
        image.age,
        image.age,
        image.female,
        ETHNICITIES[image.ethnicity],
        image.data,
    )
