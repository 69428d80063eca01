"""Motion gate: noise is not motion, a new face is."""

import numpy as np
import pytest
from facestream.capture.faces.motion_gate import MAX_EMPTY_SKIP_S, MAX_SKIP_S, MotionGate
from numpy.typing import NDArray


def scene(seed: int, noise: float = 6.0) -> NDArray[np.uint8]:
    """Return a wall with a gradient, as a noisy sensor records it."""
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
    luma = scene(1)
    luma[300 : 300 + side, 500 : 500 + side] = 190
    assert not gate.is_unchanged(luma, 0.2)
    assert gate.is_unchanged(luma, 0.4)


def test_a_slow_change_adds_up() -> None:
    gate = MotionGate()
    results = []
    for i in range(5):
        luma = np.full((720, 1280), 100 + 2 * i, np.uint8)
        results.append(gate.is_unchanged(luma, i * 0.2))
    assert results == [False, True, True, False, True]


def test_an_unchanged_frame_is_not_skipped_without_limit() -> None:
    gate = MotionGate()
    assert not gate.is_unchanged(scene(0), 10.0)
    assert gate.is_unchanged(scene(1), 10.0 + MAX_SKIP_S * 0.9)
    assert not gate.is_unchanged(scene(2), 10.0 + MAX_SKIP_S)


def test_an_unchanged_frame_without_faces_is_skipped_for_longer() -> None:
    gate = MotionGate()
    assert not gate.is_unchanged(scene(0), 10.0, is_empty=True)
    assert gate.is_unchanged(scene(1), 10.0 + MAX_EMPTY_SKIP_S * 0.9, is_empty=True)
    assert not gate.is_unchanged(scene(1), 10.0 + MAX_SKIP_S * 1.1, is_empty=False)
    assert not gate.is_unchanged(scene(2), 10.0 + 2 * MAX_EMPTY_SKIP_S, is_empty=True)


def test_after_a_clock_step_backward_the_frame_counts_as_changed() -> None:
    gate = MotionGate()
    gate.is_unchanged(scene(0), 10.0)
    assert not gate.is_unchanged(scene(1), 5.0)


def test_a_frame_narrower_than_the_blocks_is_accepted() -> None:
    gate = MotionGate()
    assert not gate.is_unchanged(np.zeros((16, 16), np.uint8), 0.0)
    assert gate.is_unchanged(np.zeros((16, 16), np.uint8), 0.1)
