"""Assertions over soak records: each returns a line per failure. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Figures = dict[str, Any]

_MEMORY_MB, _MEMORY_SHARE = 25.0, 0.25  # allowed growth over the memory before the faults
_FAIR = 0.9
# Maximum face age plus request timeout plus margin: no result is older.
_MAX_RESULT_LATENCY_S = 2.0 + 2.0 + 1.0
_MIN_FRAMES_READ = 0.95  # share of the frames sent
_MIN_VIEWER_FPS = 12.0  # of 15, for viewers that are not slow


def faults(record: Figures) -> list[str]:
    """Check that all services recovered, all faces are accounted for and memory did not grow."""
    lines = [
        f"not recovered: {r['faults']} {r['states']}" for r in record["rounds"] if not r["back_s"]
    ]
    lines += _check_accounting(record)
    # Some faces counted as lost had a result just before Redis died.
    if record["results_seen"] > record["results_given"] + record["ledger"]["lost"]:
        lines.append("more results received than the accounting has")
    for part, mb in record["memory_mb"].items():
        if mb["after"] is None:
            lines.append(f"{part} is not running at the end")
        elif mb["after"] > mb["before"] * (1 + _MEMORY_SHARE) + _MEMORY_MB:
            lines.append(f"{part} grew from {mb['before']} to {mb['after']} MB")
    return lines + [f"logged: {line}" for line in record["said"]]


def clock(record: Figures) -> list[str]:
    """Check that all services recovered after each clock step."""
    return _check_accounting(record) + [
        f"not recovered after a step of {step['step_s']} s"
        for step in record["steps"]
        if step["back_s"] is None
    ]


def load(record: Figures) -> list[str]:
    """Check that results are fresh, load is shared fairly, and slow viewers affect no other."""
    lines = []
    for name in ("carried", "overload"):
        part = record[name]
        oldest_s = part["answer_age_s"]["p100"]
        if oldest_s is None or oldest_s > _MAX_RESULT_LATENCY_S:
            lines.append(f"{name}: the slowest result took {oldest_s} s")
        lines += [f"{name}: {line}" for line in _check_accounting(part)]
        lines += [
            f"{name}: fairness of {what} {index:.2f}"
            for what, index in part["fairness"].items()
            if index < _FAIR and what != "skipped"
        ]
    carried, overload = record["carried"], record["overload"]
    if carried["frames_received"] < _MIN_FRAMES_READ:
        lines.append(f"only {carried['frames_received']:.0%} of the frames were read")
    if not overload["not_searched"]:
        lines.append(f"{overload['cameras']} cameras were no overload: no detection was skipped")
    crowd = record["crowd"]
    if crowd["thrown_out"]:
        lines.append(f"{crowd['thrown_out']} viewers were disconnected")
    if crowd["frames_per_second"]["p0"] < _MIN_VIEWER_FPS:
        lines.append(
            f"a viewer that is not slow received {crowd['frames_per_second']['p0']:.1f} fps"
        )
    return lines


def growth(record: Figures) -> list[str]:
    """Check that nothing grew by more than its limit and no service restarted.

    The memory of a service with many threads varies by some megabytes within minutes, because
    thread heaps are released at different times. It has grown only if it stays above the first
    third's maximum for the whole last third.
    """
    grown, bounds = record["growth_per_hour"], record["bounds_per_hour"]
    lines = _check_accounting(record)
    if record["restarts"]:
        lines.append(f"{record['restarts']} services restarted")
    for kind in ("rss_mb", "threads", "descriptors"):
        bound = bounds["memory_mb" if kind == "rss_mb" else "others"]
        lines += [
            f"{kind} of {part}: {value} per hour"
            for part, value in grown[kind].items()
            if value > bound and (kind != "rss_mb" or _has_risen(record, part))
        ]
    if grown["keys"] > bounds["others"]:
        lines.append(f"keys: {grown['keys']} per hour")
    return lines


def _has_risen(record: Figures, part: str) -> bool:
    each_minute = record["rss_mb_each_minute"][part][round(record["warm_up_s"] / 60) :]
    sizes = [mb for mb in each_minute if mb is not None]
    third = max(1, len(sizes) // 3)
    return min(sizes[-third:]) > max(sizes[:third])


def _check_accounting(record: Figures) -> list[str]:
    if record["unexplained"] or record.get("looks_with_unexplained"):
        return [f"{record['unexplained']} faces are unaccounted"]
    return []


ASSERTIONS: dict[str, Callable[[Figures], list[str]]] = {
    "faults": faults,
    "clock": clock,
    "load": load,
    "growth": growth,
}
