"""Assign cameras to capture replicas. No I/O.

Every replica computes the assignment from the same lease table and gets the same result. The
assignment is even, and moves as few cameras as that requires: a replica keeps its cameras unless it
holds more than its quota.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LeaseTable:
    """Live replicas and lease holders, as last read from the broker.

    replicas: replica -> its capacity, the number of cameras that it can read.
    holders: camera -> the replica that holds its lease, one of `replicas`.
    """

    replicas: Mapping[str, int] = field(default_factory=dict)
    holders: Mapping[str, str] = field(default_factory=dict)

    def held_by(self, replica: str) -> set[str]:
        """Return the cameras whose leases this replica holds."""
        return {camera for camera, holder in self.holders.items() if holder == replica}


def assign_cameras(cameras: Collection[str], table: LeaseTable) -> dict[str, str]:
    """Return camera -> the replica that should read it; without cameras beyond the total capacity.

    Args:
        cameras: to be assigned. Other cameras that a replica holds, such as one attached to its
            machine, stay with it and count as load.
        table: current leases.
    """
    assignable = set(cameras)
    held: dict[str, list[str]] = {replica: [] for replica in table.replicas}
    load = dict.fromkeys(table.replicas, 0)
    for camera, holder in sorted(table.holders.items()):
        if camera in assignable:
            held[holder].append(camera)
        else:
            load[holder] += 1
    quotas = _quotas(len(assignable), table.replicas, load, held)
    assignment = {
        camera: replica for replica, own in held.items() for camera in own[: quotas[replica]]
    }
    free_slots = [
        replica
        for replica, own in sorted(held.items())
        for _ in range(quotas[replica] - min(len(own), quotas[replica]))
    ]
    unassigned = sorted(assignable - assignment.keys())
    return assignment | dict(zip(unassigned, free_slots, strict=False))


def _quotas(
    number: int,
    capacities: Mapping[str, int],
    load: Mapping[str, int],
    held: Mapping[str, Collection[str]],
) -> dict[str, int]:
    """Distribute `number` cameras one by one to the replica with the lowest load.

    Of two replicas with equal load, the one that holds more cameras gets the next, so that no
    camera moves without need.
    """
    quotas = dict.fromkeys(capacities, 0)
    heap = [(load[r], -len(held[r]), r) for r in capacities if load[r] < capacities[r]]
    heapq.heapify(heap)
    while number and heap:
        replica_load, minus_held, replica = heap[0]
        quotas[replica] += 1
        number -= 1
        if replica_load + 1 < capacities[replica]:
            heapq.heapreplace(heap, (replica_load + 1, minus_held, replica))
        else:
            heapq.heappop(heap)
    return quotas
