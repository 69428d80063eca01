"""Asks those who know more about each face: soft labels and embeddings, asked once and kept.

Networks that have learnt from millions of faces of other collections look at every face, and all
but dlib's at its mirror image (`embeddings.py`). What they see is one thing that the next version
must foretell; the other is the age and gender that can be read from it (`reader.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.config import VALIDATION_SHARE, LossConfig, NetworkConfig
from training.data.face_crops import FaceSet, collect
from training.data.targets import soft_ages
from training.data.utkface import load, parse_folds
from training.distillation.cross_fitted_probe import cross_fit
from training.distillation.teacher_networks import FaceRes, dlib_embedding, predict_age_gender
from training.distillation.teacher_targets import Teacher, save

Say = Callable[[str], None]


def teach(faceres: Path, data: Path, folds: str, cache: Path, path: Path, say: Say = print) -> None:
    """Write to `path` what others say of these folds' pictures; FaceRes lies in a folder.

    Readers learn nothing from the labels of the share that `train` will hold out of these folds.

    Raises:
        DataError: the data are missing or empty, FaceRes is not there or a package is missing.
    """
    wanted = set(parse_folds(folds))
    see_much = FaceRes(faceres)
    pictures, _ = load(data)
    at = np.flatnonzero([p.fold in wanted for p in pictures])
    faces = collect(pictures, cache).subset(at)
    everything, of_age_and_gender = mirror_average(see_much, faces.crops)
    say(f"FaceRes has looked at {len(faces)} faces")
    said = mirror_average(predict_age_gender, faces.crops)
    say("age-and-gender has, too")
    embeddings = [everything, of_age_and_gender, dlib_embedding(faces.crops)]
    say("and so has dlib")
    # What is held out judges and calibrates the student, so nothing of it may be taught.
    held_out = np.array([pictures[i].share < VALIDATION_SHARE for i in at])
    teacher = fit_teacher_labels(embeddings, said, faces, ~held_out)
    save(path, teacher, [pictures[i] for i in at])
    say(f"what can be read from it: {path}")


def mirror_average(
    see: Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], ...]], crops: NDArray[np.uint8]
) -> list[NDArray[np.float32]]:
    """The mean of what is seen in each crop `[n, height, width, 3]` and in its mirror image."""
    mirrored = crops[:, :, ::-1]
    both = zip(see(crops), see(mirrored), strict=True)
    return [np.mean(views, axis=0, dtype=np.float32) for views in both]


def fit_teacher_labels(
    embeddings: Sequence[NDArray[np.float32]],
    said: Sequence[NDArray[np.float32]],
    faces: FaceSet,
    teaches: NDArray[np.bool_],
) -> Teacher:
    """The word on the faces that have these embeddings, each `[n, dimensions]`.

    The embeddings count alike, however long their vectors are. What others `said` outright,
    each `[n, answers]`, helps to read age and gender, but is nothing that can be seen. Readers
    learn from the labels of those faces alone that `teaches`, `[n]`, names.
    """
    labels = soft_ages(faces.age, LossConfig(), NetworkConfig().max_age)
    features = np.concatenate([*embeddings, *said], axis=1)
    age, female = cross_fit(features, labels, faces.female, teaches)
    return Teacher(age, female, np.concatenate(standardize_scale(embeddings), axis=1))


def standardize_scale(embeddings: Sequence[NDArray[np.floating]]) -> list[NDArray[np.float32]]:
    """Each centred, and of a size that makes the mean square length of all together 1."""
    centred = [embedding - embedding.mean(axis=0) for embedding in embeddings]
    return [
        (c / np.sqrt(len(embeddings) * np.square(c).sum(axis=1).mean())).astype(np.float32)
        for c in centred
    ]
