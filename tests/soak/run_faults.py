"""Inject random faults under load, one or two at a time, and wait for the recovery after each."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from facestream.common.broker.face_accounting import FaceAccounting

from tests.soak.environment import PARTS, SoakEnvironment, soak_environment
from tests.soak.faults import Fault, rounds
from tests.soak.inject import inject
from tests.soak.probe import Sizes

STEADY = 3
BACK_S = 60.0  # everything must be back by then
_PAUSE_S = 1.0  # between two rounds
_SETTLE_S = 2.5  # until faces in flight have an outcome
_POLL_S = 0.05
_LOSSES = (0.01, 0.05, 0.10)

Figures = dict[str, Any]
Log = Callable[[str], None]


def run(seconds: float, seed: int, say: Log, steady: int = STEADY, height_px: int = 720) -> Figures:
    """Return a record: rounds, figures by kind of fault, face accounting, memory."""
    with soak_environment(steady, height_px=height_px) as env:
        time.sleep(5)
        level = env.probe.observations.sizes[-1]
        began_s = time.monotonic()
        done: list[Figures] = []
        with contextlib.suppress(KeyboardInterrupt):  # ended early: the record says how long it ran
            for chosen in rounds(seed):
                if time.monotonic() - began_s > seconds:
                    break
                # The camera over UDP loses packets all the time, at a rate that changes per round.
                env.lossy.loss = _LOSSES[len(done) % len(_LOSSES)]
                done.append(_round(env, chosen, time.monotonic() - began_s))
                say(_line(done[-1]))
                if done[-1]["back_s"] is None:
                    break
                time.sleep(_PAUSE_S)
        env.lossy.loss = 0.0
        time.sleep(_SETTLE_S)
        seen, ledger = env.probe.observations, env.probe.accounting
        return {
            "seed": seed,
            "seconds": round(time.monotonic() - began_s),
            "cameras": len(env.cameras),
            "height_px": height_px,
            "rounds": done,
            "kinds": _by_kind(done),
            "ledger": ledger.as_metrics(),
            "unexplained": ledger.unaccounted,
            "looks_with_unexplained": len(seen.unexplained),
            # Results that the probe read, of those published; a broker that died took the rest.
            "results_seen": sum(seen.answered.values()),
            "results_given": env.probe.accounting_since_start.outcomes.get("processed", 0),
            "not_sent": dict(seen.not_sent),
            "memory_mb": _memory(level, seen.sizes),
            "said": [line for line in env.stack.lines if "Traceback" in line or "ERROR" in line],
        }


def _round(env: SoakEnvironment, chosen: list[Fault], at_s: float) -> Figures:
    before, not_sent = env.probe.accounting, dict(env.probe.observations.not_sent)
    ended_s = _apply_faults(env, chosen)
    back_s = recovery_time_s(env, ended_s)
    time.sleep(_SETTLE_S)
    seen = env.probe.observations
    return {
        "at_s": round(at_s, 1),
        "faults": [{"kind": f.kind, "target": f.target, "held_s": f.held_s} for f in chosen],
        "back_s": back_s,
        **summarize_faces(env.probe.accounting.since(before)),
        "not_sent": {
            reason: number - not_sent.get(reason, 0)
            for reason, number in seen.not_sent.items()
            if number > not_sent.get(reason, 0)
        },
        "states": {} if back_s is not None else env.camera_states(),
    }


def _apply_faults(env: SoakEnvironment, chosen: list[Fault]) -> float:
    """Apply the faults, revert each after its duration, and return when the last one ended."""
    with contextlib.ExitStack() as all_of_them:
        reverts = []
        for fault in chosen:
            revert = all_of_them.enter_context(contextlib.ExitStack())
            revert.enter_context(inject(env, fault))
            reverts.append((fault.held_s, revert))
        began_s = time.monotonic()
        for held_s, revert in sorted(reverts, key=lambda each: each[0]):
            time.sleep(max(0.0, began_s + held_s - time.monotonic()))
            revert.close()
    return time.monotonic()


def recovery_time_s(env: SoakEnvironment, ended_s: float) -> float | None:
    """Return the seconds until everything recovered; None after a timeout.

    Results count from when all processes were ready: earlier ones may be of earlier faces.
    """
    since_s = ended_s
    while (now_s := time.monotonic()) - ended_s < BACK_S:
        if not env.is_ready():
            since_s = now_s
        elif env.has_results(since_s):
            return round(time.monotonic() - ended_s, 2)
        time.sleep(_POLL_S)
    return None


def summarize_faces(ledger: FaceAccounting) -> Figures:
    """Summarize face accounting for a record."""
    return {
        "published": ledger.published,
        "processed": ledger.outcomes.get("processed", 0),
        "dead_lettered": ledger.outcomes.get("dead_lettered", 0),
        "dropped": ledger.dropped,
        "unexplained": ledger.unaccounted,
    }


def _by_kind(done: list[Figures]) -> Figures:
    """Summarize rounds by kind of fault: count, recovery time, losses."""
    kinds: dict[str, list[Figures]] = defaultdict(list)
    for each in done:
        faults = each["faults"]
        alone = f"{faults[0]['target']} {faults[0]['kind']}"
        kinds[alone if len(faults) == 1 else "two at a time"].append(each)
    return {
        kind: {
            "rounds": len(of_kind),
            "back_s": _median([e["back_s"] for e in of_kind]),
            "back_max_s": max(e["back_s"] or BACK_S for e in of_kind),
            "lost": _summed([e["dropped"] for e in of_kind]),
            "not_sent": _summed([e["not_sent"] for e in of_kind]),
        }
        for kind, of_kind in sorted(kinds.items())
    }


def _median(values: list[float | None]) -> float:
    return statistics.median(BACK_S if value is None else value for value in values)


def _summed(counts: list[dict[str, int]]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for each in counts:
        sums.update(each)
    return dict(sums)


def _memory(level: Sizes, sizes: list[Sizes]) -> Figures:
    """Return the MB of each process: before the first fault, peak, and at the end."""
    return {
        part: {
            "before": level.rss_mb.get(part),
            "most": max(s.rss_mb.get(part, 0.0) for s in sizes),
            "after": sizes[-1].rss_mb.get(part),
        }
        for part in PARTS
    }


def _line(done: Figures) -> str:
    what = " and ".join(f"{f['target']} {f['kind']}" for f in done["faults"])
    lost = {**done["dropped"], **{f"not sent: {k}": v for k, v in done["not_sent"].items()}}
    said = ", ".join(f"{reason} {number}" for reason, number in lost.items()) or "nothing lost"
    back = "NOT BACK" if done["back_s"] is None else f"back in {done['back_s']:.1f} s"
    return f"{done['at_s']:6.1f} s  {what}: {back}; {said}; unexplained {done['unexplained']}"
