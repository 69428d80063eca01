"""Kills one part of the running stack after the other; picture and results must come back by
themselves, a viewer who is there all the time must not be thrown out, and every face that was
published must be accounted for."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from facestream.common.broker.face_accounting import FaceAccounting, from_samples

from tests.fixtures.polling import wait_for
from tests.fixtures.stack import Stack, running_stack

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


class Viewer:
    """Watches the demo camera over one connection, from a thread."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._seen: set[bytes] = set()
        self._leaves = threading.Event()
        self.is_out = threading.Event()  # the connection ended
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *error: object) -> None:
        self._leaves.set()
        self._thread.join(10)

    def sees(self) -> bool:
        """Whether several different pictures of the live camera came since `forget`."""
        return len(self._seen) >= _NEW_PICTURES

    def forget(self) -> None:
        """Count anew."""
        self._seen = set()

    def _watch(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._stack.port, timeout=5)
        try:
            connection.request("GET", "/cameras/demo/stream.mjpg")
            answer = connection.getresponse()
            buffer = b""
            while not self._leaves.is_set() and answer.status == 200:
                chunk = answer.read1(65536)
                if not chunk:
                    return
                *whole, buffer = (buffer + chunk).split(b"\xff\xd9")
                # A notice is a picture too, but only of a camera that is not live.
                live = self._stack.get("/api/cameras") if whole and not self.sees() else None
                if live and live[0]["state"] == "live":
                    self._seen.update(picture[-2000:] for picture in whole)
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
            self.is_out.set()


def pictures(stack: Stack) -> bool:
    """Whether a new viewer gets several different pictures within a few seconds."""
    with Viewer(stack) as viewer:
        end_s = time.monotonic() + 5
        while not viewer.sees() and not viewer.is_out.is_set() and time.monotonic() < end_s:
            time.sleep(0.05)
        return viewer.sees()


def faces(stack: Stack, more_than: int = 0) -> FaceAccounting | None:
    """The ledger, once it tells of more faces than so many."""
    ledger = from_samples(stack.samples())
    return ledger if ledger.published > more_than else None


@pytest.mark.chaos
@pytest.mark.parametrize("part", PARTS)
def test_picture_and_results_come_back_after_a_part_was_killed(stack: Stack, part: str) -> None:
    before = stack.parts()
    assert set(before) == set(PARTS)
    ledger = wait_for(lambda: faces(stack), "a ledger")

    with Viewer(stack) as stays:
        wait_for(stays.sees, "pictures for the viewer who stays")
        os.kill(before[part], signal.SIGKILL)
        wait_for(lambda: stack.parts().get(part, before[part]) != before[part], "a new process")

        if part == "annotator":  # it held the connection
            assert wait_for(stays.is_out.is_set, "the end of the viewer's connection")
        else:
            stays.forget()
            wait_for(stays.sees, f"pictures without the old {part} over the old connection", BACK_S)
            assert not stays.is_out.is_set()
    assert wait_for(lambda: pictures(stack), f"pictures without the old {part}", BACK_S)
    results = stack.metric(_RESULTS)
    wait_for(lambda: stack.metric(_RESULTS) > results, f"results without the old {part}", BACK_S)
    told = wait_for(lambda: faces(stack, ledger.published), "more faces in the ledger")
    assert (told.unaccounted, ledger.unaccounted) == (0, 0)
    assert told.since(ledger).published > 0, "it goes on, whoever died"
    after = stack.parts()
    assert {name for name in PARTS if after[name] != before[name]} == {part}
    assert f"{part} was killed by signal 9; restarting in" in stack.output


@pytest.mark.chaos
def test_nothing_is_left_when_the_supervisor_itself_was_killed(stack: Stack) -> None:
    parts = stack.parts()
    assert set(parts) == set(PARTS)

    os.kill(stack.process.pid, signal.SIGKILL)
    stack.process.wait(5)

    wait_for(lambda: not stack.left(parts), "all parts gone", 15)
