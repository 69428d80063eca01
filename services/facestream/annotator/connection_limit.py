"""Connection limit in all and per client address; a full server drops the idlest connection.

Clients that are not authenticated yet must not be able to keep others out with idle or slow
connections. A connection is idle until its request is complete, and again after its response: a
client that sends its headers byte by byte is as idle as one that sends nothing. Event loop only.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Protocol

from facestream.annotator.auth.login_rate_limit import network_of

MAX_CONNECTIONS = 2048
MAX_CONNECTIONS_PER_CLIENT = 256
RESERVED_FILES = 256  # for the health port, the broker, the count database and log files


class Connection(Protocol):
    """Connection that can be dropped at once."""

    def drop(self) -> None:
        """Close the connection without waiting for unsent bytes."""


class ConnectionLimit:
    """All open connections, by network address.

    Args:
        limit: connections in all.
        limit_per_client: connections of one address (IPv6: /64).
    """

    def __init__(
        self, limit: int = MAX_CONNECTIONS, limit_per_client: int = MAX_CONNECTIONS_PER_CLIENT
    ) -> None:
        self._limit, self._limit_per_client = limit, limit_per_client
        self._networks: dict[Connection, str] = {}
        self._sizes: Counter[str] = Counter()
        self._idle: dict[str, OrderedDict[Connection, None]] = {}  # longest idle first
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._networks)

    def add(self, connection: Connection, address: str) -> bool:
        """Count a new connection; drop an idle one, or return False, if the limit is reached.

        At its own limit an address loses its longest idle connection. At the limit of all, the
        address with the most connections does.
        """
        network = network_of(address)
        if self._sizes[network] >= self._limit_per_client and not self._drop_idlest(network):
            return False
        if len(self) >= self._limit:
            largest = max(self._idle, key=lambda each: self._sizes[each], default=None)
            if largest is None or not self._drop_idlest(largest):
                return False
        self._networks[connection] = network
        self._sizes[network] += 1
        self.mark_idle(connection)
        return True

    def remove(self, connection: Connection) -> None:
        """Forget a closed connection; one that was never added is no error."""
        self.mark_busy(connection)
        network = self._networks.pop(connection, None)
        if network is not None:
            self._sizes[network] -= 1
            if not self._sizes[network]:
                del self._sizes[network]

    def mark_idle(self, connection: Connection) -> None:
        """Record that the connection waits for a request; its idle time starts now."""
        network = self._networks.get(connection)
        if network is not None:
            self._idle.setdefault(network, OrderedDict()).setdefault(connection)

    def mark_busy(self, connection: Connection) -> None:
        """Record that the connection has sent a complete request."""
        network = self._networks.get(connection)
        if network is None or network not in self._idle:
            return
        self._idle[network].pop(connection, None)
        if not self._idle[network]:
            del self._idle[network]

    def _drop_idlest(self, network: str) -> bool:
        if network not in self._idle:
            return False
        connection = next(iter(self._idle[network]))
        self.remove(connection)
        self.dropped += 1
        connection.drop()
        return True
