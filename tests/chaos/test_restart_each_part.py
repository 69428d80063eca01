"""Kill each process of a running stack in turn, and check the recovery.

Frames and results resume without help, a connected viewer stays connected, and every published face
has an outcome.
"""

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
_NEW_FRAMES = 3
_RESULTS = "facestream_annotator_results_total"


@pytest.fixture(scope="module")
def stack(pytestconfig: pytest.Config) -> Iterator[Stack]:
    cache = Path(pytestconfig.cache.mkdir("demo")) if pytestconfig.cache else Path("/tmp")
    with running_stack("--demo", cache=cache) as running:
        wait_for(lambda: has_live_video(running), "first frames")
        wait_for(lambda: running.metric(_RESULTS) > 0, "first results")
        yield running


class Viewer:
    """MJPEG viewer of the demo camera over one connection, in a thread."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._seen: set[bytes] = set()
        self._stop = threading.Event()
        self.is_disconnected = threading.Event()  # the connection ended
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def has_new_frames(self) -> bool:
        """Return whether several different live frames arrived since `reset`."""
        return len(self._seen) >= _NEW_FRAMES

    def reset(self) -> None:
        """Forget all frames so far."""
        self._seen = set()

    def _watch(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._stack.port, timeout=5)
        try:
            connection.request("GET", "/cameras/demo/stream.mjpg")
            response = connection.getresponse()
            buffer = b""
            while not self._stop.is_set() and response.status == 200:
                chunk = response.read1(65536)
                if not chunk:
                    return
                *whole, buffer = (buffer + chunk).split(b"\xff\xd9")
                # A placeholder is a JPEG too, but only of a camera that is not live.
                live = (
                    self._stack.get("/api/cameras") if whole and not self.has_new_frames() else None
                )
                if live and live[0]["state"] == "live":
                    self._seen.update(jpeg[-2000:] for jpeg in whole)
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
            self.is_disconnected.set()


def has_live_video(stack: Stack) -> bool:
    """Return whether a new viewer gets several different frames within 5 s."""
    with Viewer(stack) as viewer:
        end_s = time.monotonic() + 5
        while (
            not viewer.has_new_frames()
            and not viewer.is_disconnected.is_set()
            and time.monotonic() < end_s
        ):
            time.sleep(0.05)
        return viewer.has_new_frames()


def faces(stack: Stack, more_than: int = 0) -> FaceAccounting | None:
    """Return the face accounting once more than `more_than` faces were published."""
    accounting = from_samples(stack.samples())
    return accounting if accounting.published > more_than else None


@pytest.mark.chaos
@pytest.mark.parametrize("part", PARTS)
def test_frames_and_results_resume_after_a_process_is_killed(stack: Stack, part: str) -> None:
    before = stack.parts()
    assert set(before) == set(PARTS)
    accounting = wait_for(lambda: faces(stack), "face accounting")

    with Viewer(stack) as viewer:
        wait_for(viewer.has_new_frames, "frames for the connected viewer")
        os.kill(before[part], signal.SIGKILL)
        wait_for(lambda: stack.parts().get(part, before[part]) != before[part], "a new process")

        if part == "annotator":  # it held the connection
            assert wait_for(viewer.is_disconnected.is_set, "the end of the viewer's connection")
        else:
            viewer.reset()
            wait_for(
                viewer.has_new_frames,
                f"frames over the old connection after {part} was killed",
                BACK_S,
            )
            assert not viewer.is_disconnected.is_set()
    assert wait_for(lambda: has_live_video(stack), f"frames after {part} was killed", BACK_S)
    results = stack.metric(_RESULTS)
    wait_for(lambda: stack.metric(_RESULTS) > results, f"results after {part} was killed", BACK_S)
    after_kill = wait_for(lambda: faces(stack, accounting.published), "more published faces")
    assert (after_kill.unaccounted, accounting.unaccounted) == (0, 0)
    assert after_kill.since(accounting).published > 0, "faces are published again"
    after = stack.parts()
    assert {name for name in PARTS if after[name] != before[name]} == {part}
    assert f"{part} was killed by signal 9; restarting in" in stack.output


@pytest.mark.chaos
def test_no_process_is_left_after_the_supervisor_is_killed(stack: Stack) -> None:
    parts = stack.parts()
    assert set(parts) == set(PARTS)

    os.kill(stack.process.pid, signal.SIGKILL)
    stack.process.wait(5)

    wait_for(lambda: not stack.left(parts), "all parts gone", 15)
