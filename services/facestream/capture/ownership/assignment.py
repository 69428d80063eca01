"""Which capture replica should read which camera. Pure.

Every replica reckons this for itself from the same table and comes to the same answer. The share is
even, and moves no more cameras than evenness needs: who reads a camera keeps it unless it holds
more than its share.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LeaseTable:
    """Who is there and who holds what, as the broker last said it.

    replicas: replica -> how many cameras it reads at most.
    holders: camera -> the replica that holds its lease, one of `replicas`.
    """

    replicas: Mapping[str, int] = field(default_factory=dict)
    holders: Mapping[str, str] = field(default_factory=dict)

    def held_by(self, replica: str) -> set[str]:
        """The cameras that this replica holds."""
        return {camera for camera, holder in self.holders.items() if holder == replica}


def assign_cameras(cameras: Collection[str], table: LeaseTable) -> dict[str, str]:
    """Camera -> the replica that should read it; those for which nobody has room are left out.

    Args:
        cameras: those to be shared. What a replica holds besides them stays with it and counts
            as its load: such as a camera that is plugged into its machine.
    """
    shared = set(cameras)
    held: dict[str, list[str]] = {replica: [] for replica in table.replicas}
    load = dict.fromkeys(table.replicas, 0)
    for camera, holder in sorted(table.holders.items()):
        if camera in shared:
            held[holder].append(camera)
        else:
            load[holder] += 1
    quotas = _quotas(len(shared), table.replicas, load, held)
    shares = {c: replica for replica, own in held.items() for c in own[: quotas[replica]]}
    room = [
        replica
        for replica, own in sorted(held.items())
        for _ in range(quotas[replica] - min(len(own), quotas[replica]))
    ]
    left = sorted(shared - shares.keys())
    return shares | dict(zip(left, room, strict=False))


def _quotas(
    number: int,
    capacities: Mapping[str, int],
    load: Mapping[str, int],
    held: Mapping[str, Collection[str]],
) -> dict[str, int]:
    """How many of `number` cameras each replica gets: one after the other to the least loaded.

    Of two equally loaded the one that holds more gets it, so that nothing moves in vain.
    """
    quotas = dict.fromkeys(capacities, 0)
    heap = [(load[r], -len(held[r]), r) for r in capacities if load[r] < capacities[r]]
    heapq.heapify(heap)
    while number and heap:
        loaded, minus_held, replica = heap[0]
        quotas[replica] += 1
        number -= 1
        if loaded + 1 < capacities[replica]:
            heapq.heapreplace(heap, (loaded + 1, minus_held, replica))
        else:
            heapq.heappop(heap)
    return quotas
