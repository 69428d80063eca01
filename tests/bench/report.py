"""The figures of a benchmark run as JSON, named by processor, and as a Markdown table."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Figures = dict[str, Any]


def write(figures: Figures, path: Path) -> None:
    """Write the run: medians under the keys that others read, each round under `rounds`."""
    record = _medians(figures)
    record["cpu_ms_per_frame"]["plain"] = _median(figures["plain"])
    record |= {
        "streams_720p15": figures["streams_720p15"]["carried"],
        "streams_trials": figures["streams_720p15"]["trials"],
        "ratio_plain_to_watched": _ratio(figures, "watched"),
        "ratio_plain_to_unwatched": _ratio(figures, "unwatched"),
        "machine": machine(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": {k: v for k, v in figures.items() if k != "streams_720p15"},
    }
    path.write_text(json.dumps(record, indent=1) + "\n")


def table(figures: Figures) -> str:
    """The run for a person, as Markdown."""
    cpu, latency = figures["cpu_ms_per_frame"], figures["latency_ms"]
    rows = [
        ("CPU per camera frame, nobody watching", _spread(cpu["unwatched"], "ms")),
        ("CPU per camera frame, watched", _spread(cpu["watched"], "ms")),
        ("CPU per camera frame and further viewer", _spread(cpu["per_extra_viewer"], "ms")),
        ("CPU of decoding one frame, the floor", _spread(cpu["floor"], "ms")),
        ("CPU per camera frame, the plain way", _spread(figures["plain"], "ms")),
        ("the plain way / watched", f"{_ratio(figures, 'watched'):.1f} ×"),
        ("the plain way / nobody watching", f"{_ratio(figures, 'unwatched'):.1f} ×"),
        (
            "CPU per classified face (worker and model server)",
            _spread(figures["cpu_ms_per_face"], "ms"),
        ),
        ("720p cameras at 15/s carried", str(figures["streams_720p15"]["carried"])),
        ("start, to everything ready", _spread(figures["start_s"], "s")),
    ]
    for name, text in (
        ("picture", "camera to annotated picture"),
        ("result", "new face to result"),
    ):
        values = " / ".join(_spread(latency[f"{name}_p{p}"], "ms") for p in (50, 95, 99))
        rows.append((f"{text}, p50 / p95 / p99", values))
    for service, values in figures["rss_mb"].items():
        rows.append((f"memory of {service}", _spread(values, "MB")))
    for kind in ("unwatched", "watched"):
        for service, values in cpu[f"{kind}_by_service"].items():
            rows.append((f"of that, {kind}: {service}", _spread(values, "ms")))
    for step, values in cpu["steps"].items():
        rows.append((f"time per camera frame, watched, of {step}", _spread(values, "ms")))
    lines = ["| figure | median (lowest to highest) |", "|---|---|"]
    return "\n".join([*lines, *(f"| {a} | {b} |" for a, b in rows), "", f"On {machine()['cpu']}."])


def default_path() -> Path:
    """`bench-<processor>.json` in the current folder."""
    return Path(
        "bench-" + re.sub(r"[^a-z0-9]+", "-", machine()["cpu"].lower()).strip("-") + ".json"
    )


def machine() -> dict[str, Any]:
    """The processor's name and cores, system and Python."""
    cpu = platform.processor() or platform.machine()
    try:
        info = Path("/proc/cpuinfo").read_text()
        cpu = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)[1]  # type: ignore[index]
    except (OSError, TypeError):
        pass
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _medians(figures: Figures) -> Figures:
    return {
        key: _medians(value) if isinstance(value, dict) else _median(value)
        for key, value in figures.items()
        if isinstance(value, dict | list) and key != "streams_720p15"
    }


def _median(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return statistics.median(known) if known else None


def _spread(values: list[float | None], unit: str) -> str:
    known = [v for v in values if v is not None]
    if not known:
        return "not seen"
    text = f"{statistics.median(known):.2f} {unit}"
    return text if len(known) == 1 else f"{text} ({min(known):.2f}-{max(known):.2f})"


def _ratio(figures: Figures, kind: str) -> float:
    """Median over the rounds of the plain way's cost to this pipeline's."""
    ours = figures["cpu_ms_per_frame"][kind]
    return statistics.median(p / o for p, o in zip(figures["plain"], ours, strict=True))
