"""The last minutes, for the small charts of the page. Pure.

Every few seconds one sample of who is in view, and for each face that went its last estimate;
both forgotten after `KEEP_S`. Numbers only: nothing here could tell one person from another.
Charts, not counts: somebody who leaves and returns is two faces.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from facestream.annotator.people.attribute_fusion import DisplayedEstimate

KEEP_S = 600.0
SAMPLE_EVERY_S = 5.0
AGE_BAND_EDGES = (0, 13, 20, 30, 40, 50, 60, 70)  # lower edges in years; the last band is open
MAX_GONE = 5000


@dataclass(frozen=True)
class Sample:
    """How many were in view at one moment, most within the seconds before it."""

    at: float  # Unix time
    female: int
    male: int
    unsure: int


class History:
    """The last ten minutes of all cameras together."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=int(KEEP_S / SAMPLE_EVERY_S))
        self._gone: deque[tuple[float, DisplayedEstimate]] = deque(maxlen=MAX_GONE)

    def sample(self, people: Iterable[DisplayedEstimate], at: float) -> Sample:
        """Remember who is in view now."""
        counts = {"female": 0, "male": 0, "unsure": 0}
        for shown in people:
            counts[gender_label(shown)] += 1
        sample = Sample(at, **counts)
        self._samples.append(sample)
        return sample

    def add_departed(self, shown: DisplayedEstimate, at: float) -> None:
        """A face left; remember what was known of it."""
        if shown.age is not None:
            self._gone.append((at, shown))

    def to_json(self, people: Iterable[DisplayedEstimate], now: float) -> dict[str, object]:
        """What the page draws: samples, and faces by age band and gender.

        Args:
            people: those that are not gone yet.
        """
        while self._gone and now - self._gone[0][0] > KEEP_S:
            self._gone.popleft()
        bands = [{"from": edge, "female": 0, "male": 0, "unsure": 0} for edge in AGE_BAND_EDGES]
        for shown in [*(shown for _, shown in self._gone), *people]:
            if shown.age is not None:
                bands[band_of(shown.age)][gender_label(shown)] += 1
        return {
            "every_s": SAMPLE_EVERY_S,
            "keep_s": KEEP_S,
            "samples": [
                [round(s.at), s.female, s.male, s.unsure]
                for s in self._samples
                if now - s.at <= KEEP_S
            ],
            "bands": bands,
        }


def gender_label(shown: DisplayedEstimate) -> str:
    """`female`, `male` or, while that is open, `unsure`."""
    if shown.female is None:
        return "unsure"
    return "female" if shown.female >= 0.5 else "male"


def band_of(age: float) -> int:
    """Which of the age bands a person of this age belongs to."""
    return max(i for i, edge in enumerate(AGE_BAND_EDGES) if age >= edge)
