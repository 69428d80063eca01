"""Concurrency limit of endless responses: in all, and for one client address. No I/O.

A slot is taken in the same step of the event loop that counts it, so concurrent requests cannot all
pass the check before the first one counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from facestream.annotator.auth.login_rate_limit import network_of


class StreamLimitError(Exception):
    """All slots, or all slots of one client, are taken."""


class StreamLimit:
    """Slots of concurrent streams. Event loop only.

    Args:
        limit: slots in all.
        limit_per_client: slots of one address (IPv6: /64).
        message: text of the error.
    """

    def __init__(self, limit: int, limit_per_client: int, message: str) -> None:
        self._limit, self._limit_per_client = limit, limit_per_client
        self._message = message
        self._held: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """Number of taken slots."""
        return self._held.total()

    @contextmanager
    def slot(self, client: str) -> Iterator[None]:
        """Hold a slot for the duration of the block.

        Raises:
            StreamLimitError: no slot is free.
        """
        network = network_of(client)
        if self.held >= self._limit or self._held[network] >= self._limit_per_client:
            raise StreamLimitError(self._message)
        self._held[network] += 1
        try:
            yield
        finally:
            self._held[network] -= 1
            if not self._held[network]:
                del self._held[network]
