"""Build training targets: smoothed ground-truth labels mixed with teacher soft labels.

Soft age labels: B.-B. Gao et al., "Deep label distribution learning with label ambiguity", IEEE
TIP 26(6), 2017. Distillation: G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural
network", 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.config import LossConfig, TrainConfig
from training.data.face_crops import FaceSet
from training.distillation.teacher_targets import TeacherTargets

EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Faces and their targets, in one order.

    targets: by output, float32: `age` `[n, max_age + 1]`, each row a distribution over years;
    `gender` `[n]`, probability of female; with a teacher also `embedding` `[n, dimensions]`.
    """

    faces: FaceSet
    targets: dict[str, NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.faces)


def build_training_set(
    config: TrainConfig, faces: FaceSet, teacher: TeacherTargets | None, teacher_share: float
) -> TrainingSet:
    """Mix the labels of the faces with the teacher's soft labels at weight `teacher_share`, 0–1.

    `config.teacher_ages` lowers the share for children: a teacher trained on adults is inaccurate
    there.
    """
    age = soft_age_labels(faces.age, config.loss, config.network.max_age)
    gender = faces.female.astype(np.float32)
    if teacher is not None:
        share = np.full(len(faces), teacher_share, np.float32)
        if config.teacher_ages is not None:
            share *= np.interp(faces.age, config.teacher_ages, (0, 1)).astype(np.float32)
        age = (1 - share[:, None]) * age + share[:, None] * teacher.age
        gender = (1 - share) * gender + share * teacher.female
    both: dict[str, NDArray[np.float32]] = {
        "age": age.astype(np.float32),
        "gender": gender.astype(np.float32),
    }
    targets: dict[str, NDArray[np.float32]] = {head: both[head] for head in config.network.heads}
    if teacher is not None:
        targets[EMBEDDING] = teacher.embedding
    return TrainingSet(faces, targets)


def soft_age_labels(
    age: NDArray[np.float32], config: LossConfig, max_age: int
) -> NDArray[np.float32]:
    """Return a Gaussian around each age: `[n]` years to `[n, max_age + 1]`; rows sum to 1.

    It widens with age: labels and faces of old people are less certain than those of children.
    """
    years = np.arange(max_age + 1, dtype=np.float32)
    middle = np.clip(age, 0, max_age)[:, None]
    sigma = np.minimum(
        config.label_sigma_base + config.label_sigma_per_year * middle, config.label_sigma_max
    )
    weights = np.exp(-0.5 * np.square((years - middle) / sigma))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def age_weights(age: NDArray[np.float32], power: float) -> NDArray[np.float32]:
    """Return weights of mean 1: (1 / frequency of the age, smoothed over ±2 years) to `power`."""
    counts = np.bincount(age.astype(int), minlength=int(age.max()) + 5).astype(np.float64)
    smooth = np.convolve(counts, np.ones(5) / 5, mode="same") + 1
    weights = smooth[age.astype(int)] ** -power
    weights = np.clip(weights / weights.mean(), 0.5, 3.0)
    return (weights / weights.mean()).astype(np.float32)
