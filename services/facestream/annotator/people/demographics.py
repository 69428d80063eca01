"""Demographic groups: age bands and genders by which people are charted and counted. No I/O."""

from __future__ import annotations

from itertools import pairwise

from facestream.common.vision.displayed_estimate import DisplayedEstimate

UNKNOWN = "unknown"
AGE_BAND_EDGES = (0, 13, 20, 30, 40, 50, 60, 70)  # lower edges in years; the last band is open
AGE_BANDS = (
    *(f"{low}-{high - 1}" for low, high in pairwise(AGE_BAND_EDGES)),
    f"{AGE_BAND_EDGES[-1]}+",
    UNKNOWN,
)
GENDERS = ("female", "male", UNKNOWN)


def age_band_index(age: float) -> int:
    """Return the index in `AGE_BAND_EDGES` of the band that contains this age in years."""
    return max(i for i, edge in enumerate(AGE_BAND_EDGES) if age >= edge)


def age_band(shown: DisplayedEstimate) -> str:
    """Return the age band as a label such as `30-39`, or `unknown` without an age."""
    return UNKNOWN if shown.age is None else AGE_BANDS[age_band_index(shown.age)]


def gender_label(shown: DisplayedEstimate) -> str:
    """Return `female`, `male`, or `unknown` without a gender probability."""
    if shown.female_probability is None:
        return UNKNOWN
    return "female" if shown.female_probability >= 0.5 else "male"
