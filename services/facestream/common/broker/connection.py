"""The connection to Redis or Valkey, made in one place, with deadlines on everything.

`connect` and `connect_async` take any URL that `redis` knows (redis, rediss, unix; ACL user and
password in it), and those of `scaled_broker`: Redis Cluster and Sentinel. The client reconnects by
itself on the next call; callers treat `BROKER_ERRORS` as "away for now" and try again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis
import redis.asyncio
from pydantic import SecretStr
from redis.backoff import NoBackoff
from redis.retry import Retry

from facestream.common.broker.cluster import connect_scaled, connect_scaled_async, is_multi_node_url
from facestream.common.core.errors import SettingsError
from facestream.common.core.urls import split_url
from facestream.common.security.redaction import redact

# A blocking read must end before the socket gives up, else every quiet second is an error.
MAX_BLOCK_MS = 1000
SOCKET_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0

BROKER_ERRORS = (redis.RedisError, redis.exceptions.RedisClusterException, OSError)

# Id and fields; no fields where the entry was trimmed while it was being read.
XreadEntry = tuple[bytes, dict[bytes, bytes] | None]

Client = TypeVar("Client", redis.Redis, redis.asyncio.Redis)


def connect(url: SecretStr) -> redis.Redis:
    """A client; nothing is sent yet.

    Raises:
        SettingsError: the URL is not one of a broker.
    """
    return _client(url, redis.Redis.from_url, connect_scaled, Retry(NoBackoff(), 0))


def connect_async(url: SecretStr) -> redis.asyncio.Redis:
    """The same for asyncio."""
    retry = redis.asyncio.retry.Retry(NoBackoff(), 0)
    return _client(url, redis.asyncio.Redis.from_url, connect_scaled_async, retry)


def parse_xread(answer: Any) -> list[tuple[bytes, Sequence[XreadEntry]]]:
    """Streams with their entries, of what XREAD or XREADGROUP answered.

    RESP2 gives a list and RESP3 (`?protocol=3` in the URL) a map; None where nothing came.
    """
    if not answer:
        return []
    if isinstance(answer, dict):
        return [(key, entries) for key, batches in answer.items() for entries in batches]
    return [(key, entries) for key, entries in answer]


def error_text(error: BaseException) -> str:
    """A broker error in one line, without secrets."""
    return redact(" ".join(str(error).split()) or type(error).__name__)


def _client(
    url: SecretStr, plain: Callable[..., Client], scaled: Callable[..., Client], retry: object
) -> Client:
    text = url.get_secret_value()
    try:
        if not is_multi_node_url(text):
            split_url(text)
        return (scaled if is_multi_node_url(text) else plain)(
            text,
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=retry,
        )
    except ValueError as error:
        raise SettingsError(
            f"broker {redact(text)!r}: {error}; write redis://host:6379/0"
        ) from None
