"""The stack with cameras that come on one after the other, and what it costs meanwhile."""

from __future__ import annotations

import time

import redis
from facestream.common.cameras.models import Camera
from facestream.common.cameras.registry import CameraRegistry
from facestream.common.core.errors import StartError

from benchmarks.clip import FPS
from benchmarks.fake_cameras import CameraBank
from benchmarks.stack_under_test import Reading, Rig

_LIVE_TIMEOUT_S = 20.0
_POLL_S = 0.1
_BROKER_TIMEOUT_S = 5.0


class Stage:
    """A running rig; cameras of the bank are added to it, paused and resumed, as on the page.

    Args:
        count_after_s: how long after a change nothing is measured.
    """

    def __init__(self, rig: Rig, bank: CameraBank, count_after_s: float) -> None:
        self.rig, self.bank = rig, bank
        self._settle_s = count_after_s
        broker = redis.Redis.from_url(rig.broker_url, socket_timeout=_BROKER_TIMEOUT_S)
        self._registry = CameraRegistry(broker)

    def show(self, *names: str) -> None:
        """Have these cameras read and no others; returns when they have settled.

        Raises:
            StartError: one does not come.
        """
        for name in self.bank.names:
            camera = Camera.parse(f"{name}={self.bank.url(name)}")
            self._registry.upsert(camera.model_copy(update={"paused": name not in names}))
        deadline = time.monotonic() + _LIVE_TIMEOUT_S
        while missing := [s for s in self._registry.statuses(names) if s.state != "live"]:
            if time.monotonic() > deadline:
                reasons = ", ".join(f"{s.name} is {s.state} {s.reason}".strip() for s in missing)
                raise StartError(f"no pictures came: {reasons}; {self.rig.lines[-3:]}")
            time.sleep(_POLL_S)
        time.sleep(self._settle_s)

    def window(self, seconds: float) -> Reading:
        """What is used and done in so many seconds from now."""
        before = self.rig.read()
        time.sleep(seconds)
        return self.rig.read().since(before)


def frames(window: Reading) -> float:
    """Camera frames decoded; 1 at least, so that a share of them is a number."""
    return max(1.0, window.metrics.get("facestream_capture_frames_total", 0.0))


def per_frame_ms(window: Reading) -> float:
    """CPU of all services for each camera frame."""
    return 1000 * sum(window.cpu_s.values()) / frames(window)


def by_service_ms(window: Reading) -> dict[str, float]:
    """The same, of each service."""
    return {name: 1000 * cpu_s / frames(window) for name, cpu_s in window.cpu_s.items()}


def by_step_ms(window: Reading) -> dict[str, float]:
    """Time per camera frame of each step that the services time themselves, ms of wall clock."""
    sums = {k: v for k, v in window.metrics.items() if "_step_seconds_sum:" in k}
    return {
        f"{name.split('_')[1]} {name.split(':')[1]}": 1000 * seconds / frames(window)
        for name, seconds in sums.items()
    }


def share_received(window: Reading, cameras: int) -> float:
    """Of the frames that so many cameras sent."""
    return frames(window) / (window.at_s * FPS * cameras)
