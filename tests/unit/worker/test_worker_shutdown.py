"""Shutdown of a worker whose batches hang."""

from __future__ import annotations

import threading
import time

import pytest
from facestream.worker import service
from facestream.worker.service import Worker
from facestream.worker.settings import WorkerSettings

from tests.fixtures.stack import free_port


def test_hanging_batches_delay_shutdown_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    released, stop = threading.Event(), threading.Event()
    monkeypatch.setattr(service, "_DRAIN_TIMEOUT_S", 0.3)
    monkeypatch.setattr(Worker, "_inference_loop", lambda self: released.wait(60))
    unreachable = f"redis://127.0.0.1:{free_port()}/0"
    worker = Worker(WorkerSettings.model_validate({"broker": unreachable, "health_port": 0}))
    for _ in range(worker._batches.maxsize):
        worker._batches.put([])
    stop.set()
    ending = threading.Thread(target=worker.run, args=(stop,), daemon=True)
    started = time.monotonic()
    ending.start()
    ending.join(30)
    released.set()
    assert not ending.is_alive(), f"still running after {time.monotonic() - started:.0f} s"
