"""A phone without an app: its link, its browser's camera, and the whole stack behind it."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facestream.common.core.paths import CHECKOUT
from playwright.sync_api import Page, expect, sync_playwright

from tests.fixtures.polling import wait_for
from tests.fixtures.stack import Stack, running_stack

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    if os.environ.get("CI") == "true":
        raise RuntimeError("chromium is missing: install it (Debian: apt-get install chromium)")
    pytest.skip("chromium is not installed", allow_module_level=True)

DEADLINE_MS = 30_000
WIDTH, HEIGHT, FPS, SECONDS = 640, 360, 15, 2
FACE = (330, 146)  # the middle of the face in the clip, pixels
FRAME_URL = re.compile(r"/api/phone/frame\?sender=\w+&seq=(\d+)")
HOST = "facestream.local"  # a name of this machine in its network, so that a phone could use it


def make_clip(path: Path) -> Path:
    """Write the clip of the phone's camera: a person who sways in front of a wall."""
    person = cv2.imread(str(CHECKOUT / "samples" / "obama.jpg"))
    assert person is not None
    person = cv2.resize(person, (round(person.shape[1] * 300 / person.shape[0]), 300))
    with path.open("wb") as file:
        for i in range(FPS * SECONDS):
            image = np.full((HEIGHT, WIDTH, 3), (168, 176, 180), np.uint8)
            left = 200 + round(20 * np.sin(2 * np.pi * i / (FPS * SECONDS)))
            image[60:, left : left + person.shape[1]] = person
            file.write(cv2.imencode(".jpg", image)[1].tobytes())
    return path


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    quick = {"FACESTREAM_CAPTURE_READ_TIMEOUT_S": "2"}
    cache = tmp_path_factory.mktemp("cache")
    with running_stack("--https", cache=cache, environment=quick) as made:
        yield made


Open = Callable[[int, int], Page]


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Opens an empty page of a size in a browser whose camera shows a clip."""
    clip = make_clip(tmp_path_factory.mktemp("clip") / "face.mjpeg")
    flags = (
        *("no-sandbox", "use-fake-ui-for-media-stream", "use-fake-device-for-media-stream"),
        f"host-resolver-rules=MAP {HOST} 127.0.0.1",
    )
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=[*(f"--{flag}" for flag in flags), f"--use-file-for-fake-video-capture={clip}"],
        )

        def visit(width: int, height: int) -> Page:
            context = browser.new_context(
                viewport={"width": width, "height": height}, ignore_https_errors=True
            )
            context.set_default_timeout(DEADLINE_MS)
            return context.new_page()

        expect.set_options(timeout=DEADLINE_MS)
        yield visit
        expect.set_options(timeout=5_000)
        browser.close()


def people_of(stack: Stack) -> Any:
    """Return the people in view of the tablet."""
    url = f"https://127.0.0.1:{stack.port}/api/cameras/tablet/people"
    trust = ssl._create_unverified_context()
    with urllib.request.urlopen(url, timeout=5, context=trust) as answer:
        return json.load(answer)


def test_a_phone_becomes_a_camera_by_its_link(stack: Stack, visit: Open, tmp_path: Path) -> None:
    desk = visit(1366, 768)
    desk.goto(f"https://{HOST}:{stack.port}")
    desk.get_by_role("button", name="Add a camera").click()
    desk.locator("#add-name").fill("tablet")
    desk.get_by_role("button", name="Add", exact=True).click()
    expect(desk.locator("#phone-result")).to_have_text("Waiting for the phone…")
    desk.locator("#phone-qr").screenshot(path=tmp_path / "qr.png", scale="css")
    image = cv2.imread(str(tmp_path / "qr.png"))
    assert image is not None
    link = cv2.QRCodeDetector().detectAndDecode(cv2.resize(image, None, fx=2, fy=2))[0]
    assert link == desk.locator("#phone-link").input_value()
    assert re.fullmatch(rf"https://{HOST}:{stack.port}/phone#[\w-]{{32}}", link)

    phone = visit(390, 844)
    troubles: list[str] = []
    phone.on("pageerror", lambda error: troubles.append(str(error)))
    numbers: list[int] = []
    phone.on("request", lambda request: numbers.extend(map(int, FRAME_URL.findall(request.url))))
    phone.goto(link)
    expect(phone.locator("#phone-status-text")).to_have_text("Live")
    phone.add_init_script("Date.now = () => 1e12")  # its clock is set back
    phone.reload()
    expect(phone.locator("#phone-status-text")).to_have_text("Live")
    expect(phone.locator("#phone-info")).to_have_text(re.compile(r"^\d+ fps · 640×360"))
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    expect(desk.locator("#phone-result")).to_have_text("Live: 640 × 360.")
    desk.get_by_role("button", name="Done").click()
    desk.wait_for_selector(".tile.large.has-frame[data-camera=tablet]")
    # Detected, tracked and classified like the faces of any other camera.
    expect(desk.locator(".person .age")).to_have_text(re.compile(r"^\d+$"))
    box = wait_for(lambda: people_of(stack), "a person in view")[0]["box"]
    assert abs(box[0] + box[2] / 2 - FACE[0]) < 70, box  # the sway, and what a late box is off
    assert abs(box[1] + box[3] / 2 - FACE[1]) < 40, box
    wait_for(lambda: "tablet: live" in stack.output, "the terminal says so")
    assert link.partition("#")[2] not in stack.output

    phone.get_by_role("button", name="Stop").click()
    placeholder = desk.locator("[data-camera=tablet] .placeholder")
    expect(placeholder).to_contain_text("the phone sends no frames")
    phone.get_by_role("button", name="Start").click()
    expect(phone.locator("#phone-status-text")).to_have_text("Live")
    menu = desk.locator("[data-camera=tablet] summary")
    menu.click()
    desk.get_by_role("button", name="Pause").click()
    expect(phone.locator("#phone-status-text")).to_have_text("Paused")
    menu.click()
    desk.get_by_role("button", name="Remove…").click()
    desk.get_by_role("button", name="Remove", exact=True).click()
    expect(phone.locator("#phone-status-text")).to_have_text("This link is not valid")
    assert troubles == []
    assert numbers == sorted(set(numbers))


def test_a_link_for_this_computer_alone_has_no_code_to_scan(stack: Stack, visit: Open) -> None:
    desk = visit(1366, 768)
    desk.goto(f"https://localhost:{stack.port}")
    desk.click("#add")
    desk.get_by_role("button", name="Add", exact=True).click()
    expect(desk.locator("#phone-note")).to_contain_text("Only this computer can open this link.")
    expect(desk.locator("#phone-qr")).to_be_hidden()
    link = desk.locator("#phone-link").input_value()
    assert link.startswith(f"https://localhost:{stack.port}/phone#")


def test_a_link_that_is_incomplete_says_so(stack: Stack, visit: Open) -> None:
    phone = visit(390, 844)
    phone.goto(f"https://localhost:{stack.port}/phone")
    expect(phone.locator("#phone-status-text")).to_have_text("This link is incomplete")
    phone.goto(f"https://localhost:{stack.port}/phone#{'k' * 32}")
    expect(phone.locator("#phone-status-text")).to_have_text("This link is not valid")
