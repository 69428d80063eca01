"""Commit the outcome of each face: publish its result or dead letter, remove it, count it.

`commit` publishes results and dead letters, acknowledges and deletes the stream entries and updates
the face accounting in one transaction. Only a Redis Cluster has no transaction over the slots of a
face and its result. The process that deletes an entry counts it; an entry that was trimmed before
was counted by the trimming process. After a lost reply, `find_uncommitted` finds out what was done.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis
from google.protobuf.message import Message

from facestream.common.broker import face_accounting_scripts
from facestream.common.broker.cluster import is_cluster
from facestream.common.broker.keys import (
    DEAD_LETTER_KEY,
    DEAD_LETTERS_CAP,
    RESULTS_CAP,
    WORKER_GROUP,
    results_key,
)
from facestream.common.broker.messages import DeadLetter, FaceCrop, Result, decode_result, encode
from facestream.common.core.errors import MessageError
from facestream.worker.drop_counter import DropCounter, Reason
from facestream.worker.face_consumer import NO_GROUP_ERRORS, PendingFace
from facestream.worker.metrics import WorkerMetrics

# A result that comes after its camera was removed creates the stream again, so it must expire.
_RESULTS_TTL_S = 60

_PROCESSED = "processed"  # the outcome of a face with a result; others are drop reasons

# Identifies a result: camera, session, track, time of capture and of inference.
ResultId = tuple[str, int, int, int, int]


@dataclass(frozen=True, slots=True)
class FaceResult:
    """A face with its result."""

    pending_face: PendingFace
    result: Result


@dataclass(frozen=True, slots=True)
class DroppedFace:
    """A face without a result, and the reason; `face` is None if it cannot be decoded."""

    pending_face: PendingFace
    reason: Reason
    detail: str
    face: FaceCrop | None = None


class ResultCommitter:
    """Committer of face outcomes. Thread-safe; every method may raise BROKER_ERRORS.

    Args:
        broker: the Redis client.
        consumer: this worker's name in the consumer group.
        metrics: the worker's metrics.
        drops: counts dropped faces.
    """

    def __init__(
        self, broker: redis.Redis, consumer: str, metrics: WorkerMetrics, drops: DropCounter
    ) -> None:
        self._broker, self._consumer = broker, consumer
        self._metrics, self._drops = metrics, drops

    def commit(self, results: Sequence[FaceResult], dropped: Sequence[DroppedFace]) -> None:
        """Publish results and dead letters, remove the faces from their streams, count them.

        An exception does not mean that nothing was done: call `find_uncommitted` before a retry.
        """
        outcomes: dict[str, dict[str, list[bytes]]] = defaultdict(lambda: defaultdict(list))
        # One transaction: half of it would be a result without its count, or the reverse.
        with self._broker.pipeline(transaction=not is_cluster(self._broker)) as pipe:
            for item in results:
                _add(pipe, results_key(item.result.camera), item.result, RESULTS_CAP)
                outcomes[item.pending_face.stream][_PROCESSED].append(item.pending_face.id)
            for camera in {item.result.camera for item in results}:
                pipe.expire(results_key(camera), _RESULTS_TTL_S)
            for drop in dropped:
                if drop.reason == "dead_lettered":
                    letter = DeadLetter(
                        face=drop.face, deliveries=drop.pending_face.deliveries, reason=drop.detail
                    )
                    _add(pipe, DEAD_LETTER_KEY, letter, DEAD_LETTERS_CAP)
                outcomes[drop.pending_face.stream][drop.reason].append(drop.pending_face.id)
            for stream, ids_by_outcome in outcomes.items():
                face_accounting_scripts.remove_faces(pipe, stream, ids_by_outcome)
            try:
                replies = pipe.execute(raise_on_error=False)
            except redis.exceptions.OutOfMemoryError as error:
                self._drop_without_memory(results, dropped, str(error))
                return
        failures = [str(reply) for reply in replies if isinstance(reply, Exception)]
        self._metrics.broker_errors.inc(len(failures))
        # The replies to XADD come first. A result that Redis refused is not published.
        refused = Counter(
            item.pending_face.stream
            for item, reply in zip(results, replies, strict=False)
            if isinstance(reply, Exception)
        )
        for (stream, ids_by_outcome), removed in zip(
            outcomes.items(), replies[len(replies) - len(outcomes) :], strict=True
        ):
            if isinstance(removed, Exception):
                continue
            for outcome, number in zip(ids_by_outcome, removed, strict=True):
                if outcome == _PROCESSED:
                    lost = min(number, refused[stream])
                    self._count_processed(results, number - lost)
                    if lost:
                        self._drops.count("broker_error", lost, failures[0])
                        face_accounting_scripts.change_outcome(
                            self._broker, stream, _PROCESSED, "broker_error", lost
                        )
                else:
                    first = next(drop for drop in dropped if drop.reason == outcome)
                    self._drops.count(first.reason, number, first.detail)

    def find_uncommitted(
        self, results: Sequence[FaceResult], dropped: Sequence[DroppedFace]
    ) -> tuple[list[FaceResult], list[DroppedFace]]:
        """Return the faces that a failed `commit` did not remove; count the others.

        A removed entry is not pending any more. An entry that another worker claimed is left to it.
        """
        items: list[FaceResult | DroppedFace] = [*results, *dropped]
        with self._broker.pipeline(transaction=False) as pipe:
            for item in items:
                entry = item.pending_face.id
                pipe.xpending_range(item.pending_face.stream, WORKER_GROUP, entry, entry, 1)
            replies: list[Any] = pipe.execute(raise_on_error=False)
        owners = [_owner(reply) for reply in replies]
        own_name = self._consumer.encode()
        cameras = {item.result.camera for item in results}
        published = self._published_results(cameras) if None in owners else set()
        uncommitted: tuple[list[FaceResult], list[DroppedFace]] = ([], [])
        for item, owner in zip(items, owners, strict=True):
            if isinstance(item, FaceResult):
                if owner == own_name:
                    uncommitted[0].append(item)
                elif owner is None and _result_id(item.result) in published:
                    self._count_processed([item], 1)
                elif owner is None:
                    self._drops.count("broker_error", 1, "Redis lost the result")
            elif owner == own_name:
                uncommitted[1].append(item)
            elif owner is None:
                self._drops.count(item.reason, 1, item.detail)
        return uncommitted

    def _published_results(self, cameras: set[str]) -> set[ResultId]:
        """Return the results that are in the result streams of these cameras."""
        with self._broker.pipeline(transaction=False) as pipe:
            for camera in cameras:
                pipe.xrevrange(results_key(camera), count=RESULTS_CAP)
            streams: list[Any] = pipe.execute()
        published = set()
        for _, fields in (entry for entries in streams for entry in entries):
            try:
                published.add(_result_id(decode_result(fields)))
            except MessageError:  # written by another program
                continue
        return published

    def _drop_without_memory(
        self, results: Sequence[FaceResult], dropped: Sequence[DroppedFace], detail: str
    ) -> None:
        """Only remove the faces: Redis is out of memory, and removing them frees some."""
        self._metrics.broker_errors.inc()
        unpublished = [DroppedFace(item.pending_face, "broker_error", detail) for item in results]
        unpublished += [
            DroppedFace(drop.pending_face, "broker_error", detail)
            for drop in dropped
            if drop.reason == "dead_lettered"
        ]
        self.commit([], unpublished + [drop for drop in dropped if drop.reason != "dead_lettered"])

    def _count_processed(self, results: Sequence[FaceResult], number: int) -> None:
        if number:
            model = results[0].result.model
            self._metrics.faces_processed.labels(model=model).inc(number)


def _add(pipe: redis.client.Pipeline, key: str, message: Message, cap: int) -> None:
    fields: Any = encode(message)
    pipe.xadd(key, fields, maxlen=cap, approximate=False)


def _owner(reply: Any) -> bytes | None:
    """Return the consumer of an entry from an XPENDING reply; None if it is not pending."""
    if isinstance(reply, redis.ResponseError) and str(reply).startswith(NO_GROUP_ERRORS):
        return None
    if isinstance(reply, Exception):
        raise reply
    owner: bytes | None = reply[0]["consumer"] if reply else None
    return owner


def _result_id(result: Result) -> ResultId:
    return (
        result.camera,
        result.session,
        result.track,
        result.captured_us,
        result.inferred_us,
    )
