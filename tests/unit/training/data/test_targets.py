from __future__ import annotations

import numpy as np
import pytest

from training.config import TrainConfig
from training.data.face_crops import FaceSet
from training.data.targets import build_training_set, soft_age_labels
from training.distillation.teacher_targets import TeacherTargets

CONFIG = TrainConfig.model_validate({"fit": {"stages": [{"epochs": 1, "size_px": 64}]}})
AGES = np.array([0, 1, 30, 64, 110], np.float32)
FACES = FaceSet(
    np.zeros((5, 8, 8, 3), np.uint8),
    AGES,
    np.array([0, 1, 0, 1, 0], np.float32),
    np.zeros(5, np.int8),
    np.ones(5, np.bool_),
)


def test_a_soft_age_is_a_distribution_around_the_label_wider_for_the_old() -> None:
    soft = soft_age_labels(AGES, CONFIG.loss, max_age=110)
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(soft.argmax(axis=1), AGES)
    assert soft[2] @ np.arange(111) == pytest.approx(30, abs=0.01)
    assert soft[1].max() > soft[2].max() > soft[3].max() > 0.1


def test_without_a_teacher_the_labels_alone_are_the_target() -> None:
    targets = build_training_set(CONFIG, FACES, None, 0.0).targets
    assert set(targets) == {"age", "gender"}
    np.testing.assert_array_equal(targets["age"], soft_age_labels(AGES, CONFIG.loss, 110))
    np.testing.assert_array_equal(targets["gender"], FACES.female)


SAYS = TeacherTargets(
    np.full((5, 111), 1 / 111, np.float32),
    np.full(5, 0.5, np.float32),
    np.ones((5, 3), np.float32),
)


def test_a_teachers_word_counts_for_its_share() -> None:
    targets = build_training_set(CONFIG, FACES, SAYS, 0.25).targets
    np.testing.assert_allclose(targets["gender"], [0.125, 0.875, 0.125, 0.875, 0.125])
    np.testing.assert_allclose(targets["age"].sum(axis=1), 1, rtol=1e-5)
    assert targets["age"].min() == pytest.approx(0.25 / 111, rel=1e-3)
    assert targets["embedding"].shape == (5, 3)


def test_of_children_a_teacher_may_have_less_to_say() -> None:
    config = CONFIG.model_copy(update={"teacher_ages": (1.0, 59.0)})
    targets = build_training_set(config, FACES, SAYS, 0.5).targets
    np.testing.assert_allclose(targets["gender"], [0, 1, 0.125, 0.75, 0.25])
    np.testing.assert_allclose(targets["age"].sum(axis=1), 1, rtol=1e-5)
