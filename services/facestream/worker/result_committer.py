"""Ends a face's time in the stream: its result or its outcome goes out, its entry goes away.

`settle` writes results and dead letters, acknowledges, deletes and enters it in the ledger, all of
it or nothing (but in a Redis Cluster, which has no transaction over the slots of a face and its
result). An entry is counted only by who deleted it: where it was trimmed meanwhile, the trimmer has
counted it. When the broker's reply is lost, `unsettled` finds out what became of it.
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
from facestream.worker.face_consumer import NO_GROUP, PendingFace
from facestream.worker.metrics import WorkerMetrics

# A result that comes after its camera was removed makes the stream anew: it must not stay.
_RESULTS_TTL_S = 60

_PROCESSED = "processed"  # a face's outcome in the ledger; the others are the reasons

# What tells a result from every other: camera, session, track, time of picture and of answer.
Identity = tuple[str, int, int, int, int]


@dataclass(frozen=True, slots=True)
class FaceResult:
    """A face with its result."""

    arrival: PendingFace
    result: Result


@dataclass(frozen=True, slots=True)
class DroppedFace:
    """A face without one, and why; `face` where it could be read."""

    arrival: PendingFace
    reason: Reason
    why: str
    face: FaceCrop | None = None


class ResultCommitter:
    """Thread-safe; every method may raise BROKER_ERRORS.

    Args:
        consumer: this worker's name in the group.
    """

    def __init__(
        self, broker: redis.Redis, consumer: str, metrics: WorkerMetrics, drops: DropCounter
    ) -> None:
        self._broker, self._consumer = broker, consumer
        self._metrics, self._drops = metrics, drops

    def settle(self, answered: Sequence[FaceResult], dropped: Sequence[DroppedFace]) -> None:
        """Send what there is to send, take the entries out of their streams, count.

        Where this raises, it may have been done all the same: ask `unsettled` before trying again.
        """
        outcomes: dict[str, dict[str, list[bytes]]] = defaultdict(lambda: defaultdict(list))
        # One transaction: half of it done would be a result without its count, or the reverse.
        with self._broker.pipeline(transaction=not is_cluster(self._broker)) as pipe:
            for item in answered:
                _add(pipe, results_key(item.result.camera), item.result, RESULTS_CAP)
                outcomes[item.arrival.stream][_PROCESSED].append(item.arrival.id)
            for camera in {item.result.camera for item in answered}:
                pipe.expire(results_key(camera), _RESULTS_TTL_S)
            for drop in dropped:
                if drop.reason == "dead_lettered":
                    letter = DeadLetter(
                        face=drop.face, deliveries=drop.arrival.deliveries, reason=drop.why
                    )
                    _add(pipe, DEAD_LETTER_KEY, letter, DEAD_LETTERS_CAP)
                outcomes[drop.arrival.stream][drop.reason].append(drop.arrival.id)
            for stream, by_outcome in outcomes.items():
                face_accounting_scripts.remove_faces(pipe, stream, by_outcome)
            try:
                answers = pipe.execute(raise_on_error=False)
            except redis.exceptions.OutOfMemoryError as error:
                self._take_away(answered, dropped, str(error))
                return
        failures = [str(answer) for answer in answers if isinstance(answer, Exception)]
        self._metrics.broker_errors.inc(len(failures))
        # XADDs stand first: a result that the broker refused has not been given.
        refused = Counter(
            item.arrival.stream
            for item, answer in zip(answered, answers, strict=False)
            if isinstance(answer, Exception)
        )
        for (stream, by_outcome), taken in zip(
            outcomes.items(), answers[len(answers) - len(outcomes) :], strict=True
        ):
            if isinstance(taken, Exception):
                continue
            for outcome, number in zip(by_outcome, taken, strict=True):
                if outcome == _PROCESSED:
                    lost = min(number, refused[stream])
                    self._count_answered(answered, number - lost)
                    if lost:
                        self._drops.count("broker_error", lost, failures[0])
                        face_accounting_scripts.change_outcome(
                            self._broker, stream, _PROCESSED, "broker_error", lost
                        )
                else:
                    first = next(drop for drop in dropped if drop.reason == outcome)
                    self._drops.count(first.reason, number, first.why)

    def find_uncommitted(
        self, answered: Sequence[FaceResult], dropped: Sequence[DroppedFace]
    ) -> tuple[list[FaceResult], list[DroppedFace]]:
        """Those that a `settle` which raised did not reach; the others are counted here.

        What it reached is not pending any more. What another worker has taken over is that one's.
        """
        items: list[FaceResult | DroppedFace] = [*answered, *dropped]
        with self._broker.pipeline(transaction=False) as pipe:
            for item in items:
                entry = item.arrival.id
                pipe.xpending_range(item.arrival.stream, WORKER_GROUP, entry, entry, 1)
            pending: list[Any] = pipe.execute(raise_on_error=False)
        holders = [_holder(found) for found in pending]
        ours = self._consumer.encode()
        sent = self._sent({item.result.camera for item in answered}) if None in holders else set()
        left: tuple[list[FaceResult], list[DroppedFace]] = ([], [])
        for item, holder in zip(items, holders, strict=True):
            if isinstance(item, FaceResult):
                if holder == ours:
                    left[0].append(item)
                elif holder is None and _identity(item.result) in sent:
                    self._count_answered([item], 1)
                elif holder is None:
                    self._drops.count("broker_error", 1, "the broker has lost it")
            elif holder == ours:
                left[1].append(item)
            elif holder is None:
                self._drops.count(item.reason, 1, item.why)
        return left

    def _sent(self, cameras: set[str]) -> set[Identity]:
        """Results that stand in the streams of these cameras."""
        with self._broker.pipeline(transaction=False) as pipe:
            for camera in cameras:
                pipe.xrevrange(results_key(camera), count=RESULTS_CAP)
            streams: list[Any] = pipe.execute()
        sent = set()
        for _, fields in (entry for entries in streams for entry in entries):
            try:
                sent.add(_identity(decode_result(fields)))
            except MessageError:  # not ours, then
                continue
        return sent

    def _take_away(
        self, answered: Sequence[FaceResult], dropped: Sequence[DroppedFace], why: str
    ) -> None:
        """A broker without memory takes nothing: have the faces leave, so that there is some."""
        self._metrics.broker_errors.inc()
        unsaid = [DroppedFace(item.arrival, "broker_error", why) for item in answered]
        unsaid += [
            DroppedFace(d.arrival, "broker_error", why)
            for d in dropped
            if d.reason == "dead_lettered"
        ]
        self.settle([], unsaid + [d for d in dropped if d.reason != "dead_lettered"])

    def _count_answered(self, answered: Sequence[FaceResult], number: int) -> None:
        if number:
            model = answered[0].result.model
            self._metrics.faces_processed.labels(model=model).inc(number)


def _add(pipe: redis.client.Pipeline, key: str, message: Message, cap: int) -> None:
    fields: Any = encode(message)
    pipe.xadd(key, fields, maxlen=cap, approximate=False)


def _holder(found: Any) -> bytes | None:
    """Who an entry is pending with, of what XPENDING answered; None where it is not (any more)."""
    if isinstance(found, redis.ResponseError) and str(found).startswith(NO_GROUP):
        return None
    if isinstance(found, Exception):
        raise found
    holder: bytes | None = found[0]["consumer"] if found else None
    return holder


def _identity(result: Result) -> Identity:
    return (
        result.camera,
        result.session,
        result.track,
        result.captured_us,
        result.inferred_us,
    )
