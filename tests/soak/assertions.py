"""What a record must hold; one line for each thing that it does not. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Figures = dict[str, Any]

_MEMORY_MB, _MEMORY_SHARE = 25.0, 0.25  # of what it was before the faults
_FAIR = 0.9
# A worker's deadline and the time limit of one request, and a little: no answer is older.
_OLDEST_ANSWER_S = 2.0 + 2.0 + 1.0
_CARRIED = 0.95  # of the frames that were sent
_QUICK_VIEWER_FPS = 12.0  # of 15


def faults(record: Figures) -> list[str]:
    """Everything came back, every face is explained, memory is where it was."""
    lines = [f"not back: {r['faults']} {r['states']}" for r in record["rounds"] if not r["back_s"]]
    lines += _explained(record)
    # Of those that are lost by the ledger, some were answered just before the broker died.
    if record["results_seen"] > record["results_given"] + record["ledger"]["lost"]:
        lines.append("more results were seen than the ledger knows of")
    for part, mb in record["memory_mb"].items():
        if mb["after"] is None:
            lines.append(f"{part} does not run at the end")
        elif mb["after"] > mb["before"] * (1 + _MEMORY_SHARE) + _MEMORY_MB:
            lines.append(f"{part} has grown from {mb['before']} to {mb['after']} MB")
    return lines + [f"said: {line}" for line in record["said"]]


def clock(record: Figures) -> list[str]:
    """Everything came back after each step."""
    return _explained(record) + [
        f"not back after a step of {step['step_s']} s"
        for step in record["steps"]
        if step["back_s"] is None
    ]


def load(record: Figures) -> list[str]:
    """What is answered is fresh, what is not is shared fairly, and slow viewers cost nobody."""
    lines = []
    for name in ("carried", "overload"):
        part = record[name]
        oldest_s = part["answer_age_s"]["p100"]
        if oldest_s is None or oldest_s > _OLDEST_ANSWER_S:
            lines.append(f"{name}: the oldest answer came {oldest_s} s after its face")
        lines += [f"{name}: {line}" for line in _explained(part)]
        lines += [
            f"{name}: fairness of {what} {index:.2f}"
            for what, index in part["fairness"].items()
            if index < _FAIR and what != "skipped"
        ]
    carried, overload = record["carried"], record["overload"]
    if carried["frames_received"] < _CARRIED:
        lines.append(f"only {carried['frames_received']:.0%} of the frames were read")
    if not overload["not_searched"]:
        lines.append(f"{overload['cameras']} cameras were no overload: nothing was left out")
    crowd = record["crowd"]
    if crowd["thrown_out"]:
        lines.append(f"{crowd['thrown_out']} viewers were thrown out")
    if crowd["pictures_a_second"]["p0"] < _QUICK_VIEWER_FPS:
        lines.append(f"a quick viewer got {crowd['pictures_a_second']['p0']:.1f} pictures a second")
    return lines


def growth(record: Figures) -> list[str]:
    """Nothing grows by more than its bound, and nothing was restarted.

    The memory of a part with many threads goes up and down by some megabytes within minutes, since
    each thread's heap is given back at times of its own. Only one that is always larger in the last
    third than it ever was in the first has grown.
    """
    grown, bounds = record["growth_per_hour"], record["bounds_per_hour"]
    lines = _explained(record)
    if record["restarts"]:
        lines.append(f"{record['restarts']} parts were restarted")
    for kind in ("rss_mb", "threads", "descriptors"):
        bound = bounds["memory_mb" if kind == "rss_mb" else "others"]
        lines += [
            f"{kind} of {part}: {value} an hour"
            for part, value in grown[kind].items()
            if value > bound and (kind != "rss_mb" or _has_risen(record, part))
        ]
    if grown["keys"] > bounds["others"]:
        lines.append(f"keys: {grown['keys']} an hour")
    return lines


def _has_risen(record: Figures, part: str) -> bool:
    each_minute = record["rss_mb_each_minute"][part][round(record["warm_up_s"] / 60) :]
    sizes = [mb for mb in each_minute if mb is not None]
    third = max(1, len(sizes) // 3)
    return min(sizes[-third:]) > max(sizes[:third])


def _explained(record: Figures) -> list[str]:
    if record["unexplained"] or record.get("looks_with_unexplained"):
        return [f"{record['unexplained']} faces are unexplained"]
    return []


JUDGES: dict[str, Callable[[Figures], list[str]]] = {
    "faults": faults,
    "clock": clock,
    "load": load,
    "growth": growth,
}
