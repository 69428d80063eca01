"""Metrics for collections whose ages are exact or ranges. NumPy, no I/O.

For models that are trained on or evaluated with such collections (`training.data.labels_csv`).

Ages in years, probabilities and shares 0–1. The predicted age is a median on a continuous scale on
which the year i is [i − ½, i + ½], so it is rounded before it is compared with a range of years.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from facestream.common.vision.age_distribution import central_interval
from facestream.common.vision.exported_model import Predictions
from numpy.typing import NDArray

from training.evaluation.metrics import ADULT_AGE

RANGE_BANDS = (
    (0, 2),
    (3, 9),
    (10, 19),
    (20, 29),
    (30, 39),
    (40, 49),
    (50, 59),
    (60, 69),
    (70, 199),
)
_SPREAD = 21  # points over which an age is spread evenly in its range
_LAST_YEAR = 85  # an open range ends here when an age is spread over it


@dataclass(frozen=True, slots=True)
class RangeLabels:
    """Labels of faces in one order: inclusive ranges in years, female 0 or 1, group name."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    female: NDArray[np.float32]
    group: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.low)

    @property
    def middle(self) -> NDArray[np.float32]:
        """Return the middle of each range in years; an open range ends at 85."""
        last = np.maximum(self.low, np.minimum(self.high, np.float32(_LAST_YEAR)))
        middle: NDArray[np.float32] = ((self.low + last) / 2).astype(np.float32)
        return middle

    def subset(self, keep: NDArray[Any]) -> RangeLabels:
        """Return the labels at these positions or where this mask is true."""
        return RangeLabels(*(getattr(self, n)[keep] for n in self.__dataclass_fields__))


def band_of(age: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return the index of the band of `RANGE_BANDS` that contains each age."""
    starts = np.array([first for first, _ in RANGE_BANDS])
    return np.searchsorted(starts, np.round(age), "right") - 1


def compute_range_metrics(labels: RangeLabels, predictions: Predictions) -> dict[str, float | int]:
    """Return every metric for which the model has a prediction.

    age_mae, age_bias: of faces with an exact age; outside_mae: mean distance from the labeled
    range; exact_bin, within_one_bin: share of faces of a labeled band whose predicted band is the
    same, or at most its neighbor; interval_coverage: share of ages inside the 80 % interval, where
    an age known as a range is spread evenly over it; gender_accuracy, also from 15 years on.
    """
    found: dict[str, float | int] = {"n": len(labels)}
    if len(labels) == 0:
        return found
    if "age" in predictions:
        age = predictions["age"].astype(np.float64)
        exact = labels.low == labels.high
        if exact.any():
            error = age[exact] - labels.low[exact]
            found["age_mae"] = float(np.abs(error).mean())
            found["age_bias"] = float(error.mean())
        whole = np.round(age)
        outside = np.maximum(np.maximum(labels.low - whole, whole - labels.high), 0)
        found["outside_mae"] = float(outside.mean())
        found["middle_bias"] = float((age - labels.middle).mean())
        banded = _is_band(labels)
        if banded.any():
            away = np.abs(band_of(age) - band_of(labels.low))[banded]
            found["exact_bin"] = float((away == 0).mean())
            found["within_one_bin"] = float((away <= 1).mean())
    if "age_distribution" in predictions:
        low, high = central_interval(predictions["age_distribution"])
        found["interval_coverage"] = float(coverage(labels, low, high).mean())
        found["interval_width"] = float((high - low).mean())
    if "gender" in predictions:
        right = (predictions["gender"] > 0.5) == (labels.female > 0.5)
        found["gender_accuracy"] = float(right.mean())
        grown = labels.low >= ADULT_AGE
        if grown.any():
            found["gender_accuracy_from_15"] = float(right[grown].mean())
    return found


def coverage(
    labels: RangeLabels, low: NDArray[np.floating], high: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the share of each age inside [low, high], `[n]`: 0 or 1 where the age is exact.

    An age known as a range is spread evenly over [range low − ½, range high + ½].
    """
    exact = labels.low == labels.high
    half = np.where(exact, 0.0, 0.5)
    last = np.maximum(labels.low, np.minimum(labels.high, _LAST_YEAR))
    start, end = labels.low - half, np.where(exact, labels.high, last) + half
    points = start + (end - start) * ((np.arange(_SPREAD)[:, None] + 0.5) / _SPREAD)
    share: NDArray[np.float64] = ((low <= points) & (points <= high)).mean(axis=0)
    return share


def range_metrics_by_group(
    labels: RangeLabels, predictions: Predictions
) -> dict[str, dict[str, dict[str, float | int]]]:
    """Return `compute_range_metrics` by age band, gender and group.

    A range over more than one band is in no age band.
    """
    band = np.where(band_of(labels.low) == band_of(labels.middle), band_of(labels.middle), -1)
    masks: dict[str, dict[str, NDArray[np.bool_]]] = {
        "age": {
            (f"{first}–{last}" if last < 199 else f"{first}+"): band == i
            for i, (first, last) in enumerate(RANGE_BANDS)
        },
        "gender": {"male": labels.female < 0.5, "female": labels.female > 0.5},
        "group": {str(name): labels.group == name for name in np.unique(labels.group) if name},
    }
    return {
        kind: {
            name: compute_range_metrics(
                labels.subset(mask), {k: v[mask] for k, v in predictions.items()}
            )
            for name, mask in members.items()
            if mask.any()
        }
        for kind, members in masks.items()
    }


def _is_band(labels: RangeLabels) -> NDArray[np.bool_]:
    """Return a mask of the faces whose range is a whole band of `RANGE_BANDS`."""
    bands = np.array([(first, min(last, 100)) for first, last in RANGE_BANDS])
    pairs = np.stack([labels.low, np.minimum(labels.high, 100)], axis=1)
    mask: NDArray[np.bool_] = (pairs[:, None] == bands[None]).all(axis=2).any(axis=1)
    return mask
