"""Drop counter: every face is counted, log lines are rate-limited."""

import pytest
from facestream.worker.drop_counter import DropCounter
from facestream.worker.metrics import WorkerMetrics
from prometheus_client import CollectorRegistry


def test_one_log_line_per_reason_summarizes_many_drops(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    registry = CollectorRegistry()
    drops = DropCounter(WorkerMetrics(registry), clock=lambda: now[0])
    for _ in range(5):
        drops.count("stale", 2, "too late")
    drops.count("invalid", 1, "half a JPEG")
    drops.count("not_ours", 0, "nobody")
    now[0] = 11.0
    drops.count("stale", 1, "too late")
    assert [r.getMessage() for r in caplog.records] == [
        "dropped 2 faces (stale): too late",
        "dropped 1 faces (invalid): half a JPEG",
        "dropped 9 faces (stale): too late",
    ]
    name = "facestream_worker_faces_dropped_total"
    assert registry.get_sample_value(name, {"reason": "stale"}) == 11
    assert registry.get_sample_value(name, {"reason": "invalid"}) == 1
