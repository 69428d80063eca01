"""How often somebody may try to sign in: a few at once, then slowly. Pure, of bounded memory.

Each network address has a bucket of tries that fills again with time, and all together have a
larger one: it bounds what hashing may cost, whatever the number of addresses.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

MAX_ADDRESSES = 1024


@dataclass(slots=True)
class _Bucket:
    tries: float
    at_s: float


class Attempts:
    """Counts tries.

    Args:
        clock: monotonic seconds.
        burst, every_s: tries of one address at once, and how long until it has one more.
        burst_all, every_all_s: the same of all addresses together.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        burst: int = 5,
        every_s: float = 10.0,
        burst_all: int = 60,
        every_all_s: float = 1.0,
    ) -> None:
        self._clock = clock
        self._burst, self._every_s = burst, every_s
        self._burst_all, self._every_all_s = burst_all, every_all_s
        self._all = _Bucket(burst_all, clock())
        self._buckets: dict[str, _Bucket] = {}  # the longest unused first

    def try_acquire(self, address: str) -> float:
        """Take a try: 0, or how many seconds are left until there is one."""
        now_s = self._clock()
        place = network_of(address)
        bucket = self._buckets.pop(place, None) or _Bucket(self._burst, now_s)
        self._buckets[place] = bucket
        while len(self._buckets) > MAX_ADDRESSES:
            del self._buckets[next(iter(self._buckets))]
        _fill(bucket, self._burst, self._every_s, now_s)
        if bucket.tries < 1:  # before that of all: one address must not empty it
            return (1 - bucket.tries) * self._every_s
        _fill(self._all, self._burst_all, self._every_all_s, now_s)
        if self._all.tries < 1:
            return (1 - self._all.tries) * self._every_all_s
        bucket.tries -= 1
        self._all.tries -= 1
        return 0.0

    def refund(self, address: str) -> None:
        """This address signed in: that try is given back, but none of those that failed.

        Else whoever has an account could go on guessing at the others for ever.
        """
        bucket = self._buckets.get(network_of(address))
        if bucket is not None:
            bucket.tries += 1


def network_of(address: str) -> str:
    """The address, or the /64 of an IPv6 one: its owner has all of that."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _fill(bucket: _Bucket, burst: int, every_s: float, now_s: float) -> None:
    bucket.tries = min(burst, bucket.tries + (now_s - bucket.at_s) / every_s)
    bucket.at_s = now_s
