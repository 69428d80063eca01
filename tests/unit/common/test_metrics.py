"""One naming rule, and nothing kept of a camera that is gone."""

import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from services.common import metrics

ALL = (
    metrics.CaptureMetrics,
    metrics.WorkerMetrics,
    metrics.ModelServerMetrics,
    metrics.AnnotatorMetrics,
)


@pytest.mark.parametrize("cls", ALL)
def test_every_name_follows_the_rule(cls: type) -> None:
    registry = CollectorRegistry()
    cls(registry)
    for metric in registry.collect():
        assert re.fullmatch(rf"facestream_{cls.service}_[a-z0-9_]+", metric.name), metric.name  # type: ignore[attr-defined]
        assert metric.documentation


def test_a_removed_camera_leaves_no_series() -> None:
    registry = CollectorRegistry()
    capture = metrics.CaptureMetrics(registry)
    capture.frames.labels("door").inc()
    capture.faces_dropped.labels("door", "overflow").inc()
    capture.faces_dropped.labels("till", "overflow").inc()
    capture.forget_camera("door")
    text = generate_latest(registry).decode()
    assert "door" not in text
    assert "till" in text
