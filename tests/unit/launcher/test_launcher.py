from __future__ import annotations

import http.client
import os
import sys
import threading
from typing import Any

import pytest
from facestream.launcher import launcher
from facestream.launcher.probes import ProbeResult
from facestream.launcher.process_specs import ProcessSpec
from facestream.launcher.web_endpoint import WebEndpoint

from tests.fixtures.polling import wait_for

OPEN = WebEndpoint("http://localhost:8080", "http://127.0.0.1:8080", {})


def test_unexpected_probe_error_does_not_end_the_probing() -> None:
    errors = iter([RuntimeError("odd"), http.client.IncompleteRead(b"{")])
    lines: list[str] = []

    def probe() -> ProbeResult:
        for error in errors:
            raise error
        return ProbeResult(True)

    command = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
    stop = threading.Event()
    supervisor = launcher._Supervisor(
        [ProcessSpec("worker", command, dict(os.environ), probe)], 60.0, lines.append, stop
    )
    running = threading.Thread(target=supervisor.run, args=("http://here",))
    running.start()
    try:
        wait_for(lambda: any("http://here" in line for line in lines), "ready", 10)
    finally:
        stop.set()
        running.join(5)
        supervisor.stop_all()
    assert not running.is_alive()


def test_console_updates_continue_after_an_incomplete_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[str] = []
    responses: list[Any] = [
        http.client.IncompleteRead(b"["),
        [{"name": "door", "state": "live", "reason": ""}],
    ]

    def get(endpoint: WebEndpoint, path: str) -> Any:
        response = responses.pop(0) if responses else []
        if isinstance(response, Exception):
            raise response
        return response

    monkeypatch.setattr(WebEndpoint, "get", get)
    monkeypatch.setattr(launcher, "_CONSOLE_INTERVAL_S", 0.01)
    stop = threading.Event()
    printing = threading.Thread(
        target=launcher._print_console_updates, args=(OPEN, lines.append, stop, False)
    )
    printing.start()
    try:
        wait_for(lambda: "door: live" in lines, "the camera's state", 10)
    finally:
        stop.set()
        printing.join(5)


def printed(monkeypatch: pytest.MonkeyPatch, hall: Any, *, shows_people: bool) -> list[str]:
    """Return the lines after one poll of two cameras; `hall`: the response for one of them."""
    lines: list[str] = []
    stop = threading.Event()
    person = {"track_id": 1, "age": None, "female_probability": 0.97}
    responses = {
        "/api/cameras": [{"name": name, "state": "live"} for name in ("door", "hall")],
        "/api/cameras/door/people": [person],
        "/api/cameras/hall/people": hall,
    }

    def get(endpoint: WebEndpoint, path: str) -> Any:
        stop.set()
        if isinstance(responses[path], Exception):
            raise responses[path]
        return responses[path]

    monkeypatch.setattr(WebEndpoint, "get", get)
    monkeypatch.setattr(launcher, "_CONSOLE_INTERVAL_S", 0.001)
    launcher._print_console_updates(OPEN, lines.append, stop, shows_people)
    return lines


def test_missing_response_does_not_suppress_other_updates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = printed(monkeypatch, TimeoutError(), shows_people=True)
    assert lines == ["door: live", "hall: live", "door: person 1, female 0.97"]


def test_only_a_terminal_shows_people(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(monkeypatch, [], shows_people=False) == ["door: live", "hall: live"]
