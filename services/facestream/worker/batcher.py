"""Collect faces into batches: full batches at once, others after a maximum delay. No I/O.

The caller passes the time; the batcher reads no clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Batcher(Generic[T]):
    """Queue of faces that is cut into batches. Not thread-safe.

    Args:
        max_batch_size: largest batch.
        max_delay_s: how long the first face of a batch may wait for others.
    """

    def __init__(self, max_batch_size: int, max_delay_s: float) -> None:
        self._max_batch_size, self._max_delay_s = max_batch_size, max_delay_s
        self._queue: list[T] = []
        self._due_at_s = 0.0

    def add(self, faces: Iterable[T], now_s: float) -> None:
        """Append faces to the queue."""
        was_empty = not self._queue
        self._queue.extend(faces)
        if was_empty:
            self._due_at_s = now_s + self._max_delay_s

    def pop_batch(self, now_s: float) -> list[T]:
        """Remove and return the next batch if it is full or due, else an empty list."""
        if len(self._queue) < self._max_batch_size and now_s < self._due_at_s:
            return []
        return self._cut(now_s)

    def flush(self, now_s: float) -> list[T]:
        """Remove and return the next batch, due or not; an empty list if the queue is empty."""
        return self._cut(now_s)

    def time_until_due_s(self, now_s: float) -> float | None:
        """Return how long until the next batch is due; None if the queue is empty."""
        return max(0.0, self._due_at_s - now_s) if self._queue else None

    def _cut(self, now_s: float) -> list[T]:
        batch = self._queue[: self._max_batch_size]
        self._queue = self._queue[self._max_batch_size :]
        # The faces left over came with the last `add`, so their delay starts now.
        self._due_at_s = now_s + self._max_delay_s
        return batch
