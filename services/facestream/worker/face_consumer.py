"""The faces streams as a worker reads them: one member of the consumer group, all shards.

Arrivals come out: new ones by `read`, those that a dead worker left by `claim`; `keep` tells the
others that a face is not left. The group is made where it is missing, so a broker that lost
everything is no obstacle.
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

# What the broker says when the group, or the stream with it, is not there (any more).
NO_GROUP = ("NOGROUP", "UNBLOCKED")
_GROUP_EXISTS = "BUSYGROUP"
# Per shard and call; a stream holds hardly more, and the next call takes the rest.
_CLAIM_MAX = 64
_PENDING_MAX = 1000


@dataclass(frozen=True, slots=True)
class PendingFace:
    """A stream entry as it came, not looked into. `deliveries` counts this one too."""

    stream: str
    id: bytes
    fields: Mapping[bytes, bytes]
    deliveries: int = 1


@dataclass(frozen=True, slots=True)
class Backlog:
    """The faces streams, all shards together.

    faces: entries in them, those in hand included; oldest_s: age of the oldest; ledger: what became
    of all faces so far.
    """

    faces: int
    oldest_s: float
    ledger: FaceAccounting


def consumer_name() -> str:
    """Unique among all workers that ever were: host, process, chance."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class FaceConsumer:
    """All shards of the faces streams; every method may raise BROKER_ERRORS.

    Args:
        consumer: this worker's name in the group.
        count: entries that one `read` takes at most (a few more with many shards).
        claim_min_idle_s: a face that a worker has held for so long is up for taking.
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
        self._count = max(-(-count // shards), min(count, 4))  # COUNT holds for each stream
        self._claim_idle_ms = int(claim_min_idle_s * 1000)
        self._wanted: list[dict[Any, Any]] = [
            dict.fromkeys(streams, ">") for streams in slot_groups(broker, self.streams)
        ]
        self._threads = ThreadPoolExecutor(len(self._wanted), "shard")  # none before its use
        self._reads: dict[int, Future[Any]] = {}  # under way, by place in `_wanted`

    def ensure_groups(self) -> None:
        """Have the group on every shard, reading from the stream's beginning."""
        with self._broker.pipeline(transaction=False) as pipe:
            for stream in self.streams:
                face_accounting_scripts.ensure_group(pipe, stream)
            for answer in pipe.execute(raise_on_error=False):
                if isinstance(answer, Exception) and not str(answer).startswith(_GROUP_EXISTS):
                    raise answer

    def read(self, block_ms: int) -> list[PendingFace]:
        """New faces; waits for the first one `block_ms` (> 0) at most."""
        try:
            answers = (
                self._wait(block_ms) if len(self._wanted) == 1 else self._wait_at_each(block_ms)
            )
        except redis.ResponseError as error:
            if not str(error).startswith(NO_GROUP):
                raise
            self.ensure_groups()
            return []
        return [
            PendingFace(stream.decode(), entry, fields or {})
            for answer in answers
            for stream, entries in parse_xread(answer)
            for entry, fields in entries
        ]

    def _wait(self, block_ms: int) -> list[Any]:
        (wanted,) = self._wanted
        return [
            self._broker.xreadgroup(
                WORKER_GROUP, self._consumer, wanted, count=self._count, block=block_ms
            )
        ]

    def _wait_at_each(self, block_ms: int) -> list[Any]:
        """In a cluster no read waits for streams of several slots: one waits at each.

        Those that are still waiting at the end are looked at the next time.
        """
        for i, wanted in enumerate(self._wanted):
            if i not in self._reads:
                self._reads[i] = self._threads.submit(
                    self._broker.xreadgroup,
                    WORKER_GROUP,
                    self._consumer,
                    wanted,
                    count=self._count,
                    block=MAX_BLOCK_MS,
                )
        wait(self._reads.values(), block_ms / 1000, FIRST_COMPLETED)
        answers: list[Any] = []
        failure: Exception | None = None
        for i in [i for i, read in self._reads.items() if read.done()]:
            try:
                answers.append(self._reads.pop(i).result())
            except BROKER_ERRORS as error:
                failure = error
        if failure is not None and not any(answers):
            raise failure
        return answers

    def claim(self, in_hand: Set[tuple[str, bytes]]) -> list[PendingFace]:
        """Faces that somebody took and did not finish, those in our own hand excepted.

        Entries that were trimmed meanwhile are acknowledged and not returned: who trimmed them
        has counted them. A shard that fails is an error only if the others give nothing: what is
        claimed from them is ours, and has to be answered.
        """
        found: list[PendingFace] = []
        failure: Exception | None = None
        for stream in self.streams:
            try:
                found += self._claim(stream, in_hand)
            except BROKER_ERRORS as error:
                failure = error
                if isinstance(error, redis.TimeoutError):
                    break  # each of the others may take as long, while what is found goes stale
        if failure is not None and not found:
            raise failure
        return found

    def _claim(self, stream: str, in_hand: Set[tuple[str, bytes]]) -> list[PendingFace]:
        try:
            answer: Any = self._broker.xautoclaim(
                stream, WORKER_GROUP, self._consumer, self._claim_idle_ms, count=_CLAIM_MAX
            )
        except redis.ResponseError as error:
            if not str(error).startswith(NO_GROUP):
                raise
            self.ensure_groups()
            return []
        gone = [entry for entry, fields in answer[1] if fields is None]
        if gone:
            self._broker.xack(stream, WORKER_GROUP, *gone)
        claimed = {
            entry: fields
            for entry, fields in answer[1]
            if fields is not None and (stream, entry) not in in_hand
        }
        deliveries = self._deliveries(stream) if claimed else {}
        return [
            PendingFace(stream, entry, fields, deliveries.get(entry, 1))
            for entry, fields in claimed.items()
        ]

    def extend_claims(self, in_hand: Set[tuple[str, bytes]]) -> None:
        """Have nobody claim these for another `claim_min_idle_s`.

        Those that somebody has claimed already are left to them. A shard that fails is an error
        when all others have been seen to.
        """
        failure: Exception | None = None
        for stream in self.streams:
            held = [entry for held_in, entry in in_hand if held_in == stream]
            if not held:
                continue
            try:
                ours = self._deliveries(stream).keys() & held
                if ours:
                    self._broker.xclaim(
                        stream, WORKER_GROUP, self._consumer, 0, list(ours), justid=True
                    )
            except BROKER_ERRORS as error:
                if not str(error).startswith(NO_GROUP):
                    failure = error
        if failure is not None:
            raise failure

    def backlog(self) -> Backlog:
        """What is there now and what became of the rest, in one round trip."""
        with self._broker.pipeline(transaction=False) as pipe:
            for stream in self.streams:
                pipe.xlen(stream)
                pipe.xrange(stream, count=1)
                face_accounting_scripts.read_accounting(pipe, stream)
            answers: list[Any] = pipe.execute()
        now_ms = time.time() * 1000
        # An entry's id begins with the broker's time of its arrival, in milliseconds.
        ages_ms = [now_ms - int(first[0][0].split(b"-")[0]) for first in answers[1::3] if first]
        return Backlog(
            sum(answers[::3]),
            max(0.0, max(ages_ms, default=0.0) / 1000),
            sum(map(face_accounting_scripts.parse_read_reply, answers[2::3]), FaceAccounting()),
        )

    def delete_idle_consumers(self, idle_s: float) -> int:
        """Delete workers that hold nothing and have not asked for so long; returns how many."""
        forgotten = 0
        for stream in self.streams:
            try:
                consumers: Any = self._broker.xinfo_consumers(stream, WORKER_GROUP)
            except redis.ResponseError:  # no group, so nobody to forget; `read` makes it
                continue
            for consumer in consumers:
                if (
                    consumer["name"] != self._consumer.encode()
                    and consumer["pending"] == 0
                    and consumer["idle"] > idle_s * 1000
                ):
                    self._broker.xgroup_delconsumer(stream, WORKER_GROUP, consumer["name"])
                    forgotten += 1
        return forgotten

    def deregister(self) -> None:
        """Delete ourselves from the group, unless something of ours is left to be claimed."""
        self._threads.shutdown()  # within MAX_BLOCK_MS; what still came is left to be claimed
        for stream in self.streams:
            if not self._deliveries(stream):
                self._broker.xgroup_delconsumer(stream, WORKER_GROUP, self._consumer)

    def _deliveries(self, stream: str) -> dict[bytes, int]:
        """How often each entry that is pending with us has been handed out."""
        pending: Any = self._broker.xpending_range(
            stream, WORKER_GROUP, "-", "+", _PENDING_MAX, self._consumer
        )
        return {entry["message_id"]: entry["times_delivered"] for entry in pending}
