from __future__ import annotations

import numpy as np
import pytest

from training.config import LossConfig
from training.data.targets import soft_age_labels
from training.distillation.build_teacher_targets import mirror_average, standardize_scale
from training.distillation.cross_fitted_probe import cross_fit

COUNT = 300


def test_a_face_is_predicted_without_its_own_label() -> None:
    random = np.random.default_rng(2)
    old, female = random.random((2, COUNT)) < 0.5
    embedding = random.normal(0, 1, (COUNT, 12)).astype(np.float32)
    embedding[:, 5] += 8 * female  # gender is predictable; age only from a face's own label
    labels = soft_age_labels(np.where(old, 60, 20).astype(np.float32), LossConfig(), 110)
    every_face = np.ones(COUNT, np.bool_)
    age, chance = cross_fit(embedding, labels, female.astype(np.float32), every_face, parts=2)
    np.testing.assert_allclose(age.sum(axis=1), 1, rtol=1e-4)
    assert np.mean((age[:, 40:].sum(axis=1) > 0.5) == old) < 0.65
    assert np.mean((chance > 0.5) == female) > 0.8


def test_probes_ignore_labels_outside_the_training_mask() -> None:
    random, count = np.random.default_rng(2), 3 * COUNT
    female = random.random(count) < 0.5
    embedding = random.normal(0, 1, (count, 12)).astype(np.float32)
    embedding[:, 5] += 8 * female
    labels = soft_age_labels(np.full(count, 30, np.float32), LossConfig(), 110)
    is_training = np.arange(count) // 2 % 2 == 0  # half of each part
    wrong = np.where(is_training, female, ~female).astype(np.float32)  # all other labels are wrong
    _, chance = cross_fit(embedding, labels, wrong, is_training, parts=2)
    assert np.mean((chance > 0.5) == female) > 0.8


def test_embeddings_are_scaled_to_equal_weight() -> None:
    random = np.random.default_rng(1)
    parts = standardize_scale([random.normal(5, 3, (60, 8)), random.normal(0, 0.01, (60, 2))])
    for part in parts:
        np.testing.assert_allclose(part.mean(axis=0), 0, atol=1e-5)
        assert np.square(part).sum(axis=1).mean() == pytest.approx(0.5, rel=1e-4)


def test_a_face_and_its_mirror_image_have_the_same_mean() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)
    left, right = mirror_average(lambda c: (c[:, :, 0, 0] * 1.0, c[:, :, -1, 0] * 1.0), crops)
    np.testing.assert_array_equal(left, right)
    np.testing.assert_allclose(left, (crops[:, :, 0, 0] / 2.0 + crops[:, :, -1, 0] / 2.0))
