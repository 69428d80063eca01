"""Face accounting: sums, differences and metrics."""

from __future__ import annotations

import pytest
from facestream.common.broker.face_accounting import (
    METRIC,
    FaceAccounting,
    dropped_before_publish,
    from_fields,
    from_samples,
)

COUNTS = FaceAccounting(10, {"processed": 5, "dead_lettered": 1, "stale": 2}, 1)


def test_a_face_without_outcome_that_does_not_wait_is_unaccounted() -> None:
    assert COUNTS.unaccounted == 1
    assert FaceAccounting(10, {"processed": 5, "dead_lettered": 1, "stale": 2}, 2).unaccounted == 0


def test_dropped_faces_have_neither_result_nor_dead_letter() -> None:
    assert COUNTS.dropped == {"stale": 2}


def test_faces_waiting_when_redis_lost_its_memory_are_lost() -> None:
    after = COUNTS.after_broker_loss()
    assert (after.published, after.outcomes["lost"], after.waiting) == (10, 1, 0)
    assert after.unaccounted == COUNTS.unaccounted


def test_shards_add_up() -> None:
    both = COUNTS + COUNTS
    assert (both.published, both.outcomes["stale"], both.waiting) == (20, 4, 2)
    assert (both.since(COUNTS).published, both.since(COUNTS).outcomes["dead_lettered"]) == (10, 1)


def test_private_fields_are_not_counted() -> None:
    read = from_fields(
        {"_epoch": "a-1", "_carried_over:b": "1", "published": "3", "overflow": "2"}, 1
    )
    assert read == FaceAccounting(3, {"overflow": 2}, 1)


def test_the_worker_with_the_most_published_faces_has_the_newest_counts() -> None:
    samples = [
        (METRIC, {"instance": worker, "outcome": outcome}, float(number))
        for worker, counts in (("a", COUNTS), ("b", COUNTS + COUNTS))
        for outcome, number in counts.as_metrics().items()
    ]
    assert from_samples(samples) == COUNTS + COUNTS
    assert from_samples([]) == FaceAccounting()


@pytest.mark.parametrize(
    ("reason", "is_counted"), [("broker_unavailable", True), ("overflow", False)]
)
def test_drops_after_publishing_are_not_counted_as_before(reason: str, is_counted: bool) -> None:
    name = "facestream_capture_faces_dropped_total"
    samples = [(name, {"camera": camera, "reason": reason}, 2.0) for camera in ("door", "yard")]
    assert dropped_before_publish(samples) == ({"broker_unavailable": 4} if is_counted else {})
