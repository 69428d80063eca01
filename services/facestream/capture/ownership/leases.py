"""Leases in the broker: each camera is read by one capture replica at a time.

A replica says more than once a second that it lives, and claims cameras with the same call; who has
said nothing for `lease_ttl_s` is gone, and its cameras are free. All of that is one script on two keys,
by the broker's clock. Here, a lease ends `MARGIN` earlier and by the monotonic clock, counted from
before the call: a replica that was stopped and goes on knows by itself that it may not publish,
even before it has asked.
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

# Share of a lease that is left unused: what is sent last must arrive before the lease has ended.
MARGIN = 0.2
_KEEP_KEYS = 10  # leases; after that nobody is there and the keys go

# KEYS: replicas, holders. ARGV: who, lease in ms, capacity, number of claims, claims…, releases….
# Who comes back late still has what nobody has taken from it, so it is renewed before the others
# are looked at.
_RENEW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local me, lease_ms = ARGV[1], tonumber(ARGV[2])
local function ends(value) return tonumber(string.match(value, '^%d+')) end
local before = redis.call('HGET', KEYS[1], me)
local in_time = before and ends(before) > now
redis.call('HSET', KEYS[1], me, string.format('%d:%s', now + lease_ms, ARGV[3]))
local replicas = redis.call('HGETALL', KEYS[1])
local lives, answer = {}, {}
for i = 1, #replicas, 2 do
  if ends(replicas[i + 1]) > now then
    lives[replicas[i]] = true
    answer[#answer + 1] = replicas[i]
    answer[#answer + 1] = string.match(replicas[i + 1], '%d+$')
  else
    redis.call('HDEL', KEYS[1], replicas[i])
  end
end
local held = redis.call('HGETALL', KEYS[2])
for i = 1, #held, 2 do
  if not lives[held[i + 1]] then redis.call('HDEL', KEYS[2], held[i]) end
end
for i = 5, #ARGV do
  if i < 5 + tonumber(ARGV[4]) then
    redis.call('HSETNX', KEYS[2], ARGV[i], me)
  elseif redis.call('HGET', KEYS[2], ARGV[i]) == me then
    redis.call('HDEL', KEYS[2], ARGV[i])
  end
end
redis.call('PEXPIRE', KEYS[1], lease_ms * %(keep)d)
redis.call('PEXPIRE', KEYS[2], lease_ms * %(keep)d)
return {in_time and 1 or 0, answer, redis.call('HGETALL', KEYS[2])}
""".replace("%(keep)d", str(_KEEP_KEYS))

_LEAVE = """
redis.call('HDEL', KEYS[1], ARGV[1])
local held = redis.call('HGETALL', KEYS[2])
for i = 1, #held, 2 do
  if held[i + 1] == ARGV[1] then redis.call('HDEL', KEYS[2], held[i]) end
end
return 0
"""


def replica_name(port: int) -> str:
    """This process among all that read cameras: machine and the port that it listens on.

    Nobody else has that port while it lives, and who is started anew in its place has it again: it
    goes on with the same cameras at once.
    """
    return f"{socket.gethostname()}-{uuid.getnode():x}-{port}"


class Leases:
    """The leases of one replica. `holds` is for any thread, the rest for one.

    Args:
        broker: used by nobody else at the same time.
        replica: who this is; unique among all that live.
        capacity: how many cameras it reads at most.
        lease_ttl_s: how long a replica may be silent before its cameras are free.
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
        self._lease_s, self._metrics, self._clock = lease_ttl_s, metrics, clock
        self.table = LeaseTable()
        self._held: frozenset[str] = frozenset()
        self._ends_at: float | None = None  # None: never had one
        self._settles_until = clock()

    @property
    def are_valid(self) -> bool:
        """Whether the leases held have not run out."""
        return self._ends_at is not None and self._clock() < self._ends_at

    @property
    def is_only_replica(self) -> bool:
        """Whether no other replica was there when the broker last answered."""
        return self.table.replicas.keys() <= {self.replica}

    @property
    def in_grace_period(self) -> bool:
        """Who was away, as the broker may have been for all, leaves the others time to come back.

        Until then it is not to claim what it did not hold before.
        """
        return self._clock() < self._settles_until

    def holds(self, camera: str) -> bool:
        """Whether this replica may publish of this camera now."""
        return camera in self._held and self.are_valid

    def renew(self, claims: Collection[str]) -> LeaseTable:
        """Say that this replica lives and claim these cameras; what it held besides is released.

        Returns:
            who is there and who holds what now, claims that succeeded included.

        Raises:
            BROKER_ERRORS: nothing has changed here.
        """
        asked_at = self._clock()
        releases = self._held.difference(claims)
        answer: Any = self._broker.eval(
            _RENEW,
            2,
            REPLICAS_KEY,
            LEASES_KEY,
            self.replica,
            str(int(self._lease_s * 1000)),
            str(self._capacity),
            str(len(claims)),
            *claims,
            *releases,
        )
        in_time, replicas, holders = answer
        if not in_time and self._ends_at is not None and not self.is_only_replica:
            self._settles_until = asked_at + self._lease_s
        self.table = LeaseTable(
            {name: int(capacity) for name, capacity in _pairs(replicas)}, dict(_pairs(holders))
        )
        held = frozenset(self.table.held_by(self.replica))
        lost = self._held.intersection(claims) - held
        if lost:
            _log.warning("another replica reads now: %s", ", ".join(sorted(lost)))
            self._metrics.leases_lost.inc(len(lost))
        self._held = held
        self._ends_at = asked_at + self._lease_s * (1 - MARGIN)
        self._metrics.leases_held.set(len(held))
        self._metrics.replicas.set(len(self.table.replicas))
        return self.table

    def leave(self) -> None:
        """Release everything; may raise BROKER_ERRORS."""
        self._held = frozenset()
        self._broker.eval(_LEAVE, 2, REPLICAS_KEY, LEASES_KEY, self.replica)


def _pairs(flat: list[bytes]) -> list[tuple[str, str]]:
    texts = [text.decode() for text in flat]
    return list(zip(texts[::2], texts[1::2], strict=True))
