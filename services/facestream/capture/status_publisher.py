"""Publish camera statuses to the broker and count cameras by state."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from facestream.capture.metrics import CaptureMetrics
from facestream.common.cameras.models import STATES, CameraStatus
from facestream.common.cameras.registry import CameraRegistry

STATUS_INTERVAL_S = 1.0


class StatusPublisher:
    """Publisher of camera statuses: all of them once per second, changed ones at once.

    Args:
        registry: where statuses are written.
        metrics: of capture.
    """

    def __init__(self, registry: CameraRegistry, metrics: CaptureMetrics) -> None:
        self._registry, self._metrics = registry, metrics
        self._published: dict[str, CameraStatus] = {}
        self._published_all_at = -math.inf

    def update_metrics(self, statuses: Iterable[CameraStatus]) -> None:
        """Count the cameras by state."""
        counts = dict.fromkeys(STATES, 0)
        for status in statuses:
            counts[status.state] += 1
        for state, count in counts.items():
            self._metrics.cameras.labels(state).set(count)

    def publish(self, statuses: list[CameraStatus]) -> None:
        """Write the statuses that are due.

        Raises:
            BROKER_ERRORS: the broker is unavailable.
        """
        now = time.monotonic()
        if now - self._published_all_at >= STATUS_INTERVAL_S:
            self._published_all_at, due = now, statuses
        else:
            due = [
                status for status in statuses if _changed(self._published.get(status.name), status)
            ]
        if due:
            self._registry.publish_statuses(due)
        self._published = {status.name: status for status in statuses}


def _changed(before: CameraStatus | None, now: CameraStatus) -> bool:
    return before is None or (
        (before.state, before.reason, before.width, before.height)
        != (now.state, now.reason, now.width, now.height)
    )
