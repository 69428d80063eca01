"""The `bench` command: what is measured, and where the figures go."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_commands(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `facestream bench`."""
    parser = commands.add_parser(
        "bench",
        help="measure the whole pipeline against the plain way on this machine",
        description="Measure the whole pipeline against the plain way: CPU, latency, memory.",
    )
    parser.add_argument("--clip", type=Path, metavar="MP4", help="default: the demo camera's clip")
    parser.add_argument("--json", type=Path, metavar="FILE", help="default: bench-<processor>.json")
    parser.add_argument("--quick", action="store_true", help="one short round, at most 120 s")
    parser.add_argument("--model", type=Path, default=None, help="default: the newest age_gender")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from tests.bench.measure import FULL, QUICK, measure
    from tests.bench.report import default_path, table, write

    figures = measure(
        QUICK if arguments.quick else FULL,
        arguments.clip,
        arguments.model,
        lambda line: print(line, flush=True),
    )
    path = arguments.json or default_path()
    write(figures, path)
    print(table(figures))
    print(f"written to {path}")
    return 0
