"""Runs one of faults, clock, load and growth, and writes its record; `page` writes the records'
figures into docs/reliability.md."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.report import machine
from tests.soak import run_clock, run_faults, run_growth, run_load
from tests.soak.judge import JUDGES
from tests.soak.tables import filled

RECORDS = Path(__file__).parent / "records"


PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"


def main() -> int:
    """Run what is asked for; 1 where its record does not hold what it must."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("what", choices=(*JUDGES, "page"))
    parser.add_argument("--minutes", type=float, default=10.0, help="not of clock")
    parser.add_argument("--cameras", type=int, default=12, help="of load: as many as are carried")
    parser.add_argument(
        "--steady", type=int, default=3, help="cameras that nobody troubles (faults, clock)"
    )
    parser.add_argument(
        "--height", type=int, default=720, help="lines of their pictures (faults, clock)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of faults")
    parser.add_argument("--json", type=Path, help="default: the record in the repository")
    parser.add_argument("--note", default="", help="kept in the record: what else the machine did")
    arguments = parser.parse_args()
    if arguments.what == "page":
        PAGE.write_text(filled(PAGE.read_text(), records()))
        return 0
    seconds, load = arguments.minutes * 60, os.getloadavg()[0]
    runs: dict[str, Callable[[], dict[str, Any]]] = {
        "faults": lambda: run_faults.run(
            seconds, arguments.seed, say, arguments.steady, arguments.height
        ),
        "clock": lambda: run_clock.run(say, arguments.steady, arguments.height),
        "load": lambda: run_load.run(seconds, arguments.cameras, say),
        "growth": lambda: run_growth.run(seconds, arguments.cameras // 2, say),
    }
    record = {
        **runs[arguments.what](),
        "machine": machine(),
        "load_at_start": round(load, 2),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "note": arguments.note,
    }
    path = arguments.json or RECORDS / f"{arguments.what}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    say(f"written to {path}")
    lines = JUDGES[arguments.what](record)
    for line in lines:
        say(f"WRONG: {line}")
    return 1 if lines else 0


def records() -> dict[str, dict[str, Any]]:
    """The records in the repository, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(RECORDS.glob("*.json"))}


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
