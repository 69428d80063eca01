"""Which faults there are, and which come when: at random, by a seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

SERVICES = ("broker", "model-server", "worker", "capture", "annotator")
LINKS = ("capture-broker", "worker-broker", "annotator-broker", "worker-model-server")

# What to whom. A stop of up to 8 s is longer than any socket waits here.
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
_AT_ONCE = ("killed", "changes size")  # nothing is held
_SHORTEST_S, _LONGEST_S = 1.0, 8.0
_TWO = 0.4  # of the rounds have two faults at a time


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind` of `KINDS`, done to `target`, undone after `held_s` where it can be."""

    kind: str
    target: str
    held_s: float

    def __str__(self) -> str:
        return f"{self.target} {self.kind}"


def rounds(seed: int) -> Iterator[list[Fault]]:
    """One or two faults at a time, without end; all kinds come before one comes again."""
    chance = random.Random(seed)
    bag: list[tuple[str, str]] = []
    while True:
        if len(bag) < 2:
            every = [(kind, target) for kind, targets in KINDS.items() for target in targets]
            chance.shuffle(every)
            bag = every + bag
        chosen = [_fault(*bag.pop(), chance)]
        if chance.random() < _TWO:
            other = next((f for f in reversed(bag) if not _clash(f, chosen[0])), None)
            if other is not None:
                bag.remove(other)
                chosen.append(_fault(*other, chance))
        yield chosen


def _fault(kind: str, target: str, chance: random.Random) -> Fault:
    held_s = 0.0 if kind in _AT_ONCE else round(chance.uniform(_SHORTEST_S, _LONGEST_S), 1)
    return Fault(kind, target, held_s)


def _clash(other: tuple[str, str], fault: Fault) -> bool:
    """Two faults of one target would undo each other."""
    return other[1] == fault.target
