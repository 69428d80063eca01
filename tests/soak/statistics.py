"""Figures of long runs: slopes, shares, percentiles. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def slope_per_hour(at_s: Sequence[float], values: Sequence[float]) -> float:
    """Growth of a series, by the median of the slopes between all pairs (Theil 1950).

    One jump or one outlier does not move it, as it would a least-squares line.

    Args:
        at_s: seconds, rising; at least two.
    """
    at, value = np.asarray(at_s, np.float64), np.asarray(values, np.float64)
    i, j = np.triu_indices(len(at), 1)
    return float(np.median((value[j] - value[i]) / (at[j] - at[i]))) * 3600


def fairness(shares: Sequence[float]) -> float:
    """Jain's index of so many shares: 1 where all are equal, 1/n where one has everything."""
    share = np.asarray(shares, np.float64)
    squares = float((share**2).sum())
    return float(share.sum()) ** 2 / (len(share) * squares) if squares else 1.0


def percentiles(values: Sequence[float], *points: int) -> dict[str, float | None]:
    """`p50` …; None where there are no values."""
    return {f"p{p}": float(np.percentile(values, p)) if len(values) else None for p in points}


def added(now: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """What counters grew by; one that is lower than before began anew with its process."""
    grown = {k: v - before.get(k, 0.0) if v >= before.get(k, 0.0) else v for k, v in now.items()}
    return {k: v for k, v in grown.items() if v}
