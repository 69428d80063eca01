"""Panels and queries of a dashboard, and their Grafana JSON.

A dashboard is a list of panels. A panel has a title and queries. Positions, IDs and the rest of
Grafana's JSON are derived from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
_WIDTH = 24  # Grafana's columns
_SCHEMA = 39
RATE = "[$__rate_interval]"


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL expression and the legend of its series."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """Graph over time or, with `kind` "stat", a single figure.

    Attributes:
        unit: Grafana's unit name (`s`, `percentunit`, `bytes`, `short`).
        red_from: threshold from which a figure is red.
    """

    title: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    description: str = ""
    red_from: float | None = None


def rate(metric: str, by: str = "", labels: str = "") -> str:
    """Return the summed rate per second of a counter; 0 without samples."""
    grouped = f"sum by ({by})" if by else "sum"
    return f"{grouped} (rate({metric}{labels}{RATE})) or on () vector(0)"


def quantiles(metric: str, by: str = "") -> list[Query]:
    """Return queries for p50, p95 and p99 of a histogram in seconds."""
    buckets = f"sum by ({f'le, {by}' if by else 'le'}) (rate({metric}_bucket{RATE}))"
    legend = f" {{{{{by}}}}}" if by else ""
    return [
        Query(f"histogram_quantile({share}, {buckets})", f"{name}{legend}")
        for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    ]


def stat(
    title: str,
    expr: str,
    unit: str = "short",
    *,
    red_from: float | None = None,
    description: str = "",
) -> Panel:
    """Return a single-figure panel, an eighth of the width."""
    return Panel(title, [Query(expr)], unit, "stat", 3, description, red_from)


def dashboard(uid: str, title: str, panels: Sequence[Panel], *, by_camera: bool) -> dict[str, Any]:
    """Return the Grafana JSON of a dashboard."""
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
        "panels": _lay_out(panels),
    }


def _lay_out(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Lay out panels left to right, row by row. The first panel sets a row's height."""
    laid_out = []
    x = y = height = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > _WIDTH or (x and height != _height(panel)):
            x, y = 0, y + height
        height = _height(panel)
        laid_out.append(_panel(number, panel, {"x": x, "y": y, "w": panel.width, "h": height}))
        x += panel.width
    return laid_out


def _height(panel: Panel) -> int:
    return 4 if panel.kind == "stat" else 8


def _panel(number: int, panel: Panel, position: dict[str, int]) -> dict[str, Any]:
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
        "description": panel.description,
        "datasource": _DATASOURCE,
        "gridPos": position,
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
