"""Run one soak test (faults, clock, load or growth) and write its record.

`page` renders the records as docs/reports/reliability.md. `all` runs load, growth, faults and page.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from facestream.common.core.paths import CHECKOUT

from benchmarks.report import machine
from tests.soak import run_clock, run_faults, run_growth, run_load
from tests.soak.assertions import ASSERTIONS
from tests.soak.markdown import render

RECORDS = Path(__file__).parent / "records"
PAGE = CHECKOUT / "docs" / "reports" / "reliability.md"
_MINUTES = {"load": 10.0, "growth": 30.0, "faults": 10.0}  # clock has six steps instead


def main() -> int:
    """Run the chosen tests; return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("what", choices=(*ASSERTIONS, "all", "page"))
    parser.add_argument(
        "--minutes", type=float, help="duration of each run (default: 30 for growth, 10 for others)"
    )
    parser.add_argument(
        "--cameras",
        type=int,
        default=12,
        help="sustained number of cameras for load; growth uses half",
    )
    parser.add_argument(
        "--steady", type=int, default=3, help="cameras without faults (faults, clock)"
    )
    parser.add_argument(
        "--height", type=int, default=720, help="frame height in pixels (faults, clock)"
    )
    parser.add_argument("--seed", type=int, default=1, help="random seed of faults")
    parser.add_argument(
        "--into",
        type=Path,
        default=RECORDS,
        help="folder of records and report (default: the repository)",
    )
    parser.add_argument(
        "--note", default="", help="note for the record, such as other load on the machine"
    )
    arguments = parser.parse_args()
    chosen = {"all": tuple(_MINUTES), "page": ()}.get(arguments.what, (arguments.what,))
    arguments.into.mkdir(parents=True, exist_ok=True)
    passed = [_run_one(name, arguments) for name in chosen]
    if arguments.what in ("all", "page"):
        page = PAGE if arguments.into == RECORDS else arguments.into / PAGE.name
        page.write_text(render(records(arguments.into)))
        say(f"written to {page}")
    return 0 if all(passed) else 1


def _run_one(name: str, arguments: argparse.Namespace) -> bool:
    """Run a test, write its record and return whether it passed. Exceptions count as failure."""
    minutes = arguments.minutes or _MINUTES.get(name, 0.0)
    seconds, load = minutes * 60, os.getloadavg()[0]
    steady, height = arguments.steady, arguments.height
    runs: dict[str, Callable[[], dict[str, Any]]] = {
        "faults": lambda: run_faults.run(seconds, arguments.seed, say, steady, height),
        "clock": lambda: run_clock.run(say, steady, height),
        "load": lambda: run_load.run(seconds, arguments.cameras, say),
        "growth": lambda: run_growth.run(seconds, arguments.cameras // 2, say),
    }
    say(f"{name}:")
    try:
        made = runs[name]()
    except Exception:
        traceback.print_exc()
        say(f"FAILED: {name} wrote no record")
        return False
    record = {
        **made,
        "machine": machine(),
        "load_at_start": round(load, 2),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "note": arguments.note,
    }
    path = arguments.into / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    say(f"written to {path}")
    lines = ASSERTIONS[name](record)
    for line in lines:
        say(f"FAILED: {line}")
    return not lines


def records(folder: Path = RECORDS) -> dict[str, dict[str, Any]]:
    """Return the records of a folder by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def say(line: str) -> None:
    """Print without buffering."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
