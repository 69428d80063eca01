"""Step the Unix time of all processes while they run.

libfaketime (Debian: `libfaketime`) changes the Unix time of the processes and leaves the monotonic
clock alone, as setting a clock does.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.soak.environment import soak_environment
from tests.soak.run_faults import recovery_time_s, summarize_faces

LIBRARIES = tuple(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
STEPS_S = (2, -2, 60, -60, 3600, -3600)
_PAUSE_S = 4.0
_SETTLE_S = 2.5

Figures = dict[str, Any]
Log = Callable[[str], None]


def run(say: Log, steady: int = 3, height_px: int = 720) -> Figures:
    """Return a record: per step, the time until every camera had results, and dropped faces."""
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
        with soak_environment(steady, height_px=height_px, environment=environment) as env:
            done, at_s = [], 0
            for step_s in STEPS_S:
                time.sleep(_PAUSE_S)
                before = env.probe.accounting
                at_s += step_s
                offset.write_text(f"{at_s:+d}\n")
                time.sleep(1.0)  # until all processes have read it
                back_s = recovery_time_s(env, time.monotonic())
                time.sleep(_SETTLE_S)
                faces = summarize_faces(env.probe.accounting.since(before))
                done.append({"step_s": step_s, "back_s": back_s, **faces})
                say(f"{step_s:+d} s: {done[-1]}")
            return {
                "cameras": len(env.cameras),
                "height_px": height_px,
                "steps": done,
                "ledger": env.probe.accounting.as_metrics(),
                "unexplained": env.probe.accounting.unaccounted,
            }
