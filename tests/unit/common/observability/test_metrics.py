"""One naming rule, and nothing kept of a camera that is gone."""

import re
import sys

import pytest
from facestream.annotator.metrics import AnnotatorMetrics
from facestream.capture.metrics import CaptureMetrics
from facestream.model_server.metrics import ModelServerMetrics
from facestream.worker.metrics import WorkerMetrics
from facestream.worker.settings import WorkerSettings
from prometheus_client import CollectorRegistry, generate_latest

ALL = (
    CaptureMetrics,
    WorkerMetrics,
    ModelServerMetrics,
    AnnotatorMetrics,
)


@pytest.mark.parametrize("cls", ALL)
def test_every_name_follows_the_rule(cls: type) -> None:
    registry = CollectorRegistry()
    cls(registry)
    own = [metric for metric in registry.collect() if not metric.name.startswith("process_")]
    assert own
    for metric in own:
        assert re.fullmatch(rf"facestream_{cls.service}_[a-z0-9_]+", metric.name), metric.name  # type: ignore[attr-defined]
        assert metric.documentation


def test_a_removed_camera_leaves_no_series() -> None:
    registry = CollectorRegistry()
    capture = CaptureMetrics(registry)
    capture.frames.labels("door").inc()
    capture.faces_dropped.labels("door", "overflow").inc()
    capture.faces_dropped.labels("till", "overflow").inc()
    capture.forget_camera("door")
    text = generate_latest(registry).decode()
    assert "door" not in text
    assert "till" in text


def test_the_largest_batch_has_a_bucket() -> None:
    registry = CollectorRegistry()
    worker = WorkerMetrics(registry)
    limit = WorkerSettings.model_json_schema()["properties"]["max_batch_size"]["maximum"]
    worker.batch_size.observe(limit)
    labels = {"le": str(float(limit))}
    assert registry.get_sample_value("facestream_worker_batch_size_bucket", labels) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_every_service_tells_its_cpu_time_and_memory() -> None:
    registry = CollectorRegistry()
    WorkerMetrics(registry)
    assert (registry.get_sample_value("process_cpu_seconds_total") or 0) > 0
    assert (registry.get_sample_value("process_resident_memory_bytes") or 0) > 1e6
