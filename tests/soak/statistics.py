"""Statistics of long runs: slopes, fairness, percentiles. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def slope_per_hour(at_s: Sequence[float], values: Sequence[float]) -> float:
    """Return the growth of a series: the median slope between all pairs (Theil-Sen estimator).

    A single jump or outlier does not affect it, unlike least squares.

    Args:
        at_s: seconds, rising; at least two.
    """
    at, value = np.asarray(at_s, np.float64), np.asarray(values, np.float64)
    i, j = np.triu_indices(len(at), 1)
    return float(np.median((value[j] - value[i]) / (at[j] - at[i]))) * 3600


def fairness(shares: Sequence[float]) -> float:
    """Return Jain's fairness index: 1 if all shares are equal, 1/n if one has everything."""
    share = np.asarray(shares, np.float64)
    squares = float((share**2).sum())
    return float(share.sum()) ** 2 / (len(share) * squares) if squares else 1.0


def percentiles(values: Sequence[float], *points: int) -> dict[str, float | None]:
    """Return the percentiles as `p50` …; None without values."""
    return {f"p{p}": float(np.percentile(values, p)) if len(values) else None for p in points}


def counter_increase(now: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """Return the nonzero increase of counters; a lower value means that its process restarted."""
    grown = {k: v - before.get(k, 0.0) if v >= before.get(k, 0.0) else v for k, v in now.items()}
    return {k: v for k, v in grown.items() if v}
