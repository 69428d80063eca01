"""A teacher's word on the faces to learn from, as it is kept in a file."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from facestream.common.core.errors import DataError
from numpy.typing import NDArray

from training.data.utkface import LabelledImage, fold_of


@dataclass(frozen=True, slots=True)
class Teacher:
    """Its word on each face of a `FaceSet`, in that order, float32.

    age: `[n, bins]`, a distribution over years; female: `[n]`, probability; embedding:
    `[n, dimensions]`, mean 0 and mean square length 1 over all the faces that were asked about.
    """

    age: NDArray[np.float32]
    female: NDArray[np.float32]
    embedding: NDArray[np.float32]


def save(path: Path, teacher: Teacher, pictures: Sequence[LabelledImage]) -> None:
    """Keep the word on these pictures, by the digests of their bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:  # NumPy would give a mere name another ending
        np.savez_compressed(
            file,
            digest=np.array([p.digest for p in pictures]),
            age=teacher.age.astype(np.float16),
            female=teacher.female,
            embedding=teacher.embedding.astype(np.float16),
        )


def read(path: Path, pictures: Sequence[LabelledImage], folds: Collection[int]) -> Teacher:
    """The word on these pictures, in their order.

    Args:
        folds: that are learnt from; a teacher of others too knows the labels of what is to judge.

    Raises:
        DataError: the file is none of a teacher, has no word on one of the pictures, or one on
            pictures of other folds.
    """
    try:
        with np.load(path, allow_pickle=False) as saved:
            kept = {name: saved[name] for name in ("digest", "age", "female", "embedding")}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a teacher's file ({error}); make one with 'teach'") from None
    position = {digest: i for i, digest in enumerate(kept["digest"].tolist())}
    others = sorted({fold_of(digest) for digest in position} - set(folds))
    if others:
        raise DataError(f"{path}: has learnt from fold {others[0]} too; 'teach' it with --folds")
    missing = sum(p.digest not in position for p in pictures)
    if missing:
        raise DataError(f"{path}: has no word on {missing} of the pictures; make it from this data")
    at = np.array([position[p.digest] for p in pictures], np.intp)
    return Teacher(*(kept[name][at].astype(np.float32) for name in ("age", "female", "embedding")))
