"""Write the figures of a run as JSON, format them as a Markdown table, compare them with a record.

A record holds the medians over the rounds and, under `rounds`, the values of each round. CPU times
depend on the machine, the ratios of one round much less, so records are compared by ratios.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from facestream.common.core.errors import SettingsError

Figures = dict[str, Any]

MIN_DETECTION_SHARE = 0.9  # of those due: a skipped detection costs nothing
_MIN_SPREAD = 0.05  # of the median: three rounds may agree by chance
_ONCE = ("streams", "clip")  # measured once, not in rounds
_RATIOS = {
    "unwatched_to_lower_bound": "unwatched / decoding alone",
    "watched_to_lower_bound": "watched / decoding alone",
    "empty_to_lower_bound": "empty scene, all services / decoding alone",
    "empty_capture_to_lower_bound": "empty scene, capture / decoding alone",
    "unwatched_to_baseline": "unwatched / baseline without a viewer",
    "watched_to_baseline": "watched / baseline with one viewer",
    "unwatched_to_third_party": "unwatched / third-party reference",
}
_CPU = {
    "unwatched": "unwatched",
    "watched": "watched",
    "empty": "empty scene, unwatched",
    "lower_bound": "lower bound: decoding alone",
    "empty_lower_bound": "lower bound of the empty scene",
    "per_extra_viewer": "each additional viewer (annotator)",
    "baseline": "baseline with a viewer",
    "baseline_unwatched": "baseline without a viewer",
    "third_party": "third-party reference, without decoding",
}
# Keys of records before 0.2.0.
_OLD_KEYS = {
    "floor": "lower_bound",
    "empty_floor": "empty_lower_bound",
    "plain": "baseline",
    "plain_unwatched": "baseline_unwatched",
    "peer": "third_party",
    "peer_faces": "third_party_faces",
    "steps": "stages",
    "unwatched_to_floor": "unwatched_to_lower_bound",
    "watched_to_floor": "watched_to_lower_bound",
    "empty_to_floor": "empty_to_lower_bound",
    "empty_capture_to_floor": "empty_capture_to_lower_bound",
    "unwatched_to_plain": "unwatched_to_baseline",
    "watched_to_plain": "watched_to_baseline",
    "unwatched_to_peer": "unwatched_to_third_party",
    "to_floor": "to_lower_bound",
    "searches_a_second": "detections_per_second",
    "searches_taken": "detection_share",
    "plain_faces_per_frame": "baseline_faces_per_frame",
    "at": "timestamp",
    **{f"picture_p{p}": f"frame_p{p}" for p in (50, 95, 99)},
    **{f"found_p{p}": f"detection_p{p}" for p in (50, 95, 99)},
}
_LATENCIES = {
    "frame": "camera to annotated frame",
    "result": "new face to first result",
    "detection": "face appears to track in the broker",
}


def build_record(figures: Figures, third_party: str, load_at_start: float) -> Figures:
    """Build the record of a run.

    Args:
        third_party: name of the third-party package, or why it was not measured.
        load_at_start: load average of the minute before the run.
    """
    streams = figures["streams"]
    return _medians({k: v for k, v in figures.items() if k not in _ONCE}) | {
        "streams_720p15": streams["carried"],
        "streams_read": streams["read"],
        "streams_trials": streams["trials"],
        "third_party": third_party,
        "clip": figures["clip"],
        "machine": machine(),
        "load_at_start": load_at_start,
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": {k: v for k, v in figures.items() if k not in _ONCE},
    }


def write(record: Figures, path: Path) -> None:
    """Write a record."""
    path.write_text(json.dumps(record, indent=1) + "\n")


def read(path: Path) -> Figures:
    """Read a record; translate the keys of older versions.

    Raises:
        SettingsError: not a record, or of an older version without ratios.
    """
    try:
        record = _rename_keys(json.loads(path.read_text()))
        record["rounds"]["ratios"]
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise SettingsError(
            f"{path}: not a record of this version; run the benchmark again"
        ) from None
    return dict(record)


def find_regressions(new: Figures, old: Figures) -> list[str]:
    """Return a line for each ratio that got worse by more than the spread of either record.

    A machine that skipped detections is not comparable: skipped work cost nothing.
    """
    share = statistics.median(new["rounds"]["detection_share"])
    if share < MIN_DETECTION_SHARE:
        return [
            f"not comparable: only {share:.0%} of the due detections ran; the machine was too busy"
        ]
    lines = []
    for name, before in old["rounds"]["ratios"].items():
        now = new["rounds"]["ratios"].get(name)
        if now is None:
            continue
        was, is_now = statistics.median(before), statistics.median(now)
        spread = max(max(before) - min(before), max(now) - min(now), _MIN_SPREAD * was)
        if is_now - was > spread:
            what = _RATIOS.get(name, name)
            lines.append(f"{what}: {is_now:.3g}, was {was:.3g}, spread {spread:.2g}")
    return lines


def format_table(record: Figures) -> str:
    """Format a record as a Markdown table."""
    rounds = record["rounds"]
    cpu, latency = rounds["cpu_ms_per_frame"], rounds["latency_ms"]
    rows = [
        (f"CPU per camera frame: {t}", _spread(cpu[k], "ms")) for k, t in _CPU.items() if k in cpu
    ]
    rows += [
        (t, _spread(rounds["ratios"][k], "×")) for k, t in _RATIOS.items() if k in rounds["ratios"]
    ]
    rows.append(
        (
            "CPU per classified face, worker and model server",
            _spread(rounds["cpu_ms_per_face"], "ms"),
        )
    )
    rows += [
        (f"CPU per face, the network alone on {runtime}", _spread(cost, "ms"))
        for runtime, cost in rounds.get("network_ms_per_face", {}).items()
    ]
    rows.append(("frames received while watched", _spread(rounds["frames_received"], "of 1")))
    rows.append(("detections", _spread(rounds["detections_per_second"], "per second")))
    carried = str(record["streams_720p15"])
    if record.get("streams_read", 0) > record["streams_720p15"]:
        carried += f"; {record['streams_read']} with fewer detections per second"
    rows.append(("720p cameras at 15 fps sustained, of those tried", carried))
    rows.append(("start until ready", _spread(rounds["start_s"], "s")))
    for name, text in _LATENCIES.items():
        values = " / ".join(_spread(latency[f"{name}_p{p}"], "ms") for p in (50, 95, 99))
        rows.append((f"{text}, p50 / p95 / p99", values))
    for service, values in rounds["rss_mb"].items():
        rows.append((f"memory of {service}", _spread(values, "MB")))
    for kind in ("unwatched", "watched"):
        for service, values in cpu[f"{kind}_by_service"].items():
            rows.append((f"of that, {_CPU[kind]}: {service}", _spread(values, "ms")))
    for stage, values in cpu["stages"].items():
        rows.append((f"time per camera frame, watched: {stage}", _spread(values, "ms")))
    for height, size in rounds["sizes"].items():
        for kind in ("unwatched", "watched", "lower_bound"):
            rows.append(
                (f"CPU per camera frame at {height}p: {_CPU[kind]}", _spread(size[kind], "ms"))
            )
    for trial in record["streams_trials"]:
        text = (
            f"{trial['cpu_ms_per_frame']:.2f} ms; {trial['frames_received']:.0%} received, "
            f"p95 {trial['late_p95_ms']:.0f} ms late"
        )
        if "detection_share" in trial:  # not in the first records
            text += f", {trial['detection_share']:.0%} of the detections ran"
        rows.append((f"of {trial['cameras']} cameras, CPU per camera frame", text))
    lines = ["| figure | median (lowest to highest) |", "|---|---|"]
    lines += [f"| {figure} | {value} |" for figure, value in rows]
    of = record["machine"]
    about = (
        f"{of['cpu']}, {of['cores']} cores, {of['system']}, Python {of['python']}; "
        f"{record['timestamp'][:10]}; clip {record['clip']}; third party: {record['third_party']}; "
        f"load before the run: {record['load_at_start']:.1f}."
    )
    return "\n".join([*lines, "", about])


def default_path() -> Path:
    """`bench-<processor>.json` in the current folder."""
    return Path(
        "bench-" + re.sub(r"[^a-z0-9]+", "-", machine()["cpu"].lower()).strip("-") + ".json"
    )


def write_figures(figures: dict[str, Any], path: Path | None) -> None:
    """Print figures as JSON with machine and time; write them to `path` if given."""
    figures = figures | {
        "machine": machine(),
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    text = json.dumps(figures, indent=1)
    print(text)
    if path:
        path.write_text(text + "\n")


def machine() -> dict[str, Any]:
    """Return the processor's name and cores, the system and the Python version."""
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


def _rename_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {_OLD_KEYS.get(key, key): _rename_keys(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rename_keys(inner) for inner in value]
    return value


def _medians(figures: Figures) -> Figures:
    return {
        key: _medians(value) if isinstance(value, dict) else _median(value)
        for key, value in figures.items()
    }


def _median(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return statistics.median(known) if known else None


def _spread(values: list[float | None], unit: str) -> str:
    known = [v for v in values if v is not None]
    if not known:
        return "not measured"
    text = f"{statistics.median(known):.2f} {unit}"
    return text if len(known) == 1 else f"{text} ({min(known):.2f} to {max(known):.2f})"
