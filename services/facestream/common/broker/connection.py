"""Connect to Redis or Valkey, with a timeout on every operation.

`connect` and `connect_async` accept any URL that `redis` supports (redis, rediss, unix; with ACL
user and password), and those of `cluster`: Redis Cluster and Sentinel. The client reconnects on
the next call. Callers treat `BROKER_ERRORS` as "unavailable for now" and try again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis
import redis.asyncio
from pydantic import SecretStr
from redis.backoff import NoBackoff
from redis.retry import Retry

from facestream.common.broker.cluster import (
    connect_multi_node,
    connect_multi_node_async,
    is_multi_node_url,
)
from facestream.common.core.errors import SettingsError
from facestream.common.core.urls import split_url
from facestream.common.security.redaction import redact

# A blocking read must end before the socket times out, else an idle stream raises an error.
MAX_BLOCK_MS = 1000
SOCKET_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0

BROKER_ERRORS = (redis.RedisError, redis.exceptions.RedisClusterException, OSError)

# Id and fields; the fields are None if the entry was trimmed during the read.
XreadEntry = tuple[bytes, dict[bytes, bytes] | None]

Client = TypeVar("Client", redis.Redis, redis.asyncio.Redis)


def connect(url: SecretStr) -> redis.Redis:
    """Return a client; it connects on first use.

    Raises:
        SettingsError: the URL is not the URL of a broker.
    """
    return _create_client(url, redis.Redis.from_url, connect_multi_node, Retry(NoBackoff(), 0))


def connect_async(url: SecretStr) -> redis.asyncio.Redis:
    """Return an asyncio client; see `connect`."""
    retry = redis.asyncio.retry.Retry(NoBackoff(), 0)
    return _create_client(url, redis.asyncio.Redis.from_url, connect_multi_node_async, retry)


def parse_xread(reply: Any) -> list[tuple[bytes, Sequence[XreadEntry]]]:
    """Return the streams and their entries in a reply to XREAD or XREADGROUP.

    The reply is a list in RESP2, a map in RESP3 (`?protocol=3` in the URL), and None after a
    timeout.
    """
    if not reply:
        return []
    if isinstance(reply, dict):
        return [(key, entries) for key, batches in reply.items() for entries in batches]
    return [(key, entries) for key, entries in reply]


def error_text(error: BaseException) -> str:
    """Return a broker error as one line, without secrets."""
    return redact(" ".join(str(error).split()) or type(error).__name__)


def _create_client(
    url: SecretStr,
    connect_single: Callable[..., Client],
    connect_multi: Callable[..., Client],
    retry: object,
) -> Client:
    text = url.get_secret_value()
    try:
        if not is_multi_node_url(text):
            split_url(text)
        return (connect_multi if is_multi_node_url(text) else connect_single)(
            text,
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=retry,
        )
    except ValueError as error:
        raise SettingsError(
            f"broker {redact(text)!r}: {error}; write redis://host:6379/0"
        ) from None
