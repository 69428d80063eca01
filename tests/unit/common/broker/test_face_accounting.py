"""Sums of faces and of what became of them."""

from __future__ import annotations

import pytest
from facestream.common.broker.face_accounting import (
    METRIC,
    FaceAccounting,
    dropped_before_publish,
    of_fields,
    of_samples,
)

LEDGER = FaceAccounting(10, {"processed": 5, "dead_lettered": 1, "stale": 2}, 1)


def test_a_face_with_no_outcome_that_does_not_wait_is_unaccounted() -> None:
    assert LEDGER.unaccounted == 1
    assert FaceAccounting(10, {"processed": 5, "dead_lettered": 1, "stale": 2}, 2).unaccounted == 0


def test_dropped_are_those_without_result_and_without_dead_letter() -> None:
    assert LEDGER.dropped == {"stale": 2}


def test_what_waited_when_the_broker_died_is_lost() -> None:
    ended = LEDGER.after_broker_loss()
    assert (ended.published, ended.outcomes["lost"], ended.waiting) == (10, 1, 0)
    assert ended.unaccounted == LEDGER.unaccounted


def test_shards_add_up() -> None:
    both = LEDGER + LEDGER
    assert (both.published, both.outcomes["stale"], both.waiting) == (20, 4, 2)
    assert (both.since(LEDGER).published, both.since(LEDGER).outcomes["dead_lettered"]) == (10, 1)


def test_the_broker_s_own_fields_are_no_faces() -> None:
    read = of_fields(
        {"_epoch": "a-1", "_carried_over:b": "1", "published": "3", "overflow": "2"}, 1
    )
    assert read == FaceAccounting(3, {"overflow": 2}, 1)


def test_of_several_workers_the_one_that_has_come_furthest_is_believed() -> None:
    samples = [
        (METRIC, {"instance": worker, "outcome": outcome}, float(number))
        for worker, ledger in (("a", LEDGER), ("b", LEDGER + LEDGER))
        for outcome, number in ledger.as_metrics().items()
    ]
    assert of_samples(samples) == LEDGER + LEDGER
    assert of_samples([]) == FaceAccounting()


@pytest.mark.parametrize(("reason", "counts"), [("broker_unavailable", True), ("overflow", False)])
def test_only_what_never_came_into_a_stream_is_not_sent(reason: str, counts: bool) -> None:
    name = "facestream_capture_faces_dropped_total"
    samples = [(name, {"camera": camera, "reason": reason}, 2.0) for camera in ("door", "yard")]
    assert dropped_before_publish(samples) == ({"broker_unavailable": 4} if counts else {})
