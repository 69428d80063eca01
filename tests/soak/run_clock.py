"""The Unix time of the whole machine is set while it runs: every process is lied to alike.

libfaketime (Debian: `libfaketime`) changes what the processes are told of the Unix time; the
monotonic clock is left alone, as it is when a clock is set.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.soak.environment import scene
from tests.soak.run_faults import back_after, faces_of

LIBRARIES = tuple(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
STEPS_S = (2, -2, 60, -60, 3600, -3600)
_CALM_S = 4.0
_SETTLE_S = 2.5

Figures = dict[str, Any]
Say = Callable[[str], None]


def run(say: Say, steady: int = 3, height_px: int = 720) -> Figures:
    """A record: of each step, how long until every camera was answered, and what was lost."""
    with tempfile.TemporaryDirectory(prefix="clock-") as name:
        offset = Path(name) / "offset"
        offset.write_text("+0\n")
        environment = {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        with scene(steady, height_px=height_px, environment=environment) as stage:
            done, at_s = [], 0
            for step_s in STEPS_S:
                time.sleep(_CALM_S)
                before = stage.watch.ledger
                at_s += step_s
                offset.write_text(f"{at_s:+d}\n")
                time.sleep(1.0)  # until they have all read it
                back_s = back_after(stage, time.monotonic())
                time.sleep(_SETTLE_S)
                faces = faces_of(stage.watch.ledger.since(before))
                done.append({"step_s": step_s, "back_s": back_s, **faces})
                say(f"{step_s:+d} s: {done[-1]}")
            return {
                "cameras": len(stage.cameras),
                "height_px": height_px,
                "steps": done,
                "ledger": stage.watch.ledger.as_metrics(),
                "unexplained": stage.watch.ledger.unaccounted,
            }
