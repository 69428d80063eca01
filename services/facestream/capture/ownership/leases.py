"""Leases of cameras in the broker: each camera is read by one capture replica at a time.

A replica sends a heartbeat more than once per second and claims cameras with the same call. A
replica without a heartbeat for `lease_ttl_s` is dead, and its cameras are free. All of this is one
script on two keys, by the broker's clock. Locally a lease ends `SAFETY_MARGIN` earlier, by the
monotonic clock, counted from before the call. A replica that was suspended and resumes therefore
knows that it must not publish, even before it reaches the broker.
"""

from __future__ import annotations

import logging
import socket
import time
import uuid
from collections.abc import Callable, Collection
from typing import Any

import redis

from facestream.capture.metrics import CaptureMetrics
from facestream.capture.ownership.assignment import LeaseTable
from facestream.common.broker.keys import LEASES_KEY, REPLICAS_KEY

_log = logging.getLogger(__name__)

# Fraction of a lease that is not used: the last entry sent must arrive before the lease has
# expired.
SAFETY_MARGIN = 0.2
_KEYS_TTL_LEASES = 10  # lease durations after which the keys expire when no replica renews them

# KEYS: replicas, holders. ARGV: replica, lease in ms, capacity, number of claims, claims…,
# releases…. The replica is renewed before expired ones are removed, so that a late one keeps the
# leases that no other replica has claimed.
_RENEW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me, lease_ms = ARGV[1], tonumber(ARGV[2])
local function expires_at(value) return tonumber(string.match(value, '^%d+')) end
local before = redis.call('HGET', KEYS[1], me)
local in_time = before and expires_at(before) > now
redis.call('HSET', KEYS[1], me, string.format('%d:%s', now + lease_ms, ARGV[3]))
local replicas = redis.call('HGETALL', KEYS[1])
local alive, capacities = {}, {}
for i = 1, #replicas, 2 do
  if expires_at(replicas[i + 1]) > now then
    alive[replicas[i]] = true
    capacities[#capacities + 1] = replicas[i]
    capacities[#capacities + 1] = string.match(replicas[i + 1], '%d+$')
  else
    redis.call('HDEL', KEYS[1], replicas[i])
  end
end
local held = redis.call('HGETALL', KEYS[2])
for i = 1, #held, 2 do
  if not alive[held[i + 1]] then redis.call('HDEL', KEYS[2], held[i]) end
end
for i = 5, #ARGV do
  if i < 5 + tonumber(ARGV[4]) then
    redis.call('HSETNX', KEYS[2], ARGV[i], me)
  elseif redis.call('HGET', KEYS[2], ARGV[i]) == me then
    redis.call('HDEL', KEYS[2], ARGV[i])
  end
end
redis.call('PEXPIRE', KEYS[1], lease_ms * %(ttl_leases)d)
redis.call('PEXPIRE', KEYS[2], lease_ms * %(ttl_leases)d)
return {in_time and 1 or 0, capacities, redis.call('HGETALL', KEYS[2])}
""".replace("%(ttl_leases)d", str(_KEYS_TTL_LEASES))

_LEAVE = """
redis.call('HDEL', KEYS[1], ARGV[1])
local held = redis.call('HGETALL', KEYS[2])
for i = 1, #held, 2 do
  if held[i + 1] == ARGV[1] then redis.call('HDEL', KEYS[2], held[i]) end
end
return 0
"""


def replica_name(port: int) -> str:
    """Return the name of this replica: host name, hardware id and health port.

    No other process of the machine can have the port. A process that is restarted with the same
    port has the same name, and continues with its cameras at once.
    """
    return f"{socket.gethostname()}-{uuid.getnode():x}-{port}"


class Leases:
    """Camera leases of one replica. `holds` is thread-safe, the rest is for one thread.

    Args:
        broker: connection that no other thread uses at the same time.
        replica: name of this replica, unique among all live ones.
        capacity: number of cameras that it can read.
        lease_ttl_s: a replica without a heartbeat for this long loses its cameras.
        metrics: of capture.
        clock: monotonic, seconds.
    """

    def __init__(
        self,
        broker: redis.Redis,
        replica: str,
        capacity: int,
        lease_ttl_s: float,
        metrics: CaptureMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker, self.replica, self._capacity = broker, replica, capacity
        self._lease_ttl_s, self._metrics, self._clock = lease_ttl_s, metrics, clock
        self.table = LeaseTable()
        self._held: frozenset[str] = frozenset()
        self._expires_at: float | None = None  # None: there was no renewal yet
        self._grace_until = clock()

    @property
    def are_valid(self) -> bool:
        """Whether the leases held have not expired."""
        return self._expires_at is not None and self._clock() < self._expires_at

    @property
    def is_only_replica(self) -> bool:
        """Whether the last renewal found no other replica."""
        return self.table.replicas.keys() <= {self.replica}

    @property
    def in_grace_period(self) -> bool:
        """Whether other replicas still have time to renew their leases.

        It begins when this replica was late, because the broker may have been unavailable for all.
        A replica must not claim further cameras in it.
        """
        return self._clock() < self._grace_until

    def holds(self, camera: str) -> bool:
        """Return whether this replica may publish for this camera now."""
        return camera in self._held and self.are_valid

    def renew(self, claims: Collection[str]) -> LeaseTable:
        """Send a heartbeat, claim these cameras and release all others.

        Returns:
            the live replicas and the holders, successful claims included.

        Raises:
            BROKER_ERRORS: nothing has changed here.
        """
        sent_at = self._clock()
        releases = self._held.difference(claims)
        reply: Any = self._broker.eval(
            _RENEW,
            2,
            REPLICAS_KEY,
            LEASES_KEY,
            self.replica,
            str(int(self._lease_ttl_s * 1000)),
            str(self._capacity),
            str(len(claims)),
            *claims,
            *releases,
        )
        in_time, replicas, holders = reply
        if not in_time and self._expires_at is not None and not self.is_only_replica:
            self._grace_until = sent_at + self._lease_ttl_s
        self.table = LeaseTable(
            {name: int(capacity) for name, capacity in _pairs(replicas)}, dict(_pairs(holders))
        )
        held = frozenset(self.table.held_by(self.replica))
        lost = self._held.intersection(claims) - held
        if lost:
            _log.warning("lost lease to another replica: %s", ", ".join(sorted(lost)))
            self._metrics.leases_lost.inc(len(lost))
        self._held = held
        self._expires_at = sent_at + self._lease_ttl_s * (1 - SAFETY_MARGIN)
        self._metrics.leases_held.set(len(held))
        self._metrics.replicas.set(len(self.table.replicas))
        return self.table

    def leave(self) -> None:
        """Release all leases and leave the group of replicas.

        Raises:
            BROKER_ERRORS: the leases expire on their own.
        """
        self._held = frozenset()
        self._broker.eval(_LEAVE, 2, REPLICAS_KEY, LEASES_KEY, self.replica)


def _pairs(flat: list[bytes]) -> list[tuple[str, str]]:
    texts = [text.decode() for text in flat]
    return list(zip(texts[::2], texts[1::2], strict=True))
