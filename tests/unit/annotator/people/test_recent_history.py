"""The rolling history behind the charts."""

from __future__ import annotations

from typing import Any

import pytest
from facestream.annotator.people.demographics import age_band_index
from facestream.annotator.people.recent_history import SAMPLE_INTERVAL_S, WINDOW_S, RecentHistory
from facestream.common.vision.displayed_estimate import DisplayedEstimate

WOMAN = DisplayedEstimate(34, 28, 40, 0.9, 2)
MAN = DisplayedEstimate(71, 60, 80, 0.1, 2)
CHILD = DisplayedEstimate(8, 5, 12, None, 2)
UNKNOWN = DisplayedEstimate()


def bands(data: dict[str, Any]) -> dict[int, tuple[int, int, int]]:
    return {b["from"]: (b["female"], b["male"], b["unknown"]) for b in data["bands"]}


def test_sample_counts_people_in_view() -> None:
    sample = RecentHistory().add_sample([WOMAN, WOMAN, MAN, UNKNOWN], 100.0)
    assert (sample.female, sample.male, sample.unknown) == (2, 1, 1)


def test_age_bands_count_departed_and_present_faces() -> None:
    history = RecentHistory()
    history.add_departed(WOMAN, 100.0)
    history.add_departed(UNKNOWN, 100.0)
    found = bands(history.to_json([MAN, CHILD], 101.0))
    assert found[30] == (1, 0, 0)
    assert found[70] == (0, 1, 0)
    assert found[0] == (0, 0, 1)
    assert sum(map(sum, found.values())) == 3


def test_entries_expire_after_ten_minutes() -> None:
    history = RecentHistory()
    history.add_departed(WOMAN, 0.0)
    history.add_sample([WOMAN], 0.0)
    later = history.to_json([], WINDOW_S + 1)
    assert later["samples"] == []
    assert sum(map(sum, bands(later).values())) == 0


def test_samples_are_bounded() -> None:
    history = RecentHistory()
    for i in range(10_000):
        history.add_sample([], i * SAMPLE_INTERVAL_S)
    samples = history.to_json([], 10_000 * SAMPLE_INTERVAL_S)["samples"]
    assert isinstance(samples, list)
    assert len(samples) <= WINDOW_S / SAMPLE_INTERVAL_S


@pytest.mark.parametrize(
    ("age", "band"), [(0, 0), (12.9, 0), (13, 1), (29.9, 2), (30, 3), (70, 7), (110, 7)]
)
def test_band_includes_its_lower_edge(age: float, band: int) -> None:
    assert age_band_index(age) == band
