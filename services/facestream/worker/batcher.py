"""Gathers faces into batches: full ones at once, others when their first face has waited enough.

Pure: faces and a clock's reading go in, batches come out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Batcher(Generic[T]):
    """Faces that wait for company.

    Args:
        max_batch_size: faces in a batch at most.
        wait_s: how long the first face of a batch may wait.
    """

    def __init__(self, max_batch_size: int, wait_s: float) -> None:
        self._max, self._wait_s = max_batch_size, wait_s
        self._waiting: list[T] = []
        self._due_at = 0.0

    def add(self, faces: Iterable[T], now_s: float) -> None:
        """Put faces in line."""
        waited = bool(self._waiting)
        self._waiting.extend(faces)
        if not waited:
            self._due_at = now_s + self._wait_s

    def pop_batch(self, now_s: float) -> list[T]:
        """The next batch if it is full or due, else nothing."""
        if len(self._waiting) < self._max and now_s < self._due_at:
            return []
        return self._cut(now_s)

    def flush(self, now_s: float) -> list[T]:
        """The next batch, due or not; nothing only when nobody waits."""
        return self._cut(now_s)

    def time_until_due_s(self, now_s: float) -> float | None:
        """How long until the next batch is due; None while nobody waits."""
        return max(0.0, self._due_at - now_s) if self._waiting else None

    def _cut(self, now_s: float) -> list[T]:
        batch, self._waiting = self._waiting[: self._max], self._waiting[self._max :]
        # Those left over came with the last `add`: they have waited for nothing yet.
        self._due_at = now_s + self._wait_s
        return batch
