"""Runs one of faults, clock, load and growth, and writes its record; `page` writes the records'
figures into docs/reliability.md; `all` is load, growth, faults and page, one after the other."""

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
from tests.soak.assertions import JUDGES
from tests.soak.markdown import filled

RECORDS = Path(__file__).parent / "records"
PAGE = CHECKOUT / "docs" / "reliability.md"
_MINUTES = {"load": 10.0, "growth": 30.0, "faults": 10.0}  # a clock has six steps


def main() -> int:
    """Run what is asked for; 1 where a record does not hold what it must."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("what", choices=(*JUDGES, "all", "page"))
    parser.add_argument(
        "--minutes", type=float, help="of each run; default: 30 of growth, 10 of others"
    )
    parser.add_argument(
        "--cameras", type=int, default=12, help="as many as are carried: of load; growth takes half"
    )
    parser.add_argument(
        "--steady", type=int, default=3, help="cameras that nobody troubles (faults, clock)"
    )
    parser.add_argument(
        "--height", type=int, default=720, help="lines of their pictures (faults, clock)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of faults")
    parser.add_argument(
        "--into", type=Path, default=RECORDS, help="folder of the records; default: the repository"
    )
    parser.add_argument("--note", default="", help="kept in the record: what else the machine did")
    arguments = parser.parse_args()
    asked = {"all": tuple(_MINUTES), "page": ()}.get(arguments.what, (arguments.what,))
    arguments.into.mkdir(parents=True, exist_ok=True)
    good = [_is_good(name, arguments) for name in asked]
    if arguments.what in ("all", "page"):
        page = PAGE if arguments.into == RECORDS else arguments.into / PAGE.name
        page.write_text(filled(PAGE.read_text(), records(arguments.into)))
        say(f"written to {page}")
    return 0 if all(good) else 1


def _is_good(name: str, arguments: argparse.Namespace) -> bool:
    """Make a record and judge it; one that cannot be made does not keep others from it."""
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
        say(f"WRONG: no record of {name}")
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
    lines = JUDGES[name](record)
    for line in lines:
        say(f"WRONG: {line}")
    return not lines


def records(folder: Path = RECORDS) -> dict[str, dict[str, Any]]:
    """The records of a folder, by name; those of the repository, if no other is given."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
