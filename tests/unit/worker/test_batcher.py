"""Batching: full batches, delayed batches, the rest at the end."""

import pytest
from facestream.worker.batcher import Batcher


def test_a_full_batch_is_due_at_once() -> None:
    batcher = Batcher[int](3, 0.01)
    batcher.add([1, 2, 3], 0.0)
    assert batcher.pop_batch(0.0) == [1, 2, 3]
    assert batcher.pop_batch(1.0) == []


def test_a_partial_batch_is_due_after_the_delay() -> None:
    batcher = Batcher[int](3, 0.01)
    batcher.add([1], 5.0)
    assert batcher.pop_batch(5.009) == []
    batcher.add([2], 5.009)  # a newcomer does not prolong it
    assert batcher.pop_batch(5.0101) == [1, 2]


def test_many_faces_are_cut_into_several_batches() -> None:
    batcher = Batcher[int](3, 0.01)
    batcher.add(range(7), 0.0)
    assert batcher.pop_batch(0.0) == [0, 1, 2]
    assert batcher.pop_batch(0.0) == [3, 4, 5]
    assert batcher.pop_batch(0.0) == []
    assert batcher.flush(0.0) == [6]
    assert batcher.flush(0.0) == []


def test_the_time_until_the_next_batch_is_known() -> None:
    batcher = Batcher[int](3, 0.01)
    assert batcher.time_until_due_s(0.0) is None
    batcher.add([1], 1.0)
    assert batcher.time_until_due_s(1.0) == pytest.approx(0.01)
    assert batcher.time_until_due_s(2.0) == 0.0
    batcher.pop_batch(2.0)
    assert batcher.time_until_due_s(2.0) is None
