from __future__ import annotations

import numpy as np
import tensorflow as tf

from training.data.batches import mixup


def test_mixup_mixes_crops_and_targets_with_the_reversed_batch() -> None:
    faces = np.full((4, 2, 2, 3), 0, np.uint8)
    faces[3] = 100
    targets = {"gender": np.array([1, 0, 0, 0], np.float32)}
    shares = tf.constant([0.75, 1.0, 0.5, 0.0])
    mixed, mixed_targets = mixup((tf.constant(faces), targets), shares)
    assert mixed.dtype == tf.uint8
    assert mixed[:, 0, 0, 0].numpy().tolist() == [25, 0, 0, 0]
    assert mixed_targets["gender"].numpy().tolist() == [0.75, 0, 0, 1]
