"""Kills one part of the running stack after the other; picture and results must come back by
themselves."""

from __future__ import annotations

import http.client
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.stack import Stack, running_stack, wait_for

PARTS = ("demo-camera", "broker", "model-server", "worker", "capture", "annotator")
BACK_S = 45.0
_NEW_PICTURES = 3
_RESULTS = "facestream_annotator_results_total"


@pytest.fixture(scope="module")
def stack(pytestconfig: pytest.Config) -> Iterator[Stack]:
    cache = Path(pytestconfig.cache.mkdir("demo")) if pytestconfig.cache else Path("/tmp")
    with running_stack("--demo", cache=cache) as running:
        wait_for(lambda: pictures(running), "first pictures")
        wait_for(lambda: running.metric(_RESULTS) > 0, "first results")
        yield running


def pictures(stack: Stack) -> bool:
    """Whether a viewer gets several different pictures within a few seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=5)
    seen: set[bytes] = set()
    end_s = time.monotonic() + 5
    try:
        connection.request("GET", "/cameras/demo/stream.mjpg")
        answer = connection.getresponse()
        buffer = b""
        while len(seen) < _NEW_PICTURES and time.monotonic() < end_s and answer.status == 200:
            chunk = answer.read1(65536)
            if not chunk:
                return False
            *whole, buffer = (buffer + chunk).split(b"\xff\xd9")
            live = stack.get("/api/cameras")
            if live and live[0]["state"] == "live":
                seen.update(picture[-2000:] for picture in whole)
        return len(seen) >= _NEW_PICTURES
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@pytest.mark.chaos
@pytest.mark.parametrize("part", PARTS)
def test_picture_and_results_come_back_after_a_part_was_killed(stack: Stack, part: str) -> None:
    before = stack.parts()
    assert set(before) == set(PARTS)

    os.kill(before[part], signal.SIGKILL)
    wait_for(lambda: stack.parts().get(part, before[part]) != before[part], "a new process")

    assert wait_for(lambda: pictures(stack), f"pictures without the old {part}", BACK_S)
    results = stack.metric(_RESULTS)
    wait_for(lambda: stack.metric(_RESULTS) > results, f"results without the old {part}", BACK_S)
    after = stack.parts()
    assert {name for name in PARTS if after[name] != before[name]} == {part}
    assert f"{part} was killed by signal 9; starting it again" in stack.output


@pytest.mark.chaos
def test_nothing_is_left_when_the_supervisor_itself_was_killed(stack: Stack) -> None:
    parts = stack.parts()
    assert set(parts) == set(PARTS)

    os.kill(stack.process.pid, signal.SIGKILL)
    stack.process.wait(5)

    wait_for(lambda: not stack.left(parts), "all parts gone", 15)
