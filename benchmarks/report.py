"""The figures of a run as a record in JSON, as a Markdown table, and held against another record.

A record holds the medians over the rounds under the keys that others read, and under `rounds` what
each round gave. CPU times depend on the machine; the ratios of one round much less, so records are
compared by these.
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

FEWEST_SEARCHES = 0.9  # of those that are due: what is not searched for costs nothing
_LEAST_SPREAD = 0.05  # of the median: three rounds may agree by chance
_ONCE = ("streams", "clip")  # measured once, not in rounds
_RATIOS = {
    "unwatched_to_floor": "nobody watching / decoding alone",
    "watched_to_floor": "watched / decoding alone",
    "empty_to_floor": "empty scene, all services / decoding alone",
    "empty_capture_to_floor": "empty scene, capture / decoding alone",
    "unwatched_to_plain": "nobody watching / the plain way without a viewer",
    "watched_to_plain": "watched / the plain way with one",
    "unwatched_to_peer": "nobody watching / the peer",
}
_CPU = {
    "unwatched": "nobody watching",
    "watched": "watched",
    "empty": "an empty scene, nobody watching",
    "floor": "decoding alone, the floor",
    "empty_floor": "decoding the empty scene alone",
    "per_extra_viewer": "each further viewer (annotator)",
    "plain": "the plain way with a viewer",
    "plain_unwatched": "the plain way without one",
    "peer": "the peer, without decoding",
}
_LATENCIES = {
    "picture": "camera to annotated picture",
    "result": "new face to its first result",
    "found": "a face appears, to its being followed",
}


def record_of(figures: Figures, peer: str, load_at_start: float) -> Figures:
    """The record of a run.

    Args:
        peer: what was measured as the peer, or why none was.
        load_at_start: processes that wanted to run in the minute before, of which none was ours.
    """
    streams = figures["streams"]
    return _medians({k: v for k, v in figures.items() if k not in _ONCE}) | {
        "streams_720p15": streams["carried"],
        "streams_read": streams["read"],
        "streams_trials": streams["trials"],
        "peer": peer,
        "clip": figures["clip"],
        "machine": machine(),
        "load_at_start": load_at_start,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": {k: v for k, v in figures.items() if k not in _ONCE},
    }


def write(record: Figures, path: Path) -> None:
    """Write a record."""
    path.write_text(json.dumps(record, indent=1) + "\n")


def read(path: Path) -> Figures:
    """Read a record.

    Raises:
        SettingsError: it is none, or of an older version that held no ratios.
    """
    try:
        record = json.loads(path.read_text())
        record["rounds"]["ratios"]
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise SettingsError(f"{path}: no record of this version; measure it anew") from None
    return dict(record)


def worse(new: Figures, old: Figures) -> list[str]:
    """One line for each ratio that got worse by more than the spread of either record's rounds.

    Of a machine that did not keep up only that is said: what it skipped cost it nothing.
    """
    searches = statistics.median(new["rounds"]["searches_taken"])
    if searches < FEWEST_SEARCHES:
        return [f"nothing can be told: {searches:.0%} of the searches that were due, too busy"]
    lines = []
    for name, before in old["rounds"]["ratios"].items():
        now = new["rounds"]["ratios"].get(name)
        if now is None:
            continue
        was, is_now = statistics.median(before), statistics.median(now)
        spread = max(max(before) - min(before), max(now) - min(now), _LEAST_SPREAD * was)
        if is_now - was > spread:
            what = _RATIOS.get(name, name)
            lines.append(f"{what}: {is_now:.3g}, was {was:.3g}, spread {spread:.2g}")
    return lines


def table(record: Figures) -> str:
    """A record for a person, as Markdown."""
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
    rows.append(("searches for faces", _spread(rounds["searches_a_second"], "a second")))
    carried = str(record["streams_720p15"])
    if record.get("streams_read", 0) > record["streams_720p15"]:
        carried += f"; {record['streams_read']} where faces are searched for less often"
    rows.append(("720p cameras at 15/s carried, of those tried", carried))
    rows.append(("start, to everything ready", _spread(rounds["start_s"], "s")))
    for name, text in _LATENCIES.items():
        values = " / ".join(_spread(latency[f"{name}_p{p}"], "ms") for p in (50, 95, 99))
        rows.append((f"{text}, p50 / p95 / p99", values))
    for service, values in rounds["rss_mb"].items():
        rows.append((f"memory of {service}", _spread(values, "MB")))
    for kind in ("unwatched", "watched"):
        for service, values in cpu[f"{kind}_by_service"].items():
            rows.append((f"of that, {_CPU[kind]}: {service}", _spread(values, "ms")))
    for step, values in cpu["steps"].items():
        rows.append((f"time per camera frame, watched, of {step}", _spread(values, "ms")))
    for height, size in rounds["sizes"].items():
        for kind in ("unwatched", "watched", "floor"):
            rows.append(
                (f"CPU per camera frame at {height}p: {_CPU[kind]}", _spread(size[kind], "ms"))
            )
    for trial in record["streams_trials"]:
        text = (
            f"{trial['cpu_ms_per_frame']:.2f} ms; {trial['frames_received']:.0%} received, "
            f"p95 {trial['late_p95_ms']:.0f} ms late"
        )
        if "searches_taken" in trial:  # not in the first records
            text += f", {trial['searches_taken']:.0%} of the searches made"
        rows.append((f"of {trial['cameras']} cameras, CPU per camera frame", text))
    lines = ["| figure | median (lowest to highest) |", "|---|---|"]
    lines += [f"| {figure} | {value} |" for figure, value in rows]
    of = record["machine"]
    about = (
        f"{of['cpu']}, {of['cores']} cores, {of['system']}, Python {of['python']}; "
        f"{record['at'][:10]}; clip {record['clip']}; peer: {record['peer']}; "
        f"load before the run: {record['load_at_start']:.1f}."
    )
    return "\n".join([*lines, "", about])


def default_path() -> Path:
    """`bench-<processor>.json` in the current folder."""
    return Path(
        "bench-" + re.sub(r"[^a-z0-9]+", "-", machine()["cpu"].lower()).strip("-") + ".json"
    )


def tell(figures: dict[str, Any], path: Path | None) -> None:
    """Print figures as JSON, with machine and time, and write them to `path` where there is one."""
    figures = figures | {
        "machine": machine(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    text = json.dumps(figures, indent=1)
    print(text)
    if path:
        path.write_text(text + "\n")


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
    }


def _median(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return statistics.median(known) if known else None


def _spread(values: list[float | None], unit: str) -> str:
    known = [v for v in values if v is not None]
    if not known:
        return "not seen"
    text = f"{statistics.median(known):.2f} {unit}"
    return text if len(known) == 1 else f"{text} ({min(known):.2f} to {max(known):.2f})"
