"""Region editor: zones and lines are drawn by pointer and by keyboard."""

from __future__ import annotations

import re

import pytest
from facestream.common.cameras.regions import Line, Zone
from playwright.sync_api import Page, expect

from tests.e2e.test_page import (  # fixtures among them
    SIZES,
    Open,
    World,
    browser,  # noqa: F401
    visit,  # noqa: F401
    world,  # noqa: F401
)


def open_regions(page: Page) -> None:
    page.wait_for_selector(".tile.has-frame")
    page.locator("[data-camera=door] summary").click()
    page.get_by_role("button", name="Zones and lines…").click()
    page.wait_for_selector("#regions-dialog[open]")


def saved(page: Page) -> None:
    page.get_by_role("button", name="Save").click()
    page.wait_for_selector("#regions-dialog", state="hidden")


@pytest.mark.parametrize("size", list(SIZES))
def test_a_zone_is_drawn_with_the_pointer(
    world: World,  # noqa: F811
    visit: Open,  # noqa: F811
    size: str,
) -> None:
    world.add("door")
    page = visit(size)
    open_regions(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    page.get_by_role("button", name="Add zone").click()
    page.locator("#regions-list input").fill("shelf")
    box = page.locator("#regions-svg").bounding_box()
    assert box is not None
    assert abs(box["width"] / box["height"] - 4 / 3) < 0.02

    def drag(start: tuple[float, float], end: tuple[float, float]) -> None:
        page.mouse.move(box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + end[0] * box["width"], box["y"] + end[1] * box["height"])
        page.mouse.up()

    drag((0.3, 0.3), (0.1, 0.2))  # its first corner
    drag((0.7, 0.55), (0.9, 0.5))  # between the second and the third: one more
    drag((0.5, 0.6), (0.5, 0.9))  # all of it, up to the edge of the frame
    saved(page)
    (zone,) = world.registry.cameras()["door"].zones
    assert zone.name == "shelf"
    expected = [(0.1, 0.4), (0.7, 0.5), (0.9, 0.7), (0.7, 1.0), (0.3, 1.0)]
    for point, wanted in zip(zone.points, expected, strict=True):
        assert point == pytest.approx(wanted, abs=0.01)


def test_regions_are_changed_by_keyboard_and_removed(
    world: World,  # noqa: F811
    visit: Open,  # noqa: F811
) -> None:
    world.add("door")
    square = ((0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8))
    camera = world.registry.cameras()["door"]
    world.registry.upsert(camera.model_copy(update={"zones": (Zone(name="shelf", points=square),)}))
    page = visit("desk")
    open_regions(page)
    page.get_by_role("button", name=re.compile("^Corner 1 of shelf: 20% from the left")).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowDown")
    corner = page.get_by_role("button", name="Corner 1 of shelf: 21% from the left, 30%")
    expect(corner).to_be_focused()
    page.get_by_role("button", name=re.compile("^Corner 4 of shelf")).press("Delete")
    page.get_by_role("button", name=re.compile("^New corner of shelf after 1")).press("Enter")
    expect(page.get_by_role("button", name=re.compile("^Corner 4 of shelf"))).to_be_visible()
    page.get_by_role("button", name="Add line").click()
    page.keyboard.type("entrance")
    middle = page.get_by_role("button", name=re.compile("^End 1 of entrance")).bounding_box()
    word = page.locator("#regions-svg text", has_text="enter").nth(-1).bounding_box()
    assert middle is not None
    assert word is not None
    assert word["x"] > middle["x"] + middle["width"] / 2, "it points upwards: in is to the right"
    page.get_by_role("button", name="Reverse direction of entrance").click()
    saved(page)
    after = world.registry.cameras()["door"]
    assert after.zones[0].points == ((0.21, 0.3), (0.505, 0.25), (0.8, 0.2), (0.8, 0.8))
    assert after.lines == (Line(name="entrance", points=((0.5, 0.1), (0.5, 0.9))),)
    open_regions(page)
    for name in ("shelf", "entrance"):
        page.get_by_role("button", name=f"Remove {name}").click()
    saved(page)
    after = world.registry.cameras()["door"]
    assert (after.zones, after.lines) == ((), ())


def test_region_editor_warns_before_discarding_changes(
    world: World,  # noqa: F811
    visit: Open,  # noqa: F811
) -> None:
    world.add("door")
    page = visit("desk")
    open_regions(page)
    for _ in range(2):
        page.get_by_role("button", name="Add zone").click()
    page.locator("#regions-list input").last.fill("zone-1")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#regions-result")).to_contain_text("duplicate name")
    page.keyboard.press("Escape")
    expect(page.locator("#regions-result")).to_contain_text("Unsaved changes")
    page.keyboard.press("Escape")
    page.wait_for_selector("#regions-dialog", state="hidden")
    assert world.registry.cameras()["door"].zones == ()
