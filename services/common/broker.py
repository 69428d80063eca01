"""The connection to Redis or Valkey, made in one place, with deadlines on everything.

`connect` and `connect_async` take any URL that `redis` knows (redis, rediss, unix; ACL user and
password in it), and those of `scaled_broker`: Redis Cluster and Sentinel. The client reconnects by
itself on the next call; callers treat `BROKER_ERRORS` as "away for now" and try again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
import redis.asyncio
from pydantic import SecretStr
from redis.backoff import NoBackoff
from redis.retry import Retry

from services.common.errors import SettingsError
from services.common.redaction import redact
from services.common.scaled_broker import connect_scaled, connect_scaled_async, is_scaled

# A blocking read must end before the socket gives up, else every quiet second is an error.
MAX_BLOCK_MS = 1000
SOCKET_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0

BROKER_ERRORS = (redis.RedisError, redis.exceptions.RedisClusterException, OSError)

# Id and fields; no fields where the entry was trimmed while it was being read.
Entry = tuple[bytes, dict[bytes, bytes] | None]


def connect(url: SecretStr) -> redis.Redis:
    """A client; nothing is sent yet.

    Raises:
        SettingsError: the URL is not one of a broker.
    """
    make = connect_scaled if is_scaled(url.get_secret_value()) else redis.Redis.from_url
    try:
        return make(
            url.get_secret_value(),
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise _not_a_broker(url, error) from None


def connect_async(url: SecretStr) -> redis.asyncio.Redis:
    """The same for asyncio."""
    scaled = is_scaled(url.get_secret_value())
    make = connect_scaled_async if scaled else redis.asyncio.Redis.from_url
    try:
        return make(
            url.get_secret_value(),
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=redis.asyncio.retry.Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise _not_a_broker(url, error) from None


def by_stream(answer: Any) -> list[tuple[bytes, Sequence[Entry]]]:
    """Streams with their entries, of what XREAD or XREADGROUP answered.

    RESP2 gives a list and RESP3 (`?protocol=3` in the URL) a map; None where nothing came.
    """
    if not answer:
        return []
    if isinstance(answer, dict):
        return [(key, entries) for key, batches in answer.items() for entries in batches]
    return [(key, entries) for key, entries in answer]


def explain(error: BaseException) -> str:
    """A broker error in one line, without secrets."""
    return redact(" ".join(str(error).split()) or type(error).__name__)


def _not_a_broker(url: SecretStr, error: ValueError) -> SettingsError:
    return SettingsError(
        f"broker {redact(url.get_secret_value())!r}: {error}; write redis://host:6379/0"
    )
