"""Read the face streams of all shards as one consumer of the Redis consumer group.

`read` returns new faces, `claim` the faces of dead workers; `extend_claims` prevents other workers
from claiming faces in flight. A missing group is created, so a Redis server that lost its memory is
no obstacle.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Mapping, Set
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import redis

from facestream.common.broker import face_accounting_scripts
from facestream.common.broker.cluster import slot_groups
from facestream.common.broker.connection import BROKER_ERRORS, MAX_BLOCK_MS, parse_xread
from facestream.common.broker.face_accounting import FaceAccounting
from facestream.common.broker.keys import WORKER_GROUP, faces_key

# Error replies of Redis when the group, or its stream, does not exist.
NO_GROUP_ERRORS = ("NOGROUP", "UNBLOCKED")
_GROUP_EXISTS = "BUSYGROUP"
# Per shard and call; streams hold hardly more, and the next call takes the rest.
_MAX_CLAIMED = 64
_MAX_PENDING = 1000


@dataclass(frozen=True, slots=True)
class PendingFace:
    """An undecoded stream entry. `deliveries` includes this delivery."""

    stream: str
    id: bytes
    fields: Mapping[bytes, bytes]
    deliveries: int = 1


@dataclass(frozen=True, slots=True)
class Backlog:
    """State of the face streams of all shards.

    faces: entries, including those in flight; oldest_s: age of the oldest; accounting: outcomes of
    all faces so far.
    """

    faces: int
    oldest_s: float
    accounting: FaceAccounting


def consumer_name() -> str:
    """Return a unique consumer name: host, process id, random token."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class FaceConsumer:
    """Consumer of all face streams; every method may raise BROKER_ERRORS.

    Args:
        broker: the Redis client.
        shards: number of face streams.
        consumer: this worker's name in the group.
        count: most entries that one `read` returns (a few more with many shards).
        claim_min_idle_s: other workers may claim a face after it was pending for this long.
    """

    def __init__(
        self,
        broker: redis.Redis,
        *,
        shards: int,
        consumer: str,
        count: int,
        claim_min_idle_s: float,
    ) -> None:
        self._broker, self._consumer = broker, consumer
        self.streams = [faces_key(shard) for shard in range(shards)]
        self._count = max(-(-count // shards), min(count, 4))  # COUNT is per stream
        self._claim_idle_ms = int(claim_min_idle_s * 1000)
        self._stream_groups: list[dict[Any, Any]] = [
            dict.fromkeys(streams, ">") for streams in slot_groups(broker, self.streams)
        ]
        self._threads = ThreadPoolExecutor(
            len(self._stream_groups), "shard"
        )  # starts no thread before its first use
        self._reads: dict[int, Future[Any]] = {}  # running, by index of `_stream_groups`

    def ensure_groups(self) -> None:
        """Create missing consumer groups, which read from the start of their streams."""
        with self._broker.pipeline(transaction=False) as pipe:
            for stream in self.streams:
                face_accounting_scripts.ensure_group(pipe, stream)
            for reply in pipe.execute(raise_on_error=False):
                if isinstance(reply, Exception) and not str(reply).startswith(_GROUP_EXISTS):
                    raise reply

    def read(self, block_ms: int) -> list[PendingFace]:
        """Return new faces; wait at most `block_ms` (> 0) for the first one."""
        try:
            replies = (
                self._read_one_group(block_ms)
                if len(self._stream_groups) == 1
                else self._read_all_groups(block_ms)
            )
        except redis.ResponseError as error:
            if not str(error).startswith(NO_GROUP_ERRORS):
                raise
            self.ensure_groups()
            return []
        return [
            PendingFace(stream.decode(), entry, fields or {})
            for reply in replies
            for stream, entries in parse_xread(reply)
            for entry, fields in entries
        ]

    def _read_one_group(self, block_ms: int) -> list[Any]:
        (streams,) = self._stream_groups
        return [
            self._broker.xreadgroup(
                WORKER_GROUP, self._consumer, streams, count=self._count, block=block_ms
            )
        ]

    def _read_all_groups(self, block_ms: int) -> list[Any]:
        """Read from several slots of a Redis Cluster, where one XREADGROUP covers only one slot.

        A read that still blocks at the end is checked by the next call.
        """
        for i, streams in enumerate(self._stream_groups):
            if i not in self._reads:
                self._reads[i] = self._threads.submit(
                    self._broker.xreadgroup,
                    WORKER_GROUP,
                    self._consumer,
                    streams,
                    count=self._count,
                    block=MAX_BLOCK_MS,
                )
        wait(self._reads.values(), block_ms / 1000, FIRST_COMPLETED)
        replies: list[Any] = []
        failure: Exception | None = None
        for i in [i for i, read in self._reads.items() if read.done()]:
            try:
                replies.append(self._reads.pop(i).result())
            except BROKER_ERRORS as error:
                failure = error
        if failure is not None and not any(replies):
            raise failure
        return replies

    def claim(self, in_flight: Set[tuple[str, bytes]]) -> list[PendingFace]:
        """Claim and return faces that another worker did not finish.

        Trimmed entries are acknowledged and not returned; the trimming process has counted them. A
        failed shard raises only if the others return nothing, because this worker is responsible
        for the faces that it claimed from them.

        Args:
            in_flight: stream and id of this worker's own faces, which are not returned.
        """
        found: list[PendingFace] = []
        failure: Exception | None = None
        for stream in self.streams:
            try:
                found += self._claim(stream, in_flight)
            except BROKER_ERRORS as error:
                failure = error
                if isinstance(error, redis.TimeoutError):
                    break  # other shards may time out too, while claimed faces go stale
        if failure is not None and not found:
            raise failure
        return found

    def _claim(self, stream: str, in_flight: Set[tuple[str, bytes]]) -> list[PendingFace]:
        try:
            reply: Any = self._broker.xautoclaim(
                stream, WORKER_GROUP, self._consumer, self._claim_idle_ms, count=_MAX_CLAIMED
            )
        except redis.ResponseError as error:
            if not str(error).startswith(NO_GROUP_ERRORS):
                raise
            self.ensure_groups()
            return []
        trimmed = [entry for entry, fields in reply[1] if fields is None]
        if trimmed:
            self._broker.xack(stream, WORKER_GROUP, *trimmed)
        claimed = {
            entry: fields
            for entry, fields in reply[1]
            if fields is not None and (stream, entry) not in in_flight
        }
        deliveries = self._deliveries(stream) if claimed else {}
        return [
            PendingFace(stream, entry, fields, deliveries.get(entry, 1))
            for entry, fields in claimed.items()
        ]

    def extend_claims(self, in_flight: Set[tuple[str, bytes]]) -> None:
        """Reset the idle time of faces in flight, so that no worker claims them.

        Faces that another worker has already claimed are left to it. A failed shard raises after
        all others were tried.
        """
        failure: Exception | None = None
        for stream in self.streams:
            own = [entry for key, entry in in_flight if key == stream]
            if not own:
                continue
            try:
                pending = self._deliveries(stream).keys() & own
                if pending:
                    self._broker.xclaim(
                        stream, WORKER_GROUP, self._consumer, 0, list(pending), justid=True
                    )
            except BROKER_ERRORS as error:
                if not str(error).startswith(NO_GROUP_ERRORS):
                    failure = error
        if failure is not None:
            raise failure

    def backlog(self) -> Backlog:
        """Read the state of all streams in one round trip."""
        with self._broker.pipeline(transaction=False) as pipe:
            for stream in self.streams:
                pipe.xlen(stream)
                pipe.xrange(stream, count=1)
                face_accounting_scripts.read_accounting(pipe, stream)
            replies: list[Any] = pipe.execute()
        now_ms = time.time() * 1000
        # An entry id starts with the time of its arrival by Redis' clock, in milliseconds.
        ages_ms = [now_ms - int(first[0][0].split(b"-")[0]) for first in replies[1::3] if first]
        return Backlog(
            sum(replies[::3]),
            max(0.0, max(ages_ms, default=0.0) / 1000),
            sum(map(face_accounting_scripts.parse_read_reply, replies[2::3]), FaceAccounting()),
        )

    def delete_idle_consumers(self, idle_s: float) -> int:
        """Delete other consumers that have no pending faces and were idle for this long.

        Returns:
            The number of deleted consumers.
        """
        deleted = 0
        for stream in self.streams:
            try:
                consumers: Any = self._broker.xinfo_consumers(stream, WORKER_GROUP)
            except redis.ResponseError:  # no group yet; `read` creates it
                continue
            for consumer in consumers:
                if (
                    consumer["name"] != self._consumer.encode()
                    and consumer["pending"] == 0
                    and consumer["idle"] > idle_s * 1000
                ):
                    self._broker.xgroup_delconsumer(stream, WORKER_GROUP, consumer["name"])
                    deleted += 1
        return deleted

    def deregister(self) -> None:
        """Delete this worker from the group, unless it has pending faces for others to claim."""
        self._threads.shutdown()  # takes up to MAX_BLOCK_MS; late faces stay pending
        for stream in self.streams:
            if not self._deliveries(stream):
                self._broker.xgroup_delconsumer(stream, WORKER_GROUP, self._consumer)

    def _deliveries(self, stream: str) -> dict[bytes, int]:
        """Return the delivery count of each entry that is pending for this worker."""
        pending: Any = self._broker.xpending_range(
            stream, WORKER_GROUP, "-", "+", _MAX_PENDING, self._consumer
        )
        return {entry["message_id"]: entry["times_delivered"] for entry in pending}
