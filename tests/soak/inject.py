"""Inject a fault into a soak environment, and revert it."""

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

from tests.soak.environment import SoakEnvironment
from tests.soak.fault_proxy import State
from tests.soak.faults import Fault

# A slowed process runs 20 % of the time.
_RUN_S, _STOP_S = 0.02, 0.08
_LINK_STATES: dict[str, State] = {"cut": "cut", "held": "held", "slow": "slow"}
_CAMERA_STATES: dict[str, State] = {"closes": "cut", "stalls": "held", "garbage": "garbage"}
_FILE_LIMIT_BYTES = 1


@contextmanager
def inject(env: SoakEnvironment, fault: Fault) -> Iterator[None]:
    """Apply the fault while the block runs, and revert it afterwards if possible."""
    with _inject_kind(env, fault):
        yield


def _inject_kind(env: SoakEnvironment, fault: Fault) -> contextlib.AbstractContextManager[None]:
    if fault.kind in _LINK_STATES:
        return _link(env.links[fault.target], _LINK_STATES[fault.kind])
    if fault.kind in _CAMERA_STATES:
        return _link(env.camera, _CAMERA_STATES[fault.kind])
    injectors: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
        "killed": lambda: _killed(env.stack.parts()[fault.target]),
        "stopped": lambda: _stopped(env.stack.parts()[fault.target]),
        "slowed": lambda: _slowed(env.stack.parts()[fault.target]),
        "no memory": lambda: _no_memory(env.probe.broker()),
        "disk full": lambda: _disk_full(env.stack.parts()["annotator"]),
        "changes size": lambda: _resized(env),
    }
    return injectors[fault.kind]()


@contextmanager
def _link(link: Any, state: State) -> Iterator[None]:
    link.set_state(state)
    try:
        yield
    finally:
        link.set_state("ok")


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
        _resume(pid)


@contextmanager
def _slowed(pid: int) -> Iterator[None]:
    over = threading.Event()

    def slow() -> None:
        with contextlib.suppress(ProcessLookupError):
            while not over.is_set():
                os.kill(pid, signal.SIGSTOP)
                time.sleep(_STOP_S)
                os.kill(pid, signal.SIGCONT)
                time.sleep(_RUN_S)

    thread = threading.Thread(target=slow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _resume(pid)


def _resume(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


@contextmanager
def _no_memory(broker: redis.Redis) -> Iterator[None]:
    """Set the broker's memory limit to 1 byte: it rejects every write."""
    limit: Any = broker.config_get("maxmemory")
    broker.config_set("maxmemory", 1)
    try:
        yield
    finally:
        with contextlib.suppress(redis.RedisError, OSError):  # another fault may have killed it
            broker.config_set("maxmemory", limit["maxmemory"])


@contextmanager
def _disk_full(pid: int) -> Iterator[None]:
    """Limit the file size of the process, so that writes fail."""
    process = psutil.Process(pid)
    before = process.rlimit(resource.RLIMIT_FSIZE)
    process.rlimit(resource.RLIMIT_FSIZE, (_FILE_LIMIT_BYTES, before[1]))
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.rlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def _resized(env: SoakEnvironment) -> Iterator[None]:
    env.resize()
    yield
