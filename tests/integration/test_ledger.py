"""The ledger of a real broker: whatever happens to a face, its number and its outcome go together."""

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
FACE: Fields = {b"m": b"message", b"jpeg": b"picture"}


class Desk:
    """A publisher's and a worker's side of one stream, step by step."""

    def __init__(self, broker: redis.Redis) -> None:
        self.broker = broker
        self.inbox = FaceConsumer(broker, shards=1, consumer="me", count=16, claim_min_idle_s=1)
        self.inbox.ensure_groups()

    def put(
        self,
        faces: int,
        batch: int,
        known: AccountingSnapshot | None = None,
        publisher: str = "capture",
    ) -> AccountingSnapshot:
        with self.broker.pipeline(transaction=False) as pipe:
            face_accounting_scripts.add_faces(pipe, STREAM, publisher, batch, [FACE] * faces, known)
            return face_accounting_scripts.parse_add_reply(pipe.execute()[0])[1]

    def give_up(self, batch: int) -> bytes | None:
        with self.broker.pipeline(transaction=False) as pipe:
            face_accounting_scripts.abandon_batch(pipe, STREAM, "capture", batch)
            last: bytes | None = pipe.execute()[0]
            return last

    def settle(self, **outcomes: int) -> None:
        """Take so many faces and give them these outcomes."""
        arrivals = iter(self.inbox.read(50))
        by_outcome = {
            outcome: [next(arrivals).id for _ in range(n)] for outcome, n in outcomes.items()
        }
        with self.broker.pipeline() as pipe:
            face_accounting_scripts.settle(pipe, STREAM, by_outcome)
            assert pipe.execute() == [list(outcomes.values())]

    @property
    def ledger(self) -> FaceAccounting:
        """As the worker tells it."""
        return self.inbox.backlog().ledger


@pytest.fixture
def desk(broker_url: str) -> Iterator[Desk]:
    with redis.Redis.from_url(broker_url) as broker:
        yield Desk(broker)


def test_every_face_has_an_outcome_or_waits(desk: Desk) -> None:
    desk.put(9, batch=1)
    desk.settle(processed=4, stale=1, dead_lettered=1)
    ledger = desk.ledger
    assert (ledger.published, ledger.waiting, ledger.unaccounted) == (9, 3, 0)
    assert ledger.outcomes == {"processed": 4, "stale": 1, "dead_lettered": 1}


def test_a_face_that_somebody_takes_away_unasked_is_unexplained(desk: Desk) -> None:
    desk.put(2, batch=1)
    desk.broker.xtrim(STREAM, maxlen=1, approximate=False)
    assert desk.ledger.unaccounted == 1


def test_an_entry_that_is_gone_already_is_not_entered_again(desk: Desk) -> None:
    desk.put(1, batch=1)
    (arrival,) = desk.inbox.read(50)
    with desk.broker.pipeline() as pipe:
        for outcome in ("processed", "stale"):
            face_accounting_scripts.settle(pipe, STREAM, {outcome: [arrival.id]})
        assert pipe.execute() == [[1], [0]]
    assert desk.ledger.outcomes == {"processed": 1}


def test_what_is_pushed_out_is_entered(desk: Desk) -> None:
    desk.put(FACES_CAP - 1, batch=1)
    desk.put(4, batch=2)
    ledger = desk.ledger
    assert (ledger.waiting, ledger.dropped, ledger.unaccounted) == (FACES_CAP, {"overflow": 3}, 0)


def test_what_nobody_took_in_time_is_entered(desk: Desk) -> None:
    desk.put(2, batch=1)
    with desk.broker.pipeline() as pipe:
        face_accounting_scripts.expire(pipe, STREAM, "99999999999999-0")
        assert pipe.execute() == [2]
    assert (desk.ledger.dropped, desk.ledger.unaccounted) == ({"expired": 2}, 0)


def test_a_stream_that_reached_its_time_to_live_has_expired_faces(desk: Desk) -> None:
    desk.put(3, batch=1)
    desk.broker.delete(STREAM)
    desk.put(1, batch=2)  # capture came back before a worker did
    desk.inbox.ensure_groups()
    desk.inbox.ensure_groups()
    ledger = desk.ledger
    assert (ledger.dropped, ledger.waiting, ledger.unaccounted) == ({"expired": 3}, 1, 0)


def test_a_batch_is_put_once_however_often_it_comes(desk: Desk) -> None:
    desk.put(2, batch=1)
    assert desk.give_up(batch=1) is not None  # it had come: its reply was lost
    with pytest.raises(redis.ResponseError, match="LATE"):
        desk.put(2, batch=1)
    assert desk.broker.xlen(STREAM) == 2


def test_a_batch_that_was_given_up_is_refused_when_it_comes_late(desk: Desk) -> None:
    assert desk.give_up(batch=1) is None
    with pytest.raises(redis.ResponseError, match="LATE"):
        desk.put(2, batch=1)
    desk.put(1, batch=2)
    assert (desk.ledger.published, desk.ledger.unaccounted) == (1, 0)


def test_a_broker_that_died_is_remembered_and_what_waited_in_it_is_lost(desk: Desk) -> None:
    desk.put(5, batch=1)
    desk.settle(processed=2)
    known = desk.put(1, batch=2)
    others = desk.put(1, batch=1, publisher="another")
    desk.broker.flushall()
    desk.put(1, batch=3, known=others)
    desk.put(1, batch=4, known=known)  # the same death: it is entered once
    desk.inbox.ensure_groups()
    ledger = desk.ledger
    assert ledger.outcomes == {"processed": 2, "lost": 5}
    assert (ledger.published, ledger.waiting, ledger.unaccounted) == (9, 2, 0)


def test_two_deaths_are_two_losses(desk: Desk) -> None:
    known = desk.put(2, batch=1)
    for batch in (2, 3):
        desk.broker.flushall()
        known = desk.put(1, batch=batch, known=known)
    assert (known.ledger.outcomes["lost"], known.ledger.published) == (3, 4)
    assert known.ledger.unaccounted == 0


def test_without_memory_nothing_is_put_and_what_is_there_can_leave(desk: Desk) -> None:
    desk.put(2, batch=1)
    desk.broker.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            desk.put(1, batch=2)
        desk.settle(broker_error=2)
    finally:
        desk.broker.config_set("maxmemory", 0)
    assert (desk.ledger.published, desk.ledger.dropped) == (2, {"broker_error": 2})
    assert desk.ledger.unaccounted == 0


def test_a_settled_face_is_pending_with_nobody(desk: Desk) -> None:
    desk.put(1, batch=1)
    desk.settle(answered=1)
    pending: Any = desk.broker.xpending(STREAM, WORKER_GROUP)
    assert pending["pending"] == 0
