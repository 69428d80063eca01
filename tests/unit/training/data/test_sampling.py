"""Sampling balanced over collections and ages."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.common.core.errors import SettingsError

from training.data.sampling import draw, sampling_weights


def faces(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    collection = np.array(["a"] * 900 + ["b"] * 100)
    low = np.concatenate([np.full(800, 25), np.full(100, 70), random.integers(40, 60, 100)])
    return collection, low.astype(np.float32), low.astype(np.float32)


def test_collections_get_their_shares() -> None:
    collection, low, high = faces()
    weights = sampling_weights(collection, low, high, {"a": 3, "b": 1}, 0.5)
    assert weights.sum() == pytest.approx(1)
    assert weights[collection == "a"].sum() == pytest.approx(0.75)


def test_rare_ages_count_more_and_power_zero_leaves_them() -> None:
    collection, low, high = faces()
    weights = sampling_weights(collection, low, high, {"a": 1, "b": 1}, 0.5)
    assert weights[850] == pytest.approx(weights[0] * np.sqrt(8), rel=1e-3)
    flat = sampling_weights(collection, low, high, {"a": 1, "b": 1}, 0.0)
    assert flat[850] == pytest.approx(flat[0])


def test_wide_ranges_count_less() -> None:
    low, high = np.array([40.0, 40.0]), np.array([41.0, 71.0])
    weights = sampling_weights(np.array(["a", "a"]), low, high, {"a": 1}, 0.0)
    assert weights[1] == pytest.approx(weights[0] * 1.1 / 4.1, rel=1e-3)


def test_a_collection_without_a_share_is_an_error() -> None:
    collection, low, high = faces()
    with pytest.raises(SettingsError, match="collection b"):
        sampling_weights(collection, low, high, {"a": 1}, 0.5)


def test_draws_are_as_often_as_their_weight_says() -> None:
    weights = np.array([0.5, 0.25, 0.125, 0.125])
    counts = np.bincount(draw(weights, 80, np.random.default_rng(0)), minlength=4)
    assert counts.tolist() == [40, 20, 10, 10]


def test_draws_are_a_function_of_the_seed() -> None:
    weights = np.random.default_rng(1).dirichlet(np.ones(50))
    first, again = (draw(weights, 30, np.random.default_rng(7)) for _ in range(2))
    assert (first == again).all()
    assert abs(np.bincount(first, minlength=50) - 30 * weights).max() < 1
