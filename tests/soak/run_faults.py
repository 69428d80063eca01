"""Faults at random under load: one or two at a time, then wait until everything is back."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from facestream.common.broker.face_accounting import FaceAccounting

from tests.soak.environment import PARTS, Scene, scene
from tests.soak.faults import Fault, rounds
from tests.soak.inject import hurt
from tests.soak.probe import Sizes

STEADY = 3
BACK_S = 60.0  # everything must be back by then
_CALM_S = 1.0  # between two rounds
_SETTLE_S = 2.5  # what was in hand when a fault ended is settled by then
_POLL_S = 0.05
_LOSSES = (0.01, 0.05, 0.10)

Figures = dict[str, Any]
Say = Callable[[str], None]


def run(seconds: float, seed: int, say: Say, steady: int = STEADY, height_px: int = 720) -> Figures:
    """A record of a run: each round, figures by kind of fault, ledger, memory."""
    with scene(steady, height_px=height_px) as stage:
        time.sleep(5)
        level = stage.watch.seen.sizes[-1]
        began_s = time.monotonic()
        done: list[Figures] = []
        with contextlib.suppress(KeyboardInterrupt):  # ended early: the record says how long it ran
            for chosen in rounds(seed):
                if time.monotonic() - began_s > seconds:
                    break
                # The camera over UDP loses packets all the time, now fewer and now more.
                stage.lossy.loss = _LOSSES[len(done) % len(_LOSSES)]
                done.append(_round(stage, chosen, time.monotonic() - began_s))
                say(_line(done[-1]))
                if done[-1]["back_s"] is None:
                    break
                time.sleep(_CALM_S)
        stage.lossy.loss = 0.0
        time.sleep(_SETTLE_S)
        seen, ledger = stage.watch.seen, stage.watch.ledger
        return {
            "seed": seed,
            "seconds": round(time.monotonic() - began_s),
            "cameras": len(stage.cameras),
            "height_px": height_px,
            "rounds": done,
            "kinds": _by_kind(done),
            "ledger": ledger.as_metrics(),
            "unexplained": ledger.unaccounted,
            "looks_with_unexplained": len(seen.unexplained),
            # What a reader of the streams saw, of what was answered meanwhile; the rest went with
            # brokers that died before it was read.
            "results_seen": sum(seen.answered.values()),
            "results_given": stage.watch.ledger_meanwhile.outcomes.get("processed", 0),
            "not_sent": dict(seen.not_sent),
            "memory_mb": _memory(level, seen.sizes),
            "said": [line for line in stage.stack.lines if "Traceback" in line or "ERROR" in line],
        }


def _round(stage: Scene, chosen: list[Fault], at_s: float) -> Figures:
    before, not_sent = stage.watch.ledger, dict(stage.watch.seen.not_sent)
    ended_s = _suffered(stage, chosen)
    back_s = back_after(stage, ended_s)
    time.sleep(_SETTLE_S)
    seen = stage.watch.seen
    return {
        "at_s": round(at_s, 1),
        "faults": [{"kind": f.kind, "target": f.target, "held_s": f.held_s} for f in chosen],
        "back_s": back_s,
        **faces_of(stage.watch.ledger.since(before)),
        "not_sent": {
            reason: number - not_sent.get(reason, 0)
            for reason, number in seen.not_sent.items()
            if number > not_sent.get(reason, 0)
        },
        "states": {} if back_s is not None else stage.camera_states(),
    }


def _suffered(stage: Scene, chosen: list[Fault]) -> float:
    """Do the faults and undo each in its time; returns when the last one was over."""
    with contextlib.ExitStack() as all_of_them:
        deeds = []
        for fault in chosen:
            deed = all_of_them.enter_context(contextlib.ExitStack())
            deed.enter_context(hurt(stage, fault))
            deeds.append((fault.held_s, deed))
        began_s = time.monotonic()
        for held_s, deed in sorted(deeds, key=lambda each: each[0]):
            time.sleep(max(0.0, began_s + held_s - time.monotonic()))
            deed.close()
    return time.monotonic()


def back_after(stage: Scene, ended_s: float) -> float | None:
    """How long until everything was back; None where it was not in time.

    Answers count from when all parts were ready: those before may be to faces from before.
    """
    since_s = ended_s
    while (now_s := time.monotonic()) - ended_s < BACK_S:
        if not stage.is_ready():
            since_s = now_s
        elif stage.is_answered(since_s):
            return round(time.monotonic() - ended_s, 2)
        time.sleep(_POLL_S)
    return None


def faces_of(ledger: FaceAccounting) -> Figures:
    """What a record says of a ledger."""
    return {
        "published": ledger.published,
        "processed": ledger.outcomes.get("processed", 0),
        "dead_lettered": ledger.outcomes.get("dead_lettered", 0),
        "dropped": ledger.dropped,
        "unexplained": ledger.unaccounted,
    }


def _by_kind(done: list[Figures]) -> Figures:
    """Of the rounds with one fault alone: how often, how long until back, what was lost."""
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
    """Of each part, megabytes: before the first fault, at most, and at the end."""
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
