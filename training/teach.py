"""Asks those who know more about each face: soft labels and embeddings, asked once and kept.

Two networks that have learnt from millions of faces of other collections look at every face
(`embeddings.py`). What they see is one thing that the next version must foretell; the other is the
age and gender that can be read from it (`reader.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.config import LossConfig, NetworkConfig
from training.dataset import load, parse_folds
from training.embeddings import FaceRes, dlib_embedding
from training.faces import FaceSet, collect
from training.reader import cross_fitted
from training.targets import soft_ages
from training.teacher import Teacher, save

Say = Callable[[str], None]


def teach(faceres: Path, data: Path, folds: str, cache: Path, path: Path, say: Say = print) -> None:
    """Write to `path` what FaceRes, which lies in a folder, and dlib say of these folds' pictures.

    Raises:
        DataError: the data are missing or empty, FaceRes is not there or dlib is not installed.
    """
    wanted = set(parse_folds(folds))
    see_much = FaceRes(faceres)
    pictures, _ = load(data)
    at = np.flatnonzero([p.fold in wanted for p in pictures])
    faces = collect(pictures, cache).subset(at)
    everything, of_age_and_gender = see_much(faces.crops)
    say(f"FaceRes has looked at {len(faces)} faces")
    embeddings = [everything, of_age_and_gender, dlib_embedding(faces.crops)]
    say("dlib has, too")
    teacher = listen(embeddings, faces)
    save(path, teacher, [pictures[i] for i in at])
    say(f"what can be read from it: {path}")


def listen(embeddings: Sequence[NDArray[np.float32]], faces: FaceSet) -> Teacher:
    """The word on the faces that have these embeddings, each `[n, dimensions]`.

    All of them count alike, however long their vectors are.
    """
    labels = soft_ages(faces.age, LossConfig(), NetworkConfig().max_age)
    age, female = cross_fitted(np.concatenate(embeddings, axis=1), labels, faces.female)
    return Teacher(age, female, np.concatenate(alike(embeddings), axis=1))


def alike(embeddings: Sequence[NDArray[np.floating]]) -> list[NDArray[np.float32]]:
    """Each centred, and of a size that makes the mean square length of all together 1."""
    centred = [embedding - embedding.mean(axis=0) for embedding in embeddings]
    return [
        (c / np.sqrt(len(embeddings) * np.square(c).sum(axis=1).mean())).astype(np.float32)
        for c in centred
    ]
