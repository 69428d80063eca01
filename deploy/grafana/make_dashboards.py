"""Writes the Grafana dashboards: `python deploy/grafana/make_dashboards.py`.

A dashboard is a list of panels, a panel a title and its queries; places, ids and everything that
Grafana wants besides follow from these. The JSON files are committed; a test holds them to this
script, and every query to the metrics that exist.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "dashboards"
_DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
_WIDTH = 24  # Grafana's columns
_SCHEMA = 39
_RATE = "[$__rate_interval]"
_CAMERA = '{camera=~"$camera"}'


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression and how its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph over time, or with `kind` "stat" a single figure.

    unit: Grafana's name of it (`s`, `percentunit`, `bytes`, `short`).
    red_from: a figure is shown red from this value on.
    """

    title: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    help: str = ""
    red_from: float | None = None


def rate(metric: str, by: str = "", labels: str = "") -> str:
    """Per second, summed; 0 where nothing was counted yet."""
    grouped = f"sum by ({by})" if by else "sum"
    return f"{grouped} (rate({metric}{labels}{_RATE})) or on () vector(0)"


def quantiles(metric: str, by: str = "") -> list[Query]:
    """Median, 95th and 99th percentile of a histogram of seconds."""
    buckets = f"sum by ({f'le, {by}' if by else 'le'}) (rate({metric}_bucket{_RATE}))"
    legend = f" {{{{{by}}}}}" if by else ""
    return [
        Query(f"histogram_quantile({share}, {buckets})", f"{name}{legend}")
        for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    ]


def stat(
    title: str, expr: str, unit: str = "short", *, red_from: float | None = None, help: str = ""
) -> Panel:
    """One figure, an eighth of the width."""
    return Panel(title, [Query(expr)], unit, "stat", 3, help, red_from)


OVERVIEW = [
    stat("Cameras live", "facestream:cameras_live"),
    stat("Cameras down", "facestream:cameras_down", red_from=1),
    stat("People in view", "sum(facestream_annotator_people)"),
    stat("Frames a second", "sum(camera:frames:rate1m)"),
    stat("Faces answered a second", "facestream:faces_answered:rate1m"),
    stat("Result after (p95)", "facestream:result_latency_seconds:p95", "s", red_from=2),
    stat("Oldest waiting face", "facestream:oldest_face_seconds", "s", red_from=2),
    stat("Viewers", "sum(facestream_annotator_viewers) or vector(0)"),
    Panel(
        "Frames a second", [Query(rate("facestream_capture_frames_total", "camera"), "{{camera}}")]
    ),
    Panel(
        "Faces a second",
        [
            Query(rate("facestream_capture_faces_found_total"), "found"),
            Query(rate("facestream_capture_faces_published_total"), "sent to workers"),
            Query(rate("facestream_worker_faces_answered_total"), "answered"),
            Query("facestream:faces_dropped:rate1m", "dropped"),
        ],
    ),
    Panel(
        "Drops a second, by reason",
        [
            Query(rate("facestream_capture_frames_dropped_total", "reason"), "frame: {{reason}}"),
            Query(rate("facestream_capture_faces_dropped_total", "reason"), "face: {{reason}}"),
            Query(rate("facestream_worker_faces_dropped_total", "reason"), "worker: {{reason}}"),
            Query(
                rate("facestream_annotator_results_dropped_total", "reason"), "result: {{reason}}"
            ),
        ],
        help="Nothing is dropped without being counted: overflow and stale mean too few workers.",
    ),
    Panel(
        "Faces since the broker began, by what became of them",
        [
            Query("max by (fate) (facestream_worker_ledger_faces)", "{{fate}}"),
            Query("max(facestream_worker_unexplained_faces)", "unexplained"),
        ],
        help="published = all the others together; unexplained is 0.",
    ),
    Panel(
        "From a face's capture to its result",
        quantiles("facestream_annotator_result_latency_seconds"),
        "s",
    ),
    Panel(
        "From a frame's capture to its picture",
        quantiles("facestream_annotator_picture_latency_seconds"),
        "s",
        help="Only while somebody watches: else no picture is made.",
    ),
    Panel(
        "One request to the model server",
        quantiles("facestream_worker_rpc_seconds", "model"),
        "s",
    ),
    Panel(
        "Faces waiting",
        [
            Query("facestream:backlog_faces", "faces"),
            Query("facestream:oldest_face_seconds", "age of the oldest, s"),
        ],
    ),
    Panel(
        "Faces per request",
        [
            Query(
                f"sum(rate(facestream_worker_batch_faces_sum{_RATE})) / "
                f"sum(rate(facestream_worker_batch_faces_count{_RATE}))",
                "mean",
            )
        ],
    ),
    Panel(
        "Errors a second",
        [
            Query(rate("facestream_worker_rpc_errors_total", "code"), "model server: {{code}}"),
            Query(rate("facestream_capture_broker_errors_total"), "capture: broker"),
            Query(rate("facestream_worker_broker_errors_total"), "worker: broker"),
            Query(rate("facestream_annotator_broker_errors_total"), "annotator: broker"),
        ],
    ),
    Panel(
        "Cameras by capture replica",
        [
            Query("facestream_capture_leases", "{{instance}}"),
            Query(rate("facestream_capture_leases_lost_total"), "taken over, a second"),
        ],
        help="Replicas share the cameras evenly; one that is silent for 5 s loses its own.",
    ),
    Panel(
        "CPU",
        [Query("job:process_cpu_seconds:rate1m", "{{job}}")],
        "percentunit",
        help="1 is one core. TensorFlow Serving does not tell its own.",
    ),
    Panel("Memory", [Query("sum by (job) (process_resident_memory_bytes)", "{{job}}")], "bytes"),
    Panel(
        "Memory of the broker",
        [
            Query("redis_memory_used_bytes", "used"),
            Query("redis_memory_max_bytes", "at most"),
        ],
        "bytes",
    ),
]

CAMERA = [
    stat("Frames a second", f"sum(camera:frames:rate1m{_CAMERA})"),
    stat("Faces followed", f"sum(facestream_capture_tracks{_CAMERA})"),
    stat("People in view", f"sum(facestream_annotator_people{_CAMERA})"),
    stat("Viewers", f"sum(facestream_annotator_viewers{_CAMERA}) or vector(0)"),
    stat(
        "Reconnections, last hour",
        f"sum(increase(facestream_capture_reconnects_total{_CAMERA}[1h])) or vector(0)",
        red_from=5,
    ),
    stat("Results, last hour", f"sum(increase(facestream_annotator_results_total{_CAMERA}[1h]))"),
    Panel(
        "Frames a second",
        [
            Query(rate("facestream_capture_frames_total", "camera", _CAMERA), "read {{camera}}"),
            Query(
                rate("facestream_capture_frames_published_total", "camera", _CAMERA),
                "sent with picture {{camera}}",
            ),
            Query(
                rate("facestream_annotator_frames_drawn_total", "camera", _CAMERA),
                "drawn {{camera}}",
            ),
        ],
        width=12,
    ),
    Panel(
        "Frames dropped a second",
        [
            Query(
                rate("facestream_capture_frames_dropped_total", "camera, reason", _CAMERA),
                "{{camera}} capture: {{reason}}",
            ),
            Query(
                rate("facestream_annotator_frames_dropped_total", "camera, reason", _CAMERA),
                "{{camera}} annotator: {{reason}}",
            ),
            Query(
                rate("facestream_annotator_viewer_frames_skipped_total", "camera", _CAMERA),
                "{{camera}} skipped for slow viewers",
            ),
        ],
        width=12,
    ),
    Panel(
        "Detector runs a second",
        [Query(rate("facestream_capture_detections_total", "camera", _CAMERA), "{{camera}}")],
    ),
    Panel(
        "Faces a second",
        [
            Query(
                rate("facestream_capture_faces_found_total", "camera", _CAMERA), "found {{camera}}"
            ),
            Query(
                rate("facestream_capture_faces_published_total", "camera", _CAMERA),
                "sent {{camera}}",
            ),
            Query(
                rate("facestream_annotator_results_total", "camera", _CAMERA), "result {{camera}}"
            ),
        ],
    ),
    Panel(
        "Faces dropped a second",
        [
            Query(
                rate("facestream_capture_faces_dropped_total", "camera, reason", _CAMERA),
                "{{camera}} {{reason}}",
            )
        ],
    ),
]

_VISITS = "facestream_annotator_visits_total"

AUDIENCE = [
    stat("People counted, last hour", f"sum(increase({_VISITS}[1h])) or on () vector(0)"),
    stat("People counted, last 24 h", f"sum(increase({_VISITS}[24h])) or on () vector(0)"),
    stat("People in view now", "sum(facestream_annotator_people)"),
    stat("Most at a time, last hour", "max_over_time(sum(facestream_annotator_people)[1h:])"),
    stat("Mean in view, last hour", "sum(avg_over_time(facestream_annotator_people[1h]))"),
    stat(
        "Minutes looked on, last hour",
        "60 * sum(avg_over_time(facestream_annotator_people[1h]))",
        help="The sum over all people of the time each was in view.",
    ),
    stat("Answers, last hour", "sum(increase(facestream_annotator_results_total[1h]))"),
    Panel(
        "People in view",
        [Query("sum by (camera) (facestream_annotator_people)", "{{camera}}")],
        width=24,
    ),
    Panel(
        "People counted, by hour",
        [Query(f"sum by (camera) (increase({_VISITS}[1h]))", "{{camera}}")],
        help="Each person once a visit. Exact numbers are on the page: Prometheus estimates them.",
    ),
    Panel(
        "By age band, by hour",
        [Query(f"sum by (age_band) (increase({_VISITS}[1h]))", "{{age_band}}")],
    ),
    Panel(
        "By gender, by hour",
        [Query(f"sum by (gender) (increase({_VISITS}[1h]))", "{{gender}}")],
    ),
    Panel(
        "Mean in view, by hour",
        [Query("sum by (camera) (avg_over_time(facestream_annotator_people[1h]))", "{{camera}}")],
        width=12,
    ),
    Panel(
        "Most at a time, by hour",
        [Query("max by (camera) (max_over_time(facestream_annotator_people[1h]))", "{{camera}}")],
        width=12,
    ),
]


def dashboard(uid: str, title: str, panels: Sequence[Panel], *, by_camera: bool) -> dict[str, Any]:
    """What Grafana reads."""
    camera_variable = {
        "name": "camera",
        "label": "Camera",
        "type": "query",
        "datasource": _DATASOURCE,
        "query": {"query": "label_values(facestream_capture_frames_total, camera)", "refId": "a"},
        "definition": "label_values(facestream_capture_frames_total, camera)",
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": "All", "value": "$__all"},
    }
    return {
        "uid": f"facestream-{uid}",
        "title": title,
        "tags": ["facestream"],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [camera_variable] if by_camera else []},
        "links": [
            {
                "title": "facestream",
                "type": "dashboards",
                "tags": ["facestream"],
                "asDropdown": True,
                "keepTime": True,
            }
        ],
        "panels": _placed(panels),
    }


def _placed(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Panels left to right and row by row; a row is as high as its first."""
    placed = []
    x = y = height = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > _WIDTH or (x and height != _height(panel)):
            x, y = 0, y + height
        height = _height(panel)
        placed.append(_panel(number, panel, {"x": x, "y": y, "w": panel.width, "h": height}))
        x += panel.width
    return placed


def _height(panel: Panel) -> int:
    return 4 if panel.kind == "stat" else 8


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red_from is not None:
        steps.append({"color": "red", "value": panel.red_from})
    options: dict[str, Any] = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    custom: dict[str, Any] = {"fillOpacity": 10, "lineWidth": 1, "showPoints": "never"}
    if panel.kind == "stat":
        options = {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "none",
        }
        custom = {}
    return {
        "id": number,
        "title": panel.title,
        "type": panel.kind,
        "description": panel.help,
        "datasource": _DATASOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "custom": custom,
                "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
                "thresholds": {"mode": "absolute", "steps": steps},
            },
            "overrides": [],
        },
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + i),
                "datasource": _DATASOURCE,
                "expr": query.expr,
                "legendFormat": query.legend or panel.title,
                "range": panel.kind != "stat",
                "instant": panel.kind == "stat",
            }
            for i, query in enumerate(panel.queries)
        ],
    }


def dashboards() -> dict[str, str]:
    """File name and content of each."""
    made = {
        "overview": dashboard("overview", "Overview", OVERVIEW, by_camera=False),
        "camera": dashboard("camera", "One camera", CAMERA, by_camera=True),
        "audience": dashboard("audience", "Audience", AUDIENCE, by_camera=False),
    }
    return {f"{name}.json": json.dumps(found, indent=1) + "\n" for name, found in made.items()}


def main() -> None:
    """Write them where Grafana's container finds them."""
    HERE.mkdir(exist_ok=True)
    for name, text in dashboards().items():
        (HERE / name).write_text(text)


if __name__ == "__main__":
    main()
