"""Teacher targets of the training faces and the file that stores them."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from facestream.common.core.errors import DataError
from numpy.typing import NDArray

from training.data.utkface import LabeledImage, fold_of


@dataclass(frozen=True, slots=True)
class TeacherTargets:
    """Soft labels and embeddings of each face of a `FaceSet`, in its order, float32.

    age: `[n, bins]`, a distribution over years; female: `[n]`, probability; embedding:
    `[n, dimensions]`, mean 0 and mean square length 1 over all faces of the file.
    """

    age: NDArray[np.float32]
    female: NDArray[np.float32]
    embedding: NDArray[np.float32]


def save(path: Path, teacher: TeacherTargets, images: Sequence[LabeledImage]) -> None:
    """Store the targets of these images, keyed by the digests of their bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:  # given a name, NumPy appends .npz
        np.savez_compressed(
            file,
            digest=np.array([p.digest for p in images]),
            age=teacher.age.astype(np.float16),
            female=teacher.female,
            embedding=teacher.embedding.astype(np.float16),
        )


def read(path: Path, images: Sequence[LabeledImage], folds: Collection[int]) -> TeacherTargets:
    """Read the targets of these images, in their order.

    Args:
        path: file written by `distill-targets`.
        images: images to find in it.
        folds: training folds; a teacher trained on other folds leaks their labels.

    Raises:
        DataError: the file holds no targets, lacks an image, or holds other folds.
    """
    try:
        with np.load(path, allow_pickle=False) as saved:
            stored = {name: saved[name] for name in ("digest", "age", "female", "embedding")}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: no teacher targets ({error}); run distill-targets") from None
    position = {digest: i for i, digest in enumerate(stored["digest"].tolist())}
    others = sorted({fold_of(digest) for digest in position} - set(folds))
    if others:
        raise DataError(
            f"{path}: includes fold {others[0]}, which is not trained on; "
            "run 'distill-targets' with --folds"
        )
    missing = sum(p.digest not in position for p in images)
    if missing:
        raise DataError(
            f"{path}: lacks {missing} of the images; run 'distill-targets' on this data"
        )
    rows = np.array([position[p.digest] for p in images], np.intp)
    return TeacherTargets(
        *(stored[name][rows].astype(np.float32) for name in ("age", "female", "embedding"))
    )
