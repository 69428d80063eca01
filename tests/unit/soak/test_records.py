"""What is said of records, and that the page says what they say."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.soak import judge
from tests.soak.__main__ import PAGE, records
from tests.soak.tables import filled

FAULTS: dict[str, Any] = {
    "rounds": [{"faults": [], "states": {}, "back_s": 1.5}],
    "unexplained": 0,
    "looks_with_unexplained": 0,
    "results_seen": 9,
    "results_given": 10,
    "ledger": {"lost": 1},
    "memory_mb": {"worker": {"before": 80.0, "most": 95.0, "after": 85.0}},
    "said": [],
}


def test_the_page_says_what_the_records_say() -> None:
    assert filled(PAGE.read_text(), records()) == PAGE.read_text(), "run python -m tests.soak page"


def test_the_page_says_what_is_not_as_it_must_be() -> None:
    page = "<!-- faults: from here -->\n<!-- /faults -->"
    record = {**records()["faults"], "unexplained": 4}
    assert "Not as it must be:** 4 faces are unexplained." in filled(page, {"faults": record})
    assert "Not as it must be" not in filled(page, {"faults": {**record, "unexplained": 0}})


def test_a_run_from_which_everything_came_back_is_right() -> None:
    assert judge.faults(FAULTS) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rounds": [{"faults": [], "states": {"door": "failed"}, "back_s": None}]}, "not back"),
        ({"unexplained": 3}, "3 faces are unexplained"),
        ({"looks_with_unexplained": 1}, "unexplained"),
        ({"memory_mb": {"worker": {"before": 80.0, "most": 300.0, "after": 290.0}}}, "has grown"),
        ({"memory_mb": {"worker": {"before": 80.0, "most": 90.0, "after": None}}}, "does not run"),
        ({"results_seen": 12}, "more results"),
        ({"said": ["worker: Traceback"]}, "Traceback"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], said: str) -> None:
    (line,) = judge.faults({**copy.deepcopy(FAULTS), **change})
    assert said in line
