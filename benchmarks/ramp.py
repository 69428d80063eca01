"""Activate cameras on a running stack and measure its cost per camera frame."""

from __future__ import annotations

import time

import redis
from facestream.common.cameras.models import Camera
from facestream.common.cameras.registry import CameraRegistry
from facestream.common.core.errors import StartError

from benchmarks.clip import FPS
from benchmarks.fake_cameras import CameraBank
from benchmarks.stack_under_test import CounterSnapshot, StackUnderTest

_LIVE_TIMEOUT_S = 20.0
_POLL_S = 0.1
_BROKER_TIMEOUT_S = 5.0


class CameraRamp:
    """Cameras that are added, paused and resumed on a running stack, as in the web UI.

    Args:
        settle_s: time after a change before a measurement may start.
    """

    def __init__(self, sut: StackUnderTest, bank: CameraBank, settle_s: float) -> None:
        self.sut, self.bank = sut, bank
        self._settle_s = settle_s
        broker = redis.Redis.from_url(sut.broker_url, socket_timeout=_BROKER_TIMEOUT_S)
        self._registry = CameraRegistry(broker)

    def activate(self, *names: str) -> None:
        """Read these cameras and no others; return when they have settled.

        Raises:
            StartError: a camera does not become live.
        """
        for name in self.bank.names:
            camera = Camera.parse(f"{name}={self.bank.url(name)}")
            self._registry.upsert(camera.model_copy(update={"paused": name not in names}))
        deadline = time.monotonic() + _LIVE_TIMEOUT_S
        while missing := [s for s in self._registry.statuses(names) if s.state != "live"]:
            if time.monotonic() > deadline:
                reasons = ", ".join(f"{s.name} is {s.state} {s.reason}".strip() for s in missing)
                raise StartError(f"no frames arrived: {reasons}; {self.sut.lines[-3:]}")
            time.sleep(_POLL_S)
        time.sleep(self._settle_s)

    def measure(self, seconds: float) -> CounterSnapshot:
        """Measure for `seconds` and return the increase of all counters."""
        before = self.sut.read()
        time.sleep(seconds)
        return self.sut.read().since(before)


def frames(window: CounterSnapshot) -> float:
    """Return the number of decoded camera frames, at least 1 because it is a divisor."""
    return max(1.0, window.metrics.get("facestream_capture_frames_total", 0.0))


def per_frame_ms(window: CounterSnapshot) -> float:
    """Return the CPU of all services per camera frame, in ms."""
    return 1000 * sum(window.cpu_s.values()) / frames(window)


def by_service_ms(window: CounterSnapshot) -> dict[str, float]:
    """Return the CPU per camera frame of each service, in ms."""
    return {name: 1000 * cpu_s / frames(window) for name, cpu_s in window.cpu_s.items()}


def by_stage_ms(window: CounterSnapshot) -> dict[str, float]:
    """Return the wall-clock time per camera frame of each pipeline stage, in ms."""
    sums = {k: v for k, v in window.metrics.items() if "_stage_duration_seconds_sum:" in k}
    return {
        f"{name.split('_')[1]} {name.split(':')[1]}": 1000 * seconds / frames(window)
        for name, seconds in sums.items()
    }


def share_received(window: CounterSnapshot, cameras: int) -> float:
    """Return the share of frames received, of those that `cameras` cameras sent."""
    return frames(window) / (window.time_s * FPS * cameras)
