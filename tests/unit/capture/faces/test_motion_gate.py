"""Still pictures are told from those with something new."""

import numpy as np
import pytest
from facestream.capture.faces.motion_gate import MAX_EMPTY_S, MAX_STILL_S, MotionGate
from numpy.typing import NDArray


def scene(seed: int, noise: float = 6.0) -> NDArray[np.uint8]:
    """A wall with a pattern, seen by a noisy sensor."""
    across = np.linspace(60, 190, 1280)[None].repeat(720, 0)
    field = np.random.default_rng(seed).normal(0, noise, across.shape)
    return np.clip(across + field, 0, 255).astype(np.uint8)


def test_noise_is_no_motion() -> None:
    gate = MotionGate()
    assert not gate.is_unchanged(scene(0), 0.0)
    assert all(gate.is_unchanged(scene(i), i * 0.2) for i in range(1, 5))


@pytest.mark.parametrize("side", [24, 60])
def test_a_small_face_that_appears_is_motion(side: int) -> None:
    gate = MotionGate()
    gate.is_unchanged(scene(0), 0.0)
    picture = scene(1)
    picture[300 : 300 + side, 500 : 500 + side] = 190
    assert not gate.is_unchanged(picture, 0.2)
    assert gate.is_unchanged(picture, 0.4)


def test_a_slow_change_adds_up() -> None:
    gate = MotionGate()
    answers = []
    for i in range(5):
        picture = np.full((720, 1280), 100 + 2 * i, np.uint8)
        answers.append(gate.is_unchanged(picture, i * 0.2))
    assert answers == [False, True, True, False, True]


def test_even_a_still_picture_is_searched_now_and_then() -> None:
    gate = MotionGate()
    assert not gate.is_unchanged(scene(0), 10.0)
    assert gate.is_unchanged(scene(1), 10.0 + MAX_STILL_S * 0.9)
    assert not gate.is_unchanged(scene(2), 10.0 + MAX_STILL_S)


def test_a_still_picture_without_faces_is_searched_more_rarely() -> None:
    gate = MotionGate()
    assert not gate.is_unchanged(scene(0), 10.0, is_empty=True)
    assert gate.is_unchanged(scene(1), 10.0 + MAX_EMPTY_S * 0.9, is_empty=True)
    assert not gate.is_unchanged(scene(1), 10.0 + MAX_STILL_S * 1.1, is_empty=False)
    assert not gate.is_unchanged(scene(2), 10.0 + 2 * MAX_EMPTY_S, is_empty=True)


def test_a_clock_that_steps_back_means_a_search() -> None:
    gate = MotionGate()
    gate.is_unchanged(scene(0), 10.0)
    assert not gate.is_unchanged(scene(1), 5.0)


def test_a_picture_narrower_than_the_blocks_is_taken() -> None:
    gate = MotionGate()
    assert not gate.is_unchanged(np.zeros((16, 16), np.uint8), 0.0)
    assert gate.is_unchanged(np.zeros((16, 16), np.uint8), 0.1)
