"""Ends a face's time in the stream: its result or its fate goes out, its entry goes away.

`settle` writes results and dead letters, acknowledges and deletes, in one pipeline. An entry is
counted only by who deleted it: where it was trimmed meanwhile, the trimmer has counted it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import redis

from services.common.messages import DeadFace, Face, Result, encode
from services.common.metrics import WorkerMetrics
from services.common.streams import (
    DEAD_CAP,
    DEAD_KEY,
    RESULTS_CAP,
    WORKER_GROUP,
    results_key,
)
from services.worker.drops import Drops, Reason
from services.worker.inbox import Arrival

# A result that comes after its camera was removed makes the stream anew: it must not stay.
_RESULTS_TTL_S = 60


@dataclass(frozen=True, slots=True)
class Answered:
    """A face with its result."""

    arrival: Arrival
    result: Result


@dataclass(frozen=True, slots=True)
class Dropped:
    """A face without one, and why; `face` where it could be read."""

    arrival: Arrival
    reason: Reason
    why: str
    face: Face | None = None


class Outbox:
    """Thread-safe; `settle` may raise BROKER_ERRORS, and may then be called again."""

    def __init__(self, broker: redis.Redis, metrics: WorkerMetrics, drops: Drops) -> None:
        self._broker, self._metrics, self._drops = broker, metrics, drops

    def settle(self, answered: Sequence[Answered], dropped: Sequence[Dropped]) -> None:
        """Send what there is to send, take the entries out of their streams, count."""
        by_fate: dict[tuple[str, Reason | None], list[bytes]] = defaultdict(list)
        with self._broker.pipeline(transaction=False) as pipe:
            for item in answered:
                pipe.xadd(
                    results_key(item.result.camera),
                    encode(item.result),  # type: ignore[arg-type]
                    maxlen=RESULTS_CAP,
                    approximate=False,
                )
                by_fate[item.arrival.stream, None].append(item.arrival.id)
            for camera in {item.result.camera for item in answered}:
                pipe.expire(results_key(camera), _RESULTS_TTL_S)
            for drop in dropped:
                if drop.reason == "dead":
                    letter = DeadFace(
                        face=drop.face, deliveries=drop.arrival.deliveries, reason=drop.why
                    )
                    pipe.xadd(
                        DEAD_KEY,
                        encode(letter),  # type: ignore[arg-type]
                        maxlen=DEAD_CAP,
                        approximate=False,
                    )
                by_fate[drop.arrival.stream, drop.reason].append(drop.arrival.id)
            for (stream, _), entries in by_fate.items():
                pipe.xack(stream, WORKER_GROUP, *entries)
                pipe.xdel(stream, *entries)
            answers = pipe.execute(raise_on_error=False)
        refusals = [answer for answer in answers if isinstance(answer, Exception)]
        # XADDs stand first: a result that the broker refused has not been given.
        lost = sum(isinstance(answer, Exception) for answer in answers[: len(answered)])
        deleted = answers[len(answers) - 2 * len(by_fate) + 1 :: 2]
        for (_, reason), number in zip(by_fate, deleted, strict=True):
            if isinstance(number, Exception):
                continue
            if reason is None:
                self._metrics_answered(answered, max(0, number - lost))
            else:
                why = next(drop.why for drop in dropped if drop.reason == reason)
                self._drops.count(reason, number, why)
        if refusals:
            self._metrics.broker_errors.inc(len(refusals))
            self._drops.count("broker", lost, str(refusals[0]))

    def _metrics_answered(self, answered: Sequence[Answered], number: int) -> None:
        if number:
            model = answered[0].result.model
            self._metrics.faces_answered.labels(model=model).inc(number)
