from __future__ import annotations

import http.client
import os
import sys
import threading
from typing import Any

import pytest
from facestream.launcher import launcher
from facestream.launcher.process_specs import ProbeResult, ProcessSpec
from facestream.launcher.web_endpoint import WebEndpoint

from tests.fixtures.polling import wait_for

OPEN = WebEndpoint("http://localhost:8080", "http://127.0.0.1:8080", {})


def test_a_probe_that_fails_in_a_new_way_does_not_end_the_asking() -> None:
    answers = iter([RuntimeError("odd"), http.client.IncompleteRead(b"{")])
    lines: list[str] = []

    def probe() -> ProbeResult:
        for failure in answers:
            raise failure
        return ProbeResult(True)

    command = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
    stop = threading.Event()
    stack = launcher._Stack(
        [ProcessSpec("part", command, dict(os.environ), probe)], 60.0, lines.append, stop
    )
    asking = threading.Thread(target=stack.run, args=("http://here",))
    asking.start()
    try:
        wait_for(lambda: any("http://here" in line for line in lines), "ready", 10)
    finally:
        stop.set()
        asking.join(5)
        stack.end()
    assert not asking.is_alive()


def test_news_go_on_after_an_answer_that_broke_off(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    answers: list[Any] = [
        http.client.IncompleteRead(b"["),
        [{"name": "door", "state": "live", "reason": ""}],
    ]

    def get(door: WebEndpoint, path: str) -> Any:
        answer = answers.pop(0) if answers else []
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(WebEndpoint, "get", get)
    monkeypatch.setattr(launcher, "_NEWS_S", 0.01)
    stop = threading.Event()
    telling = threading.Thread(target=launcher._tell_news, args=(OPEN, lines.append, stop, False))
    telling.start()
    try:
        wait_for(lambda: "door: live" in lines, "the camera's state", 10)
    finally:
        stop.set()
        telling.join(5)


def told(monkeypatch: pytest.MonkeyPatch, hall: Any, *, tells_people: bool) -> list[str]:
    """What is said of two cameras when they are asked for once; `hall`: the answer of one."""
    lines: list[str] = []
    stop = threading.Event()
    person = {"track_id": 1, "age": None, "female_probability": 0.97}
    answers = {
        "/api/cameras": [{"name": name, "state": "live"} for name in ("door", "hall")],
        "/api/cameras/door/people": [person],
        "/api/cameras/hall/people": hall,
    }

    def get(door: WebEndpoint, path: str) -> Any:
        stop.set()
        if isinstance(answers[path], Exception):
            raise answers[path]
        return answers[path]

    monkeypatch.setattr(WebEndpoint, "get", get)
    monkeypatch.setattr(launcher, "_NEWS_S", 0.001)
    launcher._tell_news(OPEN, lines.append, stop, tells_people)
    return lines


def test_an_answer_that_does_not_come_takes_no_other_news_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = told(monkeypatch, TimeoutError(), tells_people=True)
    assert lines == ["door: live", "hall: live", "door: person 1, female 0.97"]


def test_people_are_told_of_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, [], tells_people=False) == ["door: live", "hall: live"]
