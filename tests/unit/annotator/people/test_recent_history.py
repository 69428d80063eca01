"""The charts' numbers."""

from __future__ import annotations

from typing import Any

import pytest
from facestream.annotator.people.attribute_fusion import DisplayedEstimate
from facestream.annotator.people.recent_history import KEEP_S, SAMPLE_EVERY_S, History, band_of

WOMAN = DisplayedEstimate(34, 28, 40, 0.9, 2)
MAN = DisplayedEstimate(71, 60, 80, 0.1, 2)
CHILD = DisplayedEstimate(8, 5, 12, None, 2)
NOBODY_KNOWS = DisplayedEstimate()


def bands(said: dict[str, Any]) -> dict[int, tuple[int, int, int]]:
    return {b["from"]: (b["female"], b["male"], b["unsure"]) for b in said["bands"]}


def test_a_sample_counts_who_is_in_view() -> None:
    sample = History().sample([WOMAN, WOMAN, MAN, NOBODY_KNOWS], 100.0)
    assert (sample.female, sample.male, sample.unsure) == (2, 1, 1)


def test_faces_are_sorted_into_age_bands_with_those_still_here() -> None:
    history = History()
    history.add_departed(WOMAN, 100.0)
    history.add_departed(NOBODY_KNOWS, 100.0)
    found = bands(history.to_json([MAN, CHILD], 101.0))
    assert found[30] == (1, 0, 0)
    assert found[70] == (0, 1, 0)
    assert found[0] == (0, 0, 1)
    assert sum(map(sum, found.values())) == 3


def test_what_is_older_than_ten_minutes_is_gone() -> None:
    history = History()
    history.add_departed(WOMAN, 0.0)
    history.sample([WOMAN], 0.0)
    later = history.to_json([], KEEP_S + 1)
    assert later["samples"] == []
    assert sum(map(sum, bands(later).values())) == 0


def test_samples_do_not_grow_without_end() -> None:
    history = History()
    for i in range(10_000):
        history.sample([], i * SAMPLE_EVERY_S)
    samples = history.to_json([], 10_000 * SAMPLE_EVERY_S)["samples"]
    assert isinstance(samples, list)
    assert len(samples) <= KEEP_S / SAMPLE_EVERY_S


@pytest.mark.parametrize(
    ("age", "band"), [(0, 0), (12.9, 0), (13, 1), (29.9, 2), (30, 3), (70, 7), (110, 7)]
)
def test_a_band_holds_its_lower_edge(age: float, band: int) -> None:
    assert band_of(age) == band
