"""Dashboards match their modules and query only exported series."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml
from facestream.annotator.metrics import AnnotatorMetrics
from facestream.capture.metrics import CaptureMetrics
from facestream.model_server.metrics import ModelServerMetrics
from facestream.worker.metrics import WorkerMetrics
from prometheus_client import CollectorRegistry

from deploy.grafana import make_dashboards
from tests.fixtures.deploy import DEPLOY

# Of the Redis exporter and of Prometheus itself; the integration test covers them live.
OTHERS = {"up", "redis_up", "redis_memory_used_bytes", "redis_memory_max_bytes"}
PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}


def rules() -> list[dict[str, Any]]:
    files = ("recording.yml", "alerts.yml")
    texts = [(DEPLOY / "prometheus" / "rules" / name).read_text() for name in files]
    return [r for text in texts for group in yaml.safe_load(text)["groups"] for r in group["rules"]]


def exported() -> set[str]:
    """Return the name of every series that a service exports and of every recorded one."""
    names = set(OTHERS | PROCESS)
    for cls in (
        CaptureMetrics,
        WorkerMetrics,
        ModelServerMetrics,
        AnnotatorMetrics,
    ):
        registry = CollectorRegistry()
        cls(registry)
        for metric in registry.collect():
            if metric.type == "counter":
                names.add(f"{metric.name}_total")
            elif metric.type == "histogram":
                names |= {f"{metric.name}_{part}" for part in ("bucket", "sum", "count")}
            else:
                names.add(metric.name)
    return names | {rule["record"] for rule in rules() if "record" in rule}


def queried(node: Any) -> Iterator[str]:
    """Yield the series names in a parsed query."""
    if isinstance(node, promql_parser.VectorSelector):
        if node.name:
            yield node.name
    elif isinstance(node, promql_parser.MatrixSelector):
        yield from queried(node.vector_selector)
    elif isinstance(node, promql_parser.Call):
        for argument in node.args:
            yield from queried(argument)
    else:
        for part in ("expr", "lhs", "rhs"):
            if (inner := getattr(node, part, None)) is not None:
                yield from queried(inner)


def parsed(query: str) -> Any:
    return promql_parser.parse(query.replace("$__rate_interval", "1m"))


@pytest.mark.parametrize("name", ["overview.json", "camera.json", "audience.json"])
def test_committed_dashboards_match_their_modules(name: str) -> None:
    committed = (DEPLOY / "grafana" / "dashboards" / name).read_text()
    assert committed == make_dashboards.dashboards()[name], (
        "run python -m deploy.grafana.make_dashboards"
    )


def test_every_panel_queries_existing_series() -> None:
    known, seen = exported(), set()
    for text in make_dashboards.dashboards().values():
        for panel in json.loads(text)["panels"]:
            assert panel["targets"], panel["title"]
            for target in panel["targets"]:
                names = set(queried(parsed(target["expr"])))
                assert names, target["expr"]
                assert names <= known, f"{panel['title']}: {names - known}"
                seen |= names
    assert {"facestream_worker_inference_request_seconds_bucket", "redis_memory_max_bytes"} <= seen


def test_every_rule_queries_existing_series() -> None:
    known = exported()
    for rule in rules():
        missing = set(queried(parsed(rule["expr"]))) - known
        assert not missing, f"{rule}: {missing}"


def test_the_broker_errors_of_each_service_match_the_alert() -> None:
    (rule,) = [rule for rule in rules() if rule.get("alert") == "BrokerErrors"]
    pattern = re.search(r'__name__=~"([^"]+)"', rule["expr"])
    assert pattern
    matched = {name for name in exported() if re.fullmatch(pattern[1], name)}
    assert {name.split("_")[1] for name in matched} == {"capture", "worker", "annotator"}


def test_panels_do_not_overlap_and_fit_the_width() -> None:
    for text in make_dashboards.dashboards().values():
        positions = [panel["gridPos"] for panel in json.loads(text)["panels"]]
        cells = {
            (x, y)
            for p in positions
            for x in range(p["x"], p["x"] + p["w"])
            for y in range(p["y"], p["y"] + p["h"])
        }
        assert len(cells) == sum(p["w"] * p["h"] for p in positions)
        assert all(p["x"] + p["w"] <= 24 for p in positions)
