"""Rolling ten-minute history for the charts of the web UI. No I/O.

The history holds one sample of the people in view every few seconds, and the last estimate of each
track that left. Both are dropped after `WINDOW_S`. It holds numbers only, nothing that could
identify a person. These are charts, not counts: a person who leaves and returns is two tracks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from facestream.annotator.people.demographics import AGE_BAND_EDGES, age_band_index, gender_label
from facestream.common.vision.displayed_estimate import DisplayedEstimate

WINDOW_S = 600.0
SAMPLE_INTERVAL_S = 5.0
MAX_DEPARTED = 5000


@dataclass(frozen=True)
class Sample:
    """Number of people in view at one time, by gender."""

    timestamp: float  # Unix time, seconds
    female: int
    male: int
    unknown: int


class RecentHistory:
    """The last ten minutes of all cameras together."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=int(WINDOW_S / SAMPLE_INTERVAL_S))
        self._departed: deque[tuple[float, DisplayedEstimate]] = deque(maxlen=MAX_DEPARTED)

    def add_sample(self, people: Iterable[DisplayedEstimate], timestamp: float) -> Sample:
        """Record the people in view now."""
        counts = {"female": 0, "male": 0, "unknown": 0}
        for shown in people:
            counts[gender_label(shown)] += 1
        sample = Sample(timestamp, **counts)
        self._samples.append(sample)
        return sample

    def add_departed(self, shown: DisplayedEstimate, timestamp: float) -> None:
        """Record the last estimate of a track that left; one without an age is ignored."""
        if shown.age is not None:
            self._departed.append((timestamp, shown))

    def to_json(self, people: Iterable[DisplayedEstimate], now: float) -> dict[str, object]:
        """Return the chart data: samples, and faces by age band and gender.

        Args:
            people: estimates of tracks that have not departed yet.
            now: Unix time, seconds.
        """
        while self._departed and now - self._departed[0][0] > WINDOW_S:
            self._departed.popleft()
        bands = [{"from": edge, "female": 0, "male": 0, "unknown": 0} for edge in AGE_BAND_EDGES]
        for shown in [*(shown for _, shown in self._departed), *people]:
            if shown.age is not None:
                bands[age_band_index(shown.age)][gender_label(shown)] += 1
        return {
            "every_s": SAMPLE_INTERVAL_S,
            "keep_s": WINDOW_S,
            "samples": [
                {
                    "timestamp": round(sample.timestamp),
                    "female": sample.female,
                    "male": sample.male,
                    "unknown": sample.unknown,
                }
                for sample in self._samples
                if now - sample.timestamp <= WINDOW_S
            ],
            "bands": bands,
        }
