"""Balanced sampling of faces for an epoch, over collections and ages. NumPy, no I/O.

For training on collections whose ages are ranges. Each collection gets its share of the epoch.
Inside a collection a face has the weight (1 / frequency of its age)^power / (1 + width / 10 years).
The width is that of its age range: a wide range carries little information.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from facestream.common.core.errors import SettingsError
from numpy.typing import NDArray

_SMOOTH_YEARS = 9  # window over which the frequency of an age is counted
_WIDTH_YEARS = 10.0
_MAX_RATIO = 8.0  # upper limit of a face's weight, relative to the mean of its collection


def sampling_weights(
    collection: NDArray[np.str_],
    age_low: NDArray[np.floating],
    age_high: NDArray[np.floating],
    shares: Mapping[str, float],
    power: float,
) -> NDArray[np.float64]:
    """Return the probability of each face to be drawn, `[n]`, summing to 1.

    Args:
        collection: name of each face's collection.
        age_low, age_high: inclusive range in years.
        shares: of an epoch by collection; need not sum to 1.
        power: 0 leaves the ages as they are, 1 makes all ages equally frequent.

    Raises:
        SettingsError: a collection has no positive share.
    """
    weights = np.zeros(len(collection), np.float64)
    for name in np.unique(collection):
        share = shares.get(str(name), 0.0)
        if share <= 0:
            raise SettingsError(f"collection {name}: give it a share of an epoch above 0")
        mine = collection == name
        own = _balanced(age_low[mine], age_high[mine], power)
        weights[mine] = share * own / own.sum()
    return weights / weights.sum()


def draw(
    weights: NDArray[np.float64], count: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Draw the positions of `count` faces in random order, by systematic resampling.

    A face of probability w is drawn ⌊count·w⌋ or ⌈count·w⌉ times: J. Carpenter, P. Clifford, P.
    Fearnhead, "Improved particle filter for nonlinear problems", IEE Proc. 146(1), 1999.
    """
    order = random.permutation(len(weights))
    cumulative = np.cumsum(weights[order])
    points = (np.arange(count) + random.random()) / count * cumulative[-1]
    chosen = order[np.minimum(np.searchsorted(cumulative, points, "right"), len(weights) - 1)]
    return random.permutation(chosen).astype(np.int64)


def _balanced(
    low: NDArray[np.floating], high: NDArray[np.floating], power: float
) -> NDArray[np.float64]:
    """Return the weight of each face of one collection, not normalized."""
    first, last = low.astype(int), high.astype(int)
    edges = np.zeros(int(last.max()) + 2)
    width = last - first + 1
    np.add.at(edges, first, 1 / width)  # each range is spread evenly over its years
    np.add.at(edges, last + 1, -1 / width)
    counts = np.cumsum(edges)[:-1]
    window = min(_SMOOTH_YEARS, len(counts))
    smooth = np.convolve(counts, np.ones(window) / window, mode="same") + 1e-6
    cumulative = np.concatenate([[0.0], np.cumsum(smooth)])
    frequency = (cumulative[last + 1] - cumulative[first]) / width
    weights = frequency**-power
    weights = np.minimum(weights, _MAX_RATIO * weights.mean())
    return weights / (1 + (high - low) / _WIDTH_YEARS)
