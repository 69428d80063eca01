"""The page in a real browser, on a desk and on a phone, against the real annotator and broker."""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import redis
import simplejpeg
from facestream.annotator.service import serve
from facestream.annotator.settings import AnnotatorSettings
from facestream.common.broker import keys
from facestream.common.broker.messages import Frame, Result, Track, encode, now_us
from facestream.common.cameras.models import Camera, CameraStatus
from facestream.common.cameras.registry import CameraRegistry
from playwright.sync_api import Browser, Page, expect, sync_playwright
from pydantic import SecretStr

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    if os.environ.get("CI") == "true":
        raise RuntimeError("chromium is missing: install it (Debian: apt-get install chromium)")
    pytest.skip("chromium is not installed", allow_module_level=True)

SIZES = {"desk": (1366, 768), "phone": (390, 844)}
DEADLINE_MS = 15_000
FPS = 10
OTHER = "Phone: another app (RTSP)"


class World:
    """An annotator with what capture and worker would write for it."""

    def __init__(self, broker_url: str, **more: Any) -> None:
        self._redis = redis.Redis.from_url(broker_url)
        self.registry = CameraRegistry(self._redis)
        self.failing: dict[str, str] = {}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{port}"
        self._stop = threading.Event()
        settings = AnnotatorSettings(broker=SecretStr(broker_url), port=port, health_port=0, **more)
        self._threads = [
            threading.Thread(target=serve, args=(settings, self._stop)),
            threading.Thread(target=self._capture),
        ]
        for thread in self._threads:
            thread.start()
        self._wait()

    def add(self, name: str) -> None:
        self.registry.upsert(Camera(name=name, url=SecretStr("rtsp://10.0.0.5/live")))

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(15)
        self._redis.close()

    def _wait(self) -> None:
        end = time.monotonic() + 15
        while time.monotonic() < end:
            try:
                httpx.get(f"{self.url}/livez")
                return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("the annotator did not start")

    def _capture(self) -> None:
        seq, began = 0, now_us()
        while not self._stop.wait(1 / FPS):
            seq += 1
            cameras = self.registry.cameras()
            watched = self.registry.watched_cameras(list(cameras))
            statuses = []
            for name, camera in cameras.items():
                reason = self.failing.get(name, "")
                state = "paused" if camera.paused else "failed" if reason else "live"
                statuses.append(
                    CameraStatus.model_validate(
                        {"name": name, "state": state, "since": began / 1e6, "reason": reason}
                        | {"fps": FPS, "width": 320, "height": 240}
                    )
                )
                if state == "live":
                    self._film(name, seq, began, name in watched)
            self.registry.publish_statuses(statuses)

    def _film(self, name: str, seq: int, began: int, watched: bool) -> None:
        tracks = [Track(track=1, x=100, y=80, w=60, h=70, first_detected_us=began)]
        frame = Frame(
            camera=name,
            session=1,
            seq=seq,
            captured_us=now_us(),
            width=320,
            height=240,
            tracks=tracks,
        )
        image = np.full((240, 320, 3), 40 + seq % 100, np.uint8)
        jpeg = simplejpeg.encode_jpeg(image, 90, colorsubsampling="420") if watched else None
        self._redis.xadd(keys.frames_key(name), encode(frame, jpeg), maxlen=8)  # type: ignore[arg-type]
        result = Result(
            camera=name, session=1, track=1, captured_us=now_us(), quality=0.8, age=34, age_std=4
        )
        result.female = 0.96
        self._redis.xadd(keys.results_key(name), encode(result), maxlen=64)  # type: ignore[arg-type]


@pytest.fixture
def world(broker_url: str) -> Iterator[World]:
    made = World(broker_url)
    yield made
    made.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


Open = Callable[[str], Page]


@pytest.fixture
def visit(browser: Browser, world: World) -> Iterator[Open]:
    """Opens the page at a size; fails the test for any error in it or request elsewhere."""
    contexts, troubles = [], []

    def visit(size: str) -> Page:
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height})
        context.set_default_timeout(DEADLINE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on(
            "console",
            lambda said: (
                troubles.append(f"console: {said.text}")
                if said.type == "error" and "the server responded with" not in said.text
                else None
            ),
        )
        page.on(
            "request",
            lambda asked: (
                None
                if asked.url.startswith((world.url, "blob:", "data:"))
                else troubles.append(f"foreign request: {asked.url}")
            ),
        )
        page.goto(world.url, wait_until="domcontentloaded")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert troubles == []


BRIGHTNESS = """canvas => {
  const at = canvas.getContext('2d').getImageData(10, 200, 1, 1).data;
  return at[0];
}"""


@pytest.mark.parametrize("size", list(SIZES))
def test_live_view_and_people_are_shown(world: World, visit: Open, size: str) -> None:
    world.add("door")
    page = visit(size)
    page.wait_for_selector(".tile.large .live-view canvas[width='320']")
    page.wait_for_selector(".tile.has-frame")
    canvas = page.query_selector(".tile canvas")
    assert canvas is not None
    first = canvas.evaluate(BRIGHTNESS)
    page.wait_for_function(f"c => ({BRIGHTNESS})(c) !== {first}", arg=canvas)
    expect(page.locator(".person .age")).to_have_text("34")
    expect(page.locator(".person .gender")).to_have_text(re.compile(r"Female · 9\d%$"))
    expect(page.locator(".person .interval")).to_have_text(
        re.compile(r"between (29|30|31) and 3[789]")
    )
    expect(page.locator("#overall-status-text")).to_have_text("All systems OK")
    expect(page.locator("#in-view-chart svg")).to_have_attribute("role", "img")
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= SIZES[size][0], "nothing sticks out sideways"


def test_a_stale_frame_is_hidden_when_the_server_is_gone(world: World, visit: Open) -> None:
    world.add("door")
    page = visit("desk")
    tile = page.locator(".tile[data-camera=door]")
    expect(tile).to_have_class(re.compile("has-frame"), timeout=DEADLINE_MS)
    world.end()
    expect(tile).not_to_have_class(re.compile("has-frame"), timeout=DEADLINE_MS)
    expect(tile.locator(".placeholder")).to_contain_text("Connection lost")
    expect(page.locator("#overall-status-text")).to_contain_text("Connection lost")
    expect(page.locator("#people-count")).to_have_text("–")
    expect(tile.locator(".info")).to_have_text("no video")


def test_an_empty_page_leads_to_a_first_camera(world: World, visit: Open) -> None:
    page = visit("phone")
    page.get_by_role("button", name="Add a camera").click()
    page.get_by_label("Source").select_option(label="Phone: IP Webcam (Android)")
    page.get_by_label("Address").fill("http://192.168.1.20:8080/video")
    page.get_by_label("Name", exact=True).fill("kitchen")
    page.get_by_role("button", name="Add and test").click()
    page.wait_for_selector(".tile.large[data-camera=kitchen][data-state=live]")
    page.wait_for_selector("#add-dialog", state="hidden")
    assert world.registry.cameras()["kitchen"].url.get_secret_value().endswith("/video")


def test_a_camera_that_cannot_be_reached_says_why_and_can_be_corrected(
    world: World, visit: Open
) -> None:
    world.failing["phone"] = "wrong user or password"
    page = visit("desk")
    page.click("#add")
    page.locator("#add-source").select_option(label=OTHER)
    page.fill("#add-url", "rtsp://10.0.0.5/live")
    page.click("#add-submit")
    expect(page.locator("#add-result")).to_contain_text("wrong user or password")
    world.failing.clear()
    page.fill("#add-url", "rtsp://u:pass1234@10.0.0.5/live")
    page.click("#add-submit")
    page.wait_for_selector(".tile[data-camera=phone][data-state=live]")
    assert "pass1234" not in page.content()


def test_a_camera_that_cannot_be_reached_is_kept_or_leaves_nothing(
    world: World, visit: Open
) -> None:
    world.failing["phone"] = "wrong user or password"
    page = visit("desk")

    def add() -> None:
        page.click("#add")
        page.locator("#add-source").select_option(label=OTHER)
        page.fill("#add-url", "rtsp://10.0.0.5/live")
        page.click("#add-submit")
        expect(page.locator("#add-result")).to_contain_text("wrong user or password")

    add()
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector("#empty:not([hidden])")
    assert world.registry.cameras() == {}
    add()
    page.get_by_role("button", name="Keep anyway").click()
    placeholder = page.locator("[data-camera=phone] .placeholder")
    expect(placeholder).to_have_text(re.compile("Unavailable since .*wrong user or password"))
    expect(page.locator("#add-dialog")).to_be_hidden()
    assert list(world.registry.cameras()) == ["phone"]


def test_a_wrong_address_is_explained_where_it_was_typed(world: World, visit: Open) -> None:
    page = visit("desk")
    page.click("#add")
    page.locator("#add-source").select_option(label=OTHER)
    page.fill("#add-url", "gopher://10.0.0.5/live")
    page.click("#add-submit")
    expect(page.locator("#add-result")).to_contain_text("scheme must be one of")
    assert world.registry.cameras() == {}


def test_what_the_page_may_not_add_by_default_is_said_before_it_is_tried(visit: Open) -> None:
    page = visit("desk")
    page.click("#add")
    for choice in ("Webcam of this computer", "Other URL"):
        page.get_by_label("Source").select_option(label=choice)
        expect(page.locator("#add-steps")).to_contain_text(
            "FACESTREAM_CAPTURE_ALLOW_LOCAL_SOURCES=true"
        )


def test_by_http_no_phone_is_proposed_and_the_page_says_why(world: World, visit: Open) -> None:
    page = visit("desk")
    page.click("#add")
    source = page.locator("#add-source")
    assert page.evaluate("e => e.selectedOptions[0].text", source.element_handle()) == (
        "Phone: IP Webcam (Android)"
    )
    source.select_option(label="Phone browser (no app)")
    expect(page.locator("#add-steps")).to_have_text(
        re.compile("^Phone cameras need HTTPS. .*open the link it prints.$")
    )
    page.click("#add-submit")
    expect(page.locator("#phone-note")).to_contain_text("“make demo PHONE=1”")
    expect(page.locator("#phone-qr")).to_be_hidden()


def test_cameras_are_paused_rotated_renamed_and_removed_by_keyboard(
    world: World, visit: Open
) -> None:
    world.add("door")
    page = visit("desk")

    def choose(name: str, item: str) -> None:
        page.locator(f"[data-camera={name}] summary").focus()
        page.keyboard.press("Enter")
        page.locator(f"[data-camera={name}]").get_by_text(item, exact=True).focus()
        page.keyboard.press("Enter")

    page.wait_for_selector("[data-camera=door]")
    choose("door", "Pause")
    page.wait_for_selector("[data-camera=door][data-state=paused]")
    choose("door", "Resume")
    page.wait_for_selector("[data-camera=door][data-state=live]")
    choose("door", "Rotate by 90°")
    choose("door", "Rename…")
    page.keyboard.type("hall")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-camera=hall]")
    page.wait_for_selector("[data-camera=door]", state="detached")
    assert world.registry.cameras()["hall"].rotate == 90
    choose("hall", "Remove…")
    page.get_by_role("button", name="Remove", exact=True).press("Enter")
    page.wait_for_selector("#empty:not([hidden])")
    assert world.registry.cameras() == {}


def test_ten_cameras_are_shown_at_once(world: World, visit: Open) -> None:
    names = [f"cam-{i}" for i in range(10)]
    for name in names:
        world.add(name)
    page = visit("desk")
    page.wait_for_function("() => document.querySelectorAll('.tile.has-frame').length === 10")
    assert page.locator(".tile.large").count() == 1
    page.click("[data-camera=cam-7] .live-view")
    page.wait_for_selector("[data-camera=cam-7].large")
    page.click("#view")
    page.wait_for_selector(".tile.large", state="detached")


def test_a_closed_page_stops_the_frames(world: World, visit: Open) -> None:
    world.add("door")
    page = visit("desk")
    page.wait_for_selector(".tile.has-frame")
    assert world.registry.watched_cameras(["door"])
    page.goto("about:blank")
    end = time.monotonic() + 15
    while world.registry.watched_cameras(["door"]) and time.monotonic() < end:
        time.sleep(0.1)
    assert not world.registry.watched_cameras(["door"])


def test_dark_and_light_can_be_switched_and_are_remembered(world: World, visit: Open) -> None:
    page = visit("desk")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Switch between dark and light theme").click()
    after = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert before != after
    page.reload(wait_until="domcontentloaded")
    page.wait_for_selector("html[data-theme]")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == after


def test_everything_that_can_be_pressed_has_a_name_for_screen_readers(
    world: World, visit: Open
) -> None:
    world.add("door")
    page = visit("desk")
    page.wait_for_selector(".tile.has-frame")
    expect(page.locator(".live-view")).to_have_attribute(
        "aria-label", "door: 10 fps · 320×240, 1 person in view. Show all at equal size"
    )
    page.click("#add")
    nameless = page.evaluate(
        """[...document.querySelectorAll('button, summary, input, select, a')]
          .filter(e => e.checkVisibility() &&
          !(e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label')))
          .map(e => e.outerHTML)"""
    )
    assert nameless == []
