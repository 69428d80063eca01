"""Records as Markdown, for `docs/reliability.md`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.soak.assertions import JUDGES

Figures = dict[str, Any]

_MARK = "<!-- {}: from tests/soak/records/{}.json -->"
_BLOCK = r"<!-- {0}: from [^>]* -->\n.*?<!-- /{0} -->"


def filled(page: str, records: Mapping[str, Figures]) -> str:
    """The page with each marked block written anew from its record; others stay."""
    for name, record in records.items():
        text = "\n\n".join([TABLES[name](record), *_verdict(JUDGES[name](record))])
        block = f"{_MARK.format(name, name)}\n\n{text}\n\n<!-- /{name} -->"
        before, found, after = _cut(page, name)
        page = before + block + after if found else page
    return page


def _verdict(lines: Sequence[str]) -> list[str]:
    return [f"**Not as it must be:** {'; '.join(lines)}."] if lines else []


def _cut(page: str, name: str) -> tuple[str, str, str]:
    """The page before its block of this name, the block, and what comes after."""
    match = re.search(_BLOCK.format(name), page, re.DOTALL)
    if match is None:
        return page, "", ""
    return page[: match.start()], match[0], page[match.end() :]


def faults(record: Figures) -> str:
    """By kind of fault."""
    rows = [
        [
            kind,
            of["rounds"],
            f"{of['back_s']:.1f} / {of['back_max_s']:.1f}",
            _counts(of["lost"]),
            _counts(of["not_sent"]),
        ]
        for kind, of in record["kinds"].items()
    ]
    head = [
        "fault",
        "times",
        "back after, s, median / longest",
        "faces lost, by reason",
        "not sent",
    ]
    memory = [
        [part, *(f"{mb[when]:.0f}" for when in ("before", "most", "after"))]
        for part, mb in record["memory_mb"].items()
    ]
    return "\n\n".join(
        [
            f"{len(record['rounds'])} rounds in {_minutes(record)}, {record['cameras']} cameras of "
            f"{record['height_px']} lines, seed {record['seed']}. {_about(record)}",
            _table(head, rows),
            f"{_ledger(record)} A reader of the result streams saw {record['results_seen']} "
            f"results, the ledger knows of {record['results_given']} in that time: a broker that "
            "is killed takes results along that nobody has read, and what it knew of some that "
            "were.",
            _table(["memory, MB", "before", "at most", "at the end"], memory),
        ]
    )


def clock(record: Figures) -> str:
    """By step."""
    rows = [
        [
            f"{step['step_s']:+d} s",
            "not" if step["back_s"] is None else f"{step['back_s']:.1f}",
            _counts(step["dropped"]),
        ]
        for step in record["steps"]
    ]
    return "\n\n".join(
        [
            f"{record['cameras']} cameras of {record['height_px']} lines. {_about(record)}",
            _table(["the clock is set by", "every camera answered after, s", "faces lost"], rows),
            _ledger(record),
        ]
    )


def load(record: Figures) -> str:
    """Carried, twice as many, and a crowd."""
    both = (record["carried"], record["overload"])

    def row(what: str, of: Callable[[Figures], str]) -> list[Any]:
        return [what, *map(of, both)]

    rows = [
        row("for, s", lambda p: str(p["seconds"])),
        row("frames sent, of those due", lambda p: _share(p.get("frames_sent"))),
        row("frames read, of those sent", lambda p: f"{p['frames_received']:.1%}"),
        row("searches a second and camera, of 5", lambda p: f"{p['searches_a_second']:.2f}"),
        row("faces published", lambda p: str(p["ledger"]["published"])),
        row("processed", lambda p: str(p["ledger"]["processed"])),
        row("lost, by reason", lambda p: _counts(_lost(p["ledger"]))),
        row("unexplained", lambda p: str(p["unexplained"])),
        row(
            "age of an answer, p50 / p95 / oldest, s",
            lambda p: " / ".join(_seconds(p["answer_age_s"][q]) for q in ("p50", "p95", "p100")),
        ),
        row("frames not searched or left out", lambda p: _counts(p["not_searched"])),
        row(
            "fairness among cameras: frames read, searches, answers",
            lambda p: ", ".join(
                f"{p['fairness'][k]:.3f}" for k in ("frames", "searches", "answers")
            ),
        ),
        row(
            "cores taken by services / cameras and readers / other programs / nobody",
            lambda p: _cores(p.get("cores")),
        ),
    ]
    crowd = record["crowd"]
    seen, slow = crowd["pictures_a_second"], crowd["slow_pictures_a_second"]
    return "\n\n".join(
        [
            _about(record),
            _table(["", *(f"{p['cameras']} cameras" for p in both)], rows),
            f"{crowd['viewers']} viewers of one stream for {crowd['seconds']} s, {crowd['slow']} "
            f"of them slow: the {crowd['viewers'] - crowd['slow']} others got {seen['p0']:.1f} to "
            f"{seen['p100']:.1f} pictures a second and waited at most "
            f"{crowd['longest_wait_s']['p100']:.2f} s for one; the slow ones got "
            f"{slow['p50']:.1f}; {crowd['pictures_skipped']:.0f} pictures were skipped for them "
            f"and counted; {crowd['thrown_out']} were thrown out. Cores taken by services / camera "
            f"and viewers / other programs / nobody: {_cores(crowd.get('cores'))}.",
        ]
    )


def growth(record: Figures) -> str:
    """By part."""
    grown, level = record["growth_per_hour"], record["level"]
    rows = [
        [part, *(f"{level[k].get(part, 0):.0f} ({grown[k][part]:+.1f})" for k in _SIZES)]
        for part in grown["rss_mb"]
    ]
    bounds = record["bounds_per_hour"]
    return "\n\n".join(
        [
            f"{record['cameras']} cameras, one of them watched, for {_minutes(record)}, of which "
            f"the first {record['warm_up_s'] / 60:.0f} do not count. "
            f"{_about(record)}",
            _table(["at the end (growth an hour)", "memory, MB", "threads", "descriptors"], rows),
            f"Keys in the broker: {level['keys']} ({grown['keys']:+.1f}). The bound is "
            f"{bounds['memory_mb']:g} MB and {bounds['others']:g} of anything else an hour.",
            _ledger(record),
        ]
    )


_SIZES = ("rss_mb", "threads", "descriptors")


def _ledger(record: Figures) -> str:
    faces = record["ledger"]
    return (
        f"Ledger: {faces['published']} faces published = {faces['processed']} processed + "
        f"{faces['dead_lettered']} dead letters + {sum(_lost(faces).values())} lost "
        f"({_counts(_lost(faces))}) + {faces['waiting']} waiting; "
        f"{record['unexplained']} unexplained."
    )


def _lost(ledger: Mapping[str, int]) -> dict[str, int]:
    others = ("published", "processed", "dead_lettered", "waiting")
    return {name: number for name, number in ledger.items() if name not in others and number}


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {number}" for reason, number in counts.items()) or "–"


def _minutes(record: Figures) -> str:
    return f"{record['seconds'] / 60:.0f} min"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _cores(cores: Mapping[str, float] | None) -> str:
    if cores is None:
        return "–"
    besides = [cores[who] for who in ("generator", "others", "idle")]
    services = sum(cores.values()) - sum(besides)
    return " / ".join(f"{share:.2f}" for share in (services, *besides))


def _about(record: Figures) -> str:
    of = record["machine"]
    note = f"; {record['note']}" if record["note"] else ""
    return (
        f"{of['cpu']}, {of['cores']} cores, Python {of['python']}, {record['at'][:10]}, load "
        f"before the run {record['load_at_start']:.1f}{note}."
    )


def _table(head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


TABLES: dict[str, Callable[[Figures], str]] = {
    "faults": faults,
    "clock": clock,
    "load": load,
    "growth": growth,
}
