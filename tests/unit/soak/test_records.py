"""Assertions over soak records, and the report generated from them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.soak import assertions
from tests.soak.__main__ import PAGE, records
from tests.soak.markdown import render

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


def test_the_report_is_current() -> None:
    assert render(records()) == PAGE.read_text(), "run python -m tests.soak page"


def test_the_report_shows_failed_assertions() -> None:
    record = {**records()["faults"], "unexplained": 4}
    assert "**Failed: 4 faces are unaccounted.**" in render({"faults": record})
    assert "**Failed" not in render({"faults": {**record, "unexplained": 0}})


def test_a_run_with_full_recovery_passes() -> None:
    assert assertions.faults(FAULTS) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"rounds": [{"faults": [], "states": {"door": "failed"}, "back_s": None}]},
            "not recovered",
        ),
        ({"unexplained": 3}, "3 faces are unaccounted"),
        ({"looks_with_unexplained": 1}, "unaccounted"),
        ({"memory_mb": {"worker": {"before": 80.0, "most": 300.0, "after": 290.0}}}, "grew from"),
        ({"memory_mb": {"worker": {"before": 80.0, "most": 90.0, "after": None}}}, "not running"),
        ({"results_seen": 12}, "more results"),
        ({"said": ["worker: Traceback"]}, "Traceback"),
    ],
)
def test_failures_are_reported(change: dict[str, Any], said: str) -> None:
    (line,) = assertions.faults({**copy.deepcopy(FAULTS), **change})
    assert said in line


def _growth(each_minute: list[float], an_hour: float) -> dict[str, Any]:
    return {
        "unexplained": 0,
        "restarts": 0,
        "warm_up_s": 120,
        "bounds_per_hour": {"memory_mb": 12.0, "others": 2.0},
        "growth_per_hour": {
            "rss_mb": {"worker": an_hour},
            "threads": {"worker": 0.0},
            "descriptors": {"worker": 0.0},
            "keys": 0.0,
        },
        "rss_mb_each_minute": {"worker": each_minute},
    }


def test_steadily_rising_memory_fails() -> None:
    (line,) = assertions.growth(_growth([50, 80, 90, 91, 92, 93, 94, 95], 60.0))
    assert line == "rss_mb of worker: 60.0 per hour"


def test_memory_that_is_released_at_times_passes() -> None:
    assert assertions.growth(_growth([50, 80, 99, 90, 91, 92, 93, 94], 60.0)) == []
