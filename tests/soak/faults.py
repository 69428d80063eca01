"""Define the kinds of faults, and generate random sequences of them from a seed. No I/O."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

SERVICES = ("broker", "model-server", "worker", "capture", "annotator")
LINKS = ("capture-broker", "worker-broker", "annotator-broker", "worker-model-server")

# Fault kind -> targets. A stop of up to 8 s is longer than every socket timeout.
KINDS: dict[str, tuple[str, ...]] = {
    "killed": SERVICES,
    "stopped": SERVICES,
    "slowed": SERVICES,
    "cut": LINKS,
    "held": LINKS,
    "slow": LINKS,
    "no memory": ("broker",),
    "disk full": ("annotator",),
    "closes": ("camera",),
    "stalls": ("camera",),
    "changes size": ("camera",),
    "garbage": ("camera",),
}
_INSTANT = ("killed", "changes size")  # without a duration
_MIN_S, _MAX_S = 1.0, 8.0
_TWO_FAULTS_SHARE = 0.4  # share of the rounds with two faults


@dataclass(frozen=True, slots=True)
class Fault:
    """Fault of a `kind` in `KINDS` at `target`, reverted after `held_s` if possible."""

    kind: str
    target: str
    held_s: float

    def __str__(self) -> str:
        return f"{self.target} {self.kind}"


def rounds(seed: int) -> Iterator[list[Fault]]:
    """Yield rounds of one or two faults without end; each kind occurs before any repeats."""
    rng = random.Random(seed)
    bag: list[tuple[str, str]] = []
    while True:
        if len(bag) < 2:
            every = [(kind, target) for kind, targets in KINDS.items() for target in targets]
            rng.shuffle(every)
            bag = every + bag
        chosen = [_fault(*bag.pop(), rng)]
        if rng.random() < _TWO_FAULTS_SHARE:
            other = next((f for f in reversed(bag) if not _clash(f, chosen[0])), None)
            if other is not None:
                bag.remove(other)
                chosen.append(_fault(*other, rng))
        yield chosen


def _fault(kind: str, target: str, rng: random.Random) -> Fault:
    held_s = 0.0 if kind in _INSTANT else round(rng.uniform(_MIN_S, _MAX_S), 1)
    return Fault(kind, target, held_s)


def _clash(other: tuple[str, str], fault: Fault) -> bool:
    """Return whether both faults have the same target: one would revert the other."""
    return other[1] == fault.target
