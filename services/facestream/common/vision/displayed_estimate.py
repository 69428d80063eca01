"""Age and gender as they may be displayed, and the thresholds an estimate must pass first.

The live view, the counts and the annotated copies of `facestream predict` share these types.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DisplayThresholds:
    """Confidence that an estimate needs before it is displayed.

    Attributes:
        min_evidence: sum of the crop qualities (0-1 each) behind the estimate.
        max_age_interval_years: width of the 80 % interval of the age.
        min_gender_probability: probability of the more probable gender.
    """

    min_evidence: float = 0.4
    max_age_interval_years: float = 30.0
    min_gender_probability: float = 0.8


@dataclass(frozen=True)
class DisplayedEstimate:
    """Displayable estimate of one track or visit; None where it is below a threshold.

    Attributes:
        age: median in years.
        age_low: lower end of the 80 % interval in years.
        age_high: upper end of the 80 % interval in years.
        female_probability: probability of female, 0-1.
        predictions: number of predictions behind the estimate.
    """

    age: float | None = None
    age_low: float | None = None
    age_high: float | None = None
    female_probability: float | None = None
    predictions: int = 0
