"""Redis Cluster and Redis Sentinel: brokers of several servers.

    redis+cluster://user:password@node-1:6379,node-2:6379
    redis+sentinel://user:password@sentinel-1:26379,sentinel-2:26379/mymaster/0

`rediss+…` uses TLS. Options follow `?` as in any Redis URL; those that begin with `sentinel_` apply
to the Sentinels (`?sentinel_password=…`). All keys of one command to a cluster must be in one slot:
`slot_groups` groups them.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlencode

import redis
import redis.asyncio
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.cluster import ClusterNode
from redis.crc import key_slot
from redis.sentinel import Sentinel

from facestream.common.core.urls import split_url

_URL = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>cluster|sentinel)://(?:(?P<info>.*)@)?"
    r"(?P<hosts>[^/?@]+)(?:/(?P<path>[^?]*))?(?:\?(?P<query>.*))?"
)
_SENTINEL_OPTION = "sentinel_"
_DEFAULT_PORTS = {"cluster": 6379, "sentinel": 26379}
Key = TypeVar("Key", str, bytes)


class MultiNodeUrl:
    """Parts of a URL with several servers.

    Raises:
        ValueError: the URL is malformed; the message quotes nothing of it.
    """

    def __init__(self, url: str) -> None:
        match = _URL.fullmatch(url)
        if match is None:
            raise ValueError("not a list of HOST:PORT")
        self.is_cluster = match["kind"] == "cluster"
        default = _DEFAULT_PORTS[match["kind"]]
        self.hosts = [_host_and_port(text, default) for text in match["hosts"].split(",")]
        path = [unquote(part) for part in (match["path"] or "").split("/") if part]
        query = parse_qsl(match["query"] or "")
        self.sentinel_options = {
            key.removeprefix(_SENTINEL_OPTION): value
            for key, value in query
            if key.startswith(_SENTINEL_OPTION)
        }
        options = urlencode([pair for pair in query if not pair[0].startswith(_SENTINEL_OPTION)])
        self.master, database = "", ""
        if self.is_cluster:
            if path and path != ["0"]:
                raise ValueError("a cluster has database 0 only")
        elif not 1 <= len(path) <= 2:
            raise ValueError("name the master: …/mymaster/0")
        else:
            self.master, database = path[0], "".join(path[1:])
        info = f"{match['info']}@" if match["info"] else ""
        host, port = self.hosts[0]
        host = f"[{host}]" if ":" in host else host
        # `redis` parses user, password and options from a URL with one server.
        self.first_url = f"{match['scheme']}://{info}{host}:{port}/{database}?{options}"
        split_url(self.first_url)
        self.is_tls = match["scheme"] == "rediss"


def is_multi_node_url(url: str) -> bool:
    """Return whether the URL has a scheme of this module."""
    return url.partition("://")[0] in {
        f"{scheme}+{kind}" for scheme in ("redis", "rediss") for kind in _DEFAULT_PORTS
    }


def connect_multi_node(url: str, **options: Any) -> redis.Redis:
    """Return a client of a cluster, or of a Sentinel master; it connects on first use.

    Raises:
        ValueError: the URL is malformed.
    """
    parts = MultiNodeUrl(url)
    if parts.is_cluster:
        nodes = [_node(host, port) for host, port in parts.hosts[1:]]
        # For commands that a cluster supports, both have the same interface.
        return cast(redis.Redis, _Cluster(parts.first_url, nodes, options))
    pool = _pool_options(parts, options)
    sentinel: Any = _untyped(Sentinel)(
        parts.hosts, sentinel_kwargs=_sentinel_options(parts, pool, options)
    )
    master: redis.Redis = sentinel.master_for(parts.master, redis_class=_Master, **pool)
    return master


def connect_multi_node_async(url: str, **options: Any) -> redis.asyncio.Redis:
    """Return the asyncio client; see `connect_multi_node`."""
    parts = MultiNodeUrl(url)
    if parts.is_cluster:
        nodes = [redis.asyncio.cluster.ClusterNode(host, port) for host, port in parts.hosts]
        client: Any = redis.asyncio.RedisCluster.from_url(
            parts.first_url, startup_nodes=nodes[1:], **options
        )
        return cast(redis.asyncio.Redis, client)
    pool = _pool_options(parts, options)
    sentinel: Any = _untyped(AsyncSentinel)(
        parts.hosts, sentinel_kwargs=_sentinel_options(parts, pool, options)
    )
    master: redis.asyncio.Redis = sentinel.master_for(
        parts.master, redis_class=_AsyncMaster, **pool
    )
    return master


def is_cluster(client: object) -> bool:
    """Return whether all keys of a command or transaction must be in one slot."""
    return isinstance(client, _Cluster | redis.RedisCluster | redis.asyncio.RedisCluster)


def slot_groups(client: object, keys: Sequence[Key]) -> list[list[Key]]:
    """Group keys that one command may name: by slot in a cluster, else all together."""
    if not is_cluster(client):
        return [list(keys)]
    groups: dict[int, list[Key]] = {}
    for key in keys:
        slot = key_slot(key if isinstance(key, bytes) else key.encode())
        groups.setdefault(slot, []).append(key)
    return list(groups.values())


class _Master(redis.Redis):
    """Client of a Sentinel master; closing it closes its connections to the Sentinels."""

    def close(self) -> None:
        """Close all connections."""
        super().close()
        for sentinel in _sentinels(self):
            sentinel.close()


class _AsyncMaster(redis.asyncio.Redis):
    """As `_Master`, for asyncio."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close all connections."""
        await super().aclose(close_connection_pool)
        for sentinel in _sentinels(self):
            await sentinel.aclose()


class _Cluster:
    """Proxy that creates a `redis.RedisCluster` on first use, as its constructor connects."""

    def __init__(self, url: str, nodes: list[ClusterNode], options: dict[str, Any]) -> None:
        self._connect = partial(
            redis.RedisCluster.from_url, url, startup_nodes=list(nodes), **options
        )
        self._client: Any = None
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
        return getattr(self._client, name)

    def __enter__(self) -> _Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, if there are any."""
        with self._lock:
            if self._client is not None:
                self._client.close()


def _sentinels(master: redis.Redis | redis.asyncio.Redis) -> list[Any]:
    pool: Any = getattr(master, "connection_pool", None)  # None if it was never created
    return list(pool.sentinel_manager.sentinels) if pool is not None else []


def _untyped(function: Any) -> Any:
    """Return the function as Any: `redis` has no types for it."""
    return function


def _node(host: str, port: int) -> ClusterNode:
    node: ClusterNode = _untyped(ClusterNode)(host, port)
    return node


def _host_and_port(text: str, default: int) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\[\]]+)(?::(\d{1,5}))?", text)
    if match is None or int(match[2] or default) > 65535:
        raise ValueError("not a list of HOST:PORT")
    return match[1].strip("[]"), int(match[2] or default)


def _pool_options(parts: MultiNodeUrl, options: dict[str, Any]) -> dict[str, Any]:
    parsed = _untyped(redis.connection.parse_url)(parts.first_url)
    excluded = ("host", "port", "connection_class")
    pool = {key: value for key, value in parsed.items() if key not in excluded}
    return {**pool, **options, "ssl": True} if parts.is_tls else {**pool, **options}


def _sentinel_options(
    parts: MultiNodeUrl, pool: dict[str, Any], options: dict[str, Any]
) -> dict[str, Any]:
    tls = {key: value for key, value in pool.items() if key.startswith("ssl")}
    return {**tls, **options, **parts.sentinel_options}
