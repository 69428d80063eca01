from __future__ import annotations

import numpy as np
import tensorflow as tf

from training.data.batches import mixup


def test_faces_blend_with_the_one_as_far_from_the_other_end_and_so_does_what_to_answer() -> None:
    faces = np.full((4, 2, 2, 3), 0, np.uint8)
    faces[3] = 100
    targets = {"gender": np.array([1, 0, 0, 0], np.float32)}
    shares = tf.constant([0.75, 1.0, 0.5, 0.0])
    mixed, answers = mixup((tf.constant(faces), targets), shares)
    assert mixed.dtype == tf.uint8
    assert mixed[:, 0, 0, 0].numpy().tolist() == [25, 0, 0, 0]
    assert answers["gender"].numpy().tolist() == [0.75, 0, 0, 1]
