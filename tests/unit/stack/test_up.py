from __future__ import annotations

import http.client
import os
import sys
import threading
from typing import Any

import pytest

from services.stack import up
from services.stack.front_door import FrontDoor
from services.stack.parts import Answer, Part
from tests.fixtures.waiting import wait_for

OPEN = FrontDoor("http://localhost:8080", "http://127.0.0.1:8080", {})


def test_a_probe_that_fails_in_a_new_way_does_not_end_the_asking() -> None:
    answers = iter([RuntimeError("odd"), http.client.IncompleteRead(b"{")])
    lines: list[str] = []

    def probe() -> Answer:
        for failure in answers:
            raise failure
        return Answer(True)

    command = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]
    stop = threading.Event()
    stack = up._Stack([Part("part", command, dict(os.environ), probe)], 60.0, lines.append, stop)
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

    def get(door: FrontDoor, path: str) -> Any:
        answer = answers.pop(0) if answers else []
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(FrontDoor, "get", get)
    monkeypatch.setattr(up, "_NEWS_S", 0.01)
    stop = threading.Event()
    telling = threading.Thread(target=up._tell_news, args=(OPEN, lines.append, stop))
    telling.start()
    try:
        wait_for(lambda: "door: live" in lines, "the camera's state", 10)
    finally:
        stop.set()
        telling.join(5)
