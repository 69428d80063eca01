"""Does a fault to a scene, and undoes it."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import redis

from tests.soak.environment import Scene
from tests.soak.fault_proxy import State
from tests.soak.faults import Fault

# A slowed process runs for a fifth of the time.
_RUNS_S, _RESTS_S = 0.02, 0.08
_LINK_STATES: dict[str, State] = {"cut": "cut", "held": "held", "slow": "slow"}
_CAMERA_STATES: dict[str, State] = {"closes": "cut", "stalls": "held", "garbage": "garbage"}
_NO_ROOM_BYTES = 1


@contextmanager
def hurt(scene: Scene, fault: Fault) -> Iterator[None]:
    """The fault is done while the block runs, and undone after it where it can be."""
    with _deed(scene, fault):
        yield


def _deed(scene: Scene, fault: Fault) -> contextlib.AbstractContextManager[None]:
    if fault.kind in _LINK_STATES:
        return _link(scene.links[fault.target], _LINK_STATES[fault.kind])
    if fault.kind in _CAMERA_STATES:
        return _link(scene.camera, _CAMERA_STATES[fault.kind])
    deeds: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
        "killed": lambda: _killed(scene.stack.parts()[fault.target]),
        "stopped": lambda: _stopped(scene.stack.parts()[fault.target]),
        "slowed": lambda: _slowed(scene.stack.parts()[fault.target]),
        "no memory": lambda: _no_memory(scene.watch.broker()),
        "disk full": lambda: _disk_full(scene.stack.parts()["annotator"]),
        "changes size": lambda: _resized(scene),
    }
    return deeds[fault.kind]()


@contextmanager
def _link(link: Any, state: State) -> Iterator[None]:
    link.become(state)
    try:
        yield
    finally:
        link.become("ok")


@contextmanager
def _killed(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGKILL)
    yield


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        _go_on(pid)


@contextmanager
def _slowed(pid: int) -> Iterator[None]:
    over = threading.Event()

    def slow() -> None:
        with contextlib.suppress(ProcessLookupError):
            while not over.is_set():
                os.kill(pid, signal.SIGSTOP)
                time.sleep(_RESTS_S)
                os.kill(pid, signal.SIGCONT)
                time.sleep(_RUNS_S)

    thread = threading.Thread(target=slow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _go_on(pid)


def _go_on(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


@contextmanager
def _no_memory(broker: redis.Redis) -> Iterator[None]:
    """The broker has all the memory it may have: it refuses every write."""
    limit: Any = broker.config_get("maxmemory")
    broker.config_set("maxmemory", 1)
    try:
        yield
    finally:
        with contextlib.suppress(redis.RedisError, OSError):  # it may have been killed meanwhile
            broker.config_set("maxmemory", limit["maxmemory"])


@contextmanager
def _disk_full(pid: int) -> Iterator[None]:
    """No file of the process may grow."""
    process = psutil.Process(pid)
    before = process.rlimit(resource.RLIMIT_FSIZE)
    process.rlimit(resource.RLIMIT_FSIZE, (_NO_ROOM_BYTES, before[1]))
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.rlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def _resized(scene: Scene) -> Iterator[None]:
    scene.resize()
    yield
