"""The groups that people are counted in: age bands and genders, by name. Pure."""

from __future__ import annotations

from itertools import pairwise

from facestream.annotator.people.attribute_fusion import DisplayedEstimate
from facestream.annotator.people.recent_history import AGE_BAND_EDGES, band_of

UNKNOWN = "unknown"
AGE_BANDS = (
    *(f"{low}-{high - 1}" for low, high in pairwise(AGE_BAND_EDGES)),
    f"{AGE_BAND_EDGES[-1]}+",
    UNKNOWN,
)
GENDERS = ("female", "male", UNKNOWN)


def age_band(shown: DisplayedEstimate) -> str:
    """`30-39`; `unknown` where the estimate is not sure."""
    return UNKNOWN if shown.age is None else AGE_BANDS[band_of(shown.age)]


def gender_label(shown: DisplayedEstimate) -> str:
    """`female`, `male` or `unknown`."""
    if shown.female is None:
        return UNKNOWN
    return "female" if shown.female >= 0.5 else "male"
