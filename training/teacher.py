"""What those who know more say of each face: soft labels and embeddings, asked once and kept.

Two are asked. A published version of our own, of the crop and of its mirror image: two views at
once are right more often than the one that the next version will have. And a network that has
learnt to tell three million faces of other collections apart, dlib's (D. King, in the public
domain): what it sees in a face holds much of its gender, on other pictures than ours too. Gender is
read from its embedding by logistic regression, of each half of the faces by what the other half
taught.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from services.common.alignment import TEMPLATE
from services.common.errors import DataError
from services.common.savedmodel import ExportedModel
from training.augment import frame
from training.dataset import Picture, load, parse_folds
from training.evaluate import flip_averaged
from training.faces import STORE_MARGIN, STORE_PX, FaceSet, collect

Say = Callable[[str], None]
_CHIP_PX = 150
# Where dlib's alignment puts the middles of the eyes in its 150-pixel chip.
_CHIP_EYES = ((47.7, 47.1), (100.3, 47.1))
_RIDGE = 0.1  # of the logistic regression, whose inputs have a mean square of 1 altogether
_NEWTON_STEPS = 25


@dataclass(frozen=True, slots=True)
class Teacher:
    """Its word on each face of a `FaceSet`, in that order, float32.

    age: `[n, bins]`, a distribution over years; female: `[n]`, probability; embedding:
    `[n, dimensions]`, mean 0 and mean square length 1 over all the faces that were asked about.
    """

    age: NDArray[np.float32]
    female: NDArray[np.float32]
    embedding: NDArray[np.float32]

    def at(self, keep: NDArray[np.intp]) -> Teacher:
        """The word on the faces at these positions."""
        return Teacher(self.age[keep], self.female[keep], self.embedding[keep])


def teach(version: Path, data: Path, folds: str, cache: Path, path: Path, say: Say = print) -> None:
    """Write to `path` what the published `version` and dlib say of the pictures in these folds.

    Raises:
        DataError: the data are missing or empty, or dlib is not installed.
        ModelError: the version does not load.
    """
    wanted = set(parse_folds(folds))
    pictures, _ = load(data)
    at = np.flatnonzero([p.fold in wanted for p in pictures])
    faces = collect(pictures, cache).subset(at)
    teacher = ask(ExportedModel(version), dlib_embeddings, faces, say)
    save(path, teacher, [pictures[i] for i in at])
    say(f"what they say of {len(faces)} faces: {path}")


def ask(
    model: ExportedModel,
    embeddings: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    faces: FaceSet,
    say: Say = print,
) -> Teacher:
    """Ask both about every face; `embeddings` from stored crops `[n, …]` to `[n, dimensions]`."""
    crops = np.stack([frame(crop, model.size_px) for crop in faces.crops])
    mirrored = np.ascontiguousarray(crops[:, :, ::-1])
    answers = flip_averaged(model.answer(crops), model.answer(mirrored))
    say(f"asked {model.path} about {len(faces)} faces")
    seen = embeddings(faces.crops)
    seen = seen - seen.mean(axis=0)
    seen /= np.sqrt(np.square(seen).sum(axis=1).mean())
    sure = np.clip(answers["gender"], 1e-6, 1 - 1e-6)
    own = np.log(sure) - np.log1p(-sure)
    female = 1 / (1 + np.exp(-(own + cross_fitted(seen, faces.female)) / 2))
    return Teacher(answers["age_distribution"], female.astype(np.float32), seen)


def cross_fitted(
    embedding: NDArray[np.float32], female: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Logit of female `[n]` from embeddings `[n, dimensions]`: each half learns from the other."""
    logit = np.zeros(len(female), np.float32)
    half = np.arange(len(female)) % 2 == 0
    for learn in (half, ~half):
        inputs = np.c_[embedding, np.ones(len(female))]
        weights = _logistic(inputs[learn], female[learn])
        logit[~learn] = inputs[~learn] @ weights
    return logit


def _logistic(inputs: NDArray[np.float64], labels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Ridge logistic regression by Newton's method; the last input, the constant, is free."""
    ridge = np.diag([*[_RIDGE] * (inputs.shape[1] - 1), 1e-6])
    weights = np.zeros(inputs.shape[1])
    for _ in range(_NEWTON_STEPS):
        p = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (p - labels) + ridge @ weights
        curvature = (inputs * (p * (1 - p))[:, None]).T @ inputs + ridge
        weights -= np.linalg.solve(curvature, slope)
    return weights


def dlib_embeddings(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """dlib's face embedding of stored crops: `[n, STORE_PX, STORE_PX, 3]` RGB to `[n, 128]`.

    About 0.1 s a face on one core.

    Raises:
        DataError: dlib or its networks are not installed.
    """
    try:
        import dlib
        import face_recognition_models as models
    except ImportError as error:
        raise DataError(
            f"{error.name} is missing: pip install dlib-bin face_recognition_models setuptools"
        ) from None
    network = dlib.face_recognition_model_v1(models.face_recognition_model_location())
    to_chip = _stored_to_chip()
    chips = (
        cv2.warpAffine(crop, to_chip, (_CHIP_PX, _CHIP_PX), flags=cv2.INTER_AREA) for crop in crops
    )
    return np.array([network.compute_face_descriptor(chip) for chip in chips], np.float32)


def _stored_to_chip() -> NDArray[np.float64]:
    """Scale and shift `[2, 3]` that bring the eyes of a stored crop to where dlib wants them."""
    eyes = (TEMPLATE[:2] + STORE_MARGIN) / (1 + 2 * STORE_MARGIN) * STORE_PX
    (left, top), (right, _) = _CHIP_EYES
    scale = (right - left) / (eyes[1, 0] - eyes[0, 0])
    shift = (left - scale * eyes[0, 0], top - scale * eyes[0, 1])
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])


def save(path: Path, teacher: Teacher, pictures: Sequence[Picture]) -> None:
    """Keep the word on these pictures, by the digests of their bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        digest=np.array([p.digest for p in pictures]),
        age=teacher.age.astype(np.float16),
        female=teacher.female,
        embedding=teacher.embedding.astype(np.float16),
    )


def read(path: Path, pictures: Sequence[Picture]) -> Teacher:
    """The word on these pictures, in their order.

    Raises:
        DataError: the file is none of a teacher, or has no word on one of the pictures.
    """
    try:
        with np.load(path, allow_pickle=False) as saved:
            kept = {name: saved[name] for name in ("digest", "age", "female", "embedding")}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a teacher's file ({error}); make one with 'teach'") from None
    position = {digest: i for i, digest in enumerate(kept["digest"].tolist())}
    missing = sum(p.digest not in position for p in pictures)
    if missing:
        raise DataError(f"{path}: has no word on {missing} of the pictures; make it from this data")
    at = np.array([position[p.digest] for p in pictures], np.intp)
    return Teacher(*(kept[name][at].astype(np.float32) for name in ("age", "female", "embedding")))
