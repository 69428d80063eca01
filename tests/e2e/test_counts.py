"""Counts card: today and other periods, by time, age band and gender, and as CSV."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from facestream.annotator.counting.count_store import MINUTE_S, CountBatch, CountKey
from facestream.annotator.counting.sqlite_store import SqliteCountStore
from playwright.sync_api import expect

from tests.e2e.test_page import (  # fixtures among them
    Open,
    World,
    browser,  # noqa: F401
    visit,  # noqa: F401
)

BY_AGE = "People by age: 30-39: 10 (7 female, 3 male), unknown: 2 (2 unknown)."
BY_HOUR = "People by hour: 0: 12 (7 female, 3 male, 2 unknown)."

IN_VIEW = r"^Faces by age in the last ten minutes\. \d+–\d+: 1 \(1 female\)\.$"


def key(at: float, kind: str = "visit", band: str = "30-39", gender: str = "female") -> CountKey:
    region = "" if kind == "visit" else "till"
    return CountKey(int(at) // MINUTE_S * MINUTE_S, "door", kind, region, band, gender)


@pytest.fixture
def world(broker_url: str, tmp_path: Path) -> Iterator[World]:
    """Run an annotator with counts of today and of two days ago."""
    now = time.time()
    midnight = time.mktime((*time.localtime(now)[:3], 0, 0, 0, 0, 0, -1))
    store = SqliteCountStore(tmp_path / "counts.sqlite3")
    store.add(
        CountBatch(
            1,
            {
                key(midnight): 7,
                key(midnight, gender="male"): 3,
                key(midnight, band="unknown", gender="unknown"): 2,
                key(midnight, "enter"): 5,
                key(midnight, "leave"): 4,
                key(midnight - 1.5 * 86_400): 30,
            },
        )
    )
    store.close()
    made = World(broker_url, counts_db_file=tmp_path / "counts.sqlite3", count_after_s=6.0)
    yield made
    made.end()


def test_people_counted_are_shown_for_today_and_other_periods(
    world: World,
    visit: Open,  # noqa: F811
) -> None:
    page = visit("desk")
    total = page.locator("#counts-total")
    expect(total).to_have_text("12")
    by_age = page.locator("#counts-groups svg")
    expect(by_age).to_have_attribute("aria-label", BY_AGE)
    by_time = page.locator("#counts-times svg")
    expect(by_time).to_have_attribute("aria-label", BY_HOUR)
    expect(page.locator("#counts-regions li")).to_have_text("door: till, 5 in, 4 out")

    page.select_option("#counts-period", "week")
    expect(total).to_have_text("42")
    expect(by_time).to_have_attribute(
        "aria-label", re.compile(r"^People by day: .+: 30 \(30 female\), .+: 12 \(7 female")
    )
    page.select_option("#counts-period", "range")
    page.fill("#counts-to", page.input_value("#counts-from"))
    expect(total).to_have_text("0")
    page.select_option("#counts-period", "today")
    expect(total).to_have_text("12")

    link = page.locator("#counts-csv").get_attribute("href")
    assert link is not None
    answer = page.request.get(world.url + link)
    assert answer.text().splitlines()[0] == "hour,camera,age_band,gender,count"

    world.add("door")  # a person is in view, and is counted while the page is open
    expect(total).to_have_text("13", timeout=20_000)
    for chart, said in (("in-view", r": 1 \(1 female\) now, peak 1\.$"), ("age", IN_VIEW)):
        label = page.locator(f"#{chart}-chart svg")
        expect(label).to_have_attribute("aria-label", re.compile(said))


def test_the_api_is_described_on_a_page_of_its_own(world: World, visit: Open) -> None:  # noqa: F811
    page = visit("phone")
    page.goto(f"{world.url}/api")
    stats = page.locator("details", has_text="/api/stats").first
    stats.locator("summary").click()
    expect(stats.get_by_role("cell", name="as 30-39, or unknown")).to_be_visible()
    expect(stats.get_by_role("table", name="Parameters")).to_contain_text("ISO 8601")
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390, "nothing sticks out sideways"
