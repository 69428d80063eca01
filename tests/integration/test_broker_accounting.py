"""Face accounting in a real broker: faces and their outcomes change together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from facestream.common.broker import face_accounting_scripts
from facestream.common.broker.face_accounting import FaceAccounting
from facestream.common.broker.face_accounting_scripts import AccountingSnapshot
from facestream.common.broker.keys import FACES_CAP, WORKER_GROUP, faces_key
from facestream.common.broker.messages import Fields
from facestream.worker.face_consumer import FaceConsumer

STREAM = faces_key(0)
FACE: Fields = {b"m": b"message", b"jpeg": b"jpeg"}


class Pipeline:
    """Publisher and worker of one stream, one step at a time."""

    def __init__(self, broker: redis.Redis) -> None:
        self.broker = broker
        self.consumer = FaceConsumer(broker, shards=1, consumer="me", count=16, claim_min_idle_s=1)
        self.consumer.ensure_groups()

    def publish(
        self,
        faces: int,
        batch: int,
        snapshot: AccountingSnapshot | None = None,
        publisher: str = "capture",
    ) -> AccountingSnapshot:
        with self.broker.pipeline(transaction=False) as pipe:
            face_accounting_scripts.add_faces(
                pipe, STREAM, publisher, batch, [FACE] * faces, snapshot
            )
            return face_accounting_scripts.parse_add_reply(pipe.execute()[0])[1]

    def abandon(self, batch: int) -> bytes | None:
        with self.broker.pipeline(transaction=False) as pipe:
            face_accounting_scripts.abandon_batch(pipe, STREAM, "capture", batch)
            last: bytes | None = pipe.execute()[0]
            return last

    def process(self, **outcomes: int) -> None:
        """Read faces and remove them with these outcomes."""
        faces = iter(self.consumer.read(50))
        by_outcome = {
            outcome: [next(faces).id for _ in range(n)] for outcome, n in outcomes.items()
        }
        with self.broker.pipeline() as pipe:
            face_accounting_scripts.remove_faces(pipe, STREAM, by_outcome)
            assert pipe.execute() == [list(outcomes.values())]

    @property
    def accounting(self) -> FaceAccounting:
        """As the worker reads it."""
        return self.consumer.backlog().accounting


@pytest.fixture
def pipeline(broker_url: str) -> Iterator[Pipeline]:
    with redis.Redis.from_url(broker_url) as broker:
        yield Pipeline(broker)


def test_every_face_has_an_outcome_or_waits(pipeline: Pipeline) -> None:
    pipeline.publish(9, batch=1)
    pipeline.process(processed=4, stale=1, dead_lettered=1)
    counts = pipeline.accounting
    assert (counts.published, counts.waiting, counts.unaccounted) == (9, 3, 0)
    assert counts.outcomes == {"processed": 4, "stale": 1, "dead_lettered": 1}


def test_a_face_removed_by_another_program_is_unaccounted(pipeline: Pipeline) -> None:
    pipeline.publish(2, batch=1)
    pipeline.broker.xtrim(STREAM, maxlen=1, approximate=False)
    assert pipeline.accounting.unaccounted == 1


def test_an_entry_is_counted_once(pipeline: Pipeline) -> None:
    pipeline.publish(1, batch=1)
    (pending,) = pipeline.consumer.read(50)
    with pipeline.broker.pipeline() as pipe:
        for outcome in ("processed", "stale"):
            face_accounting_scripts.remove_faces(pipe, STREAM, {outcome: [pending.id]})
        assert pipe.execute() == [[1], [0]]
    assert pipeline.accounting.outcomes == {"processed": 1}


def test_faces_above_the_cap_are_counted_as_overflow(pipeline: Pipeline) -> None:
    pipeline.publish(FACES_CAP - 1, batch=1)
    pipeline.publish(4, batch=2)
    counts = pipeline.accounting
    assert (counts.waiting, counts.dropped, counts.unaccounted) == (FACES_CAP, {"overflow": 3}, 0)


def test_unread_faces_are_counted_as_expired(pipeline: Pipeline) -> None:
    pipeline.publish(2, batch=1)
    with pipeline.broker.pipeline() as pipe:
        face_accounting_scripts.expire_faces(pipe, STREAM, "99999999999999-0")
        assert pipe.execute() == [2]
    assert (pipeline.accounting.dropped, pipeline.accounting.unaccounted) == ({"expired": 2}, 0)


def test_faces_of_a_stream_that_reached_its_time_to_live_are_expired(pipeline: Pipeline) -> None:
    pipeline.publish(3, batch=1)
    pipeline.broker.delete(STREAM)
    pipeline.publish(1, batch=2)  # capture came back before a worker did
    pipeline.consumer.ensure_groups()
    pipeline.consumer.ensure_groups()
    counts = pipeline.accounting
    assert (counts.dropped, counts.waiting, counts.unaccounted) == ({"expired": 3}, 1, 0)


def test_a_repeated_batch_is_added_once(pipeline: Pipeline) -> None:
    pipeline.publish(2, batch=1)
    assert pipeline.abandon(batch=1) is not None  # it was added: only the reply was lost
    with pytest.raises(redis.ResponseError, match="LATE"):
        pipeline.publish(2, batch=1)
    assert pipeline.broker.xlen(STREAM) == 2


def test_an_abandoned_batch_is_refused_later(pipeline: Pipeline) -> None:
    assert pipeline.abandon(batch=1) is None
    with pytest.raises(redis.ResponseError, match="LATE"):
        pipeline.publish(2, batch=1)
    pipeline.publish(1, batch=2)
    assert (pipeline.accounting.published, pipeline.accounting.unaccounted) == (1, 0)


def test_accounting_is_carried_over_when_redis_loses_its_memory(pipeline: Pipeline) -> None:
    pipeline.publish(5, batch=1)
    pipeline.process(processed=2)
    snapshot = pipeline.publish(1, batch=2)
    others = pipeline.publish(1, batch=1, publisher="another")
    pipeline.broker.flushall()
    pipeline.publish(1, batch=3, snapshot=others)
    pipeline.publish(1, batch=4, snapshot=snapshot)  # the same restart: carried over once
    pipeline.consumer.ensure_groups()
    counts = pipeline.accounting
    assert counts.outcomes == {"processed": 2, "lost": 5}
    assert (counts.published, counts.waiting, counts.unaccounted) == (9, 2, 0)


def test_two_restarts_of_redis_count_two_losses(pipeline: Pipeline) -> None:
    snapshot = pipeline.publish(2, batch=1)
    for batch in (2, 3):
        pipeline.broker.flushall()
        snapshot = pipeline.publish(1, batch=batch, snapshot=snapshot)
    assert (snapshot.accounting.outcomes["lost"], snapshot.accounting.published) == (3, 4)
    assert snapshot.accounting.unaccounted == 0


def test_without_memory_faces_can_be_removed_but_not_added(pipeline: Pipeline) -> None:
    pipeline.publish(2, batch=1)
    pipeline.broker.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            pipeline.publish(1, batch=2)
        pipeline.process(broker_error=2)
    finally:
        pipeline.broker.config_set("maxmemory", 0)
    assert (pipeline.accounting.published, pipeline.accounting.dropped) == (2, {"broker_error": 2})
    assert pipeline.accounting.unaccounted == 0


def test_a_removed_face_is_no_longer_pending(pipeline: Pipeline) -> None:
    pipeline.publish(1, batch=1)
    pipeline.process(answered=1)
    pending: Any = pipeline.broker.xpending(STREAM, WORKER_GROUP)
    assert pending["pending"] == 0
