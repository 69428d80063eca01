"""Login rate limit: token buckets per network address and for all addresses together. No I/O.

Each address may try a few times at once, then slowly. The global bucket limits the CPU time that
password hashing costs, whatever the number of addresses. A device that has logged in before has a
bucket of its own: guesses from other addresses do not lock it out. Memory is bounded by
`MAX_ADDRESSES`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

MAX_ADDRESSES = 1024


@dataclass(slots=True)
class _Bucket:
    tokens: float
    updated_s: float

    def refill(self, burst: int, interval_s: float, now_s: float) -> None:
        self.tokens = min(burst, self.tokens + (now_s - self.updated_s) / interval_s)
        self.updated_s = now_s


class LoginRateLimiter:
    """Token buckets of login attempts.

    Args:
        clock: monotonic seconds.
        burst: attempts of one address without a wait.
        interval_s: seconds until one address gets a further attempt.
        global_burst: as `burst`, for all addresses together.
        global_interval_s: as `interval_s`, for all addresses together.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        burst: int = 5,
        interval_s: float = 10.0,
        global_burst: int = 60,
        global_interval_s: float = 1.0,
    ) -> None:
        self._clock = clock
        self._burst, self._interval_s = burst, interval_s
        self._global_burst, self._global_interval_s = global_burst, global_interval_s
        self._global = _Bucket(global_burst, clock())
        self._buckets: dict[str, _Bucket] = {}  # least recently used first
        self._devices: dict[str, _Bucket] = {}  # likewise

    def try_acquire(self, address: str) -> float:
        """Consume one login attempt; return 0 if allowed, else seconds until the next attempt."""
        now_s = self._clock()
        bucket = self._bucket(self._buckets, network_of(address), now_s)
        if bucket.tokens < 1:  # checked first: one address must not drain the global bucket
            return (1 - bucket.tokens) * self._interval_s
        self._global.refill(self._global_burst, self._global_interval_s, now_s)
        if self._global.tokens < 1:
            return (1 - self._global.tokens) * self._global_interval_s
        bucket.tokens -= 1
        self._global.tokens -= 1
        return 0.0

    def try_acquire_device(self, device: str) -> float:
        """Consume one login attempt of a known device, as `try_acquire` without the global limit.

        Args:
            device: id from a cookie whose signature is valid.
        """
        bucket = self._bucket(self._devices, device, self._clock())
        if bucket.tokens < 1:
            return (1 - bucket.tokens) * self._interval_s
        bucket.tokens -= 1
        return 0.0

    def refund_device(self, device: str) -> None:
        """Return the token of a successful login to its device."""
        if device in self._devices:
            self._devices[device].tokens += 1

    def _bucket(self, buckets: dict[str, _Bucket], key: str, now_s: float) -> _Bucket:
        bucket = buckets.pop(key, None) or _Bucket(self._burst, now_s)
        buckets[key] = bucket
        while len(buckets) > MAX_ADDRESSES:
            del buckets[next(iter(buckets))]
        bucket.refill(self._burst, self._interval_s, now_s)
        return bucket

    def refund(self, address: str) -> None:
        """Return the token of a successful login to its address.

        Tokens of failed attempts stay consumed. Otherwise a user could log in between guesses at
        the passwords of others and never reach the limit.
        """
        bucket = self._buckets.get(network_of(address))
        if bucket is not None:
            bucket.tokens += 1


def network_of(address: str) -> str:
    """Return an IPv4 address as it is, an IPv6 address as its /64: one client owns all of that."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
