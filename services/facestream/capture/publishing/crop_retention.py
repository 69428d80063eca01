"""Retention of face crops: decide which entries of the face streams have expired. No I/O.

No face may stay in the broker when no worker will read it. The publisher reports each face that it
added; from time to time it receives the sweeps to run. A sweep deletes expired entries and counts
them, which a TTL alone would not do; the TTL covers the case that no capture runs. Entry ids begin
with the broker's time, so all ages are computed in the broker's clock, not in this machine's.
"""

from __future__ import annotations

from dataclasses import dataclass

from facestream.common.broker.keys import FACES_RETENTION_S

SWEEP_INTERVAL_S = 5.0


@dataclass(frozen=True, slots=True)
class Sweep:
    """Deletion of all entries of stream `key` with an id below `min_id`.

    camera: under whose name deleted faces are counted: the last one that used the stream.
    """

    key: str
    min_id: str
    camera: str


@dataclass(frozen=True, slots=True)
class _NewestEntry:
    broker_ms: int
    added_at: float
    camera: str

    def broker_ms_at(self, now: float) -> int:
        return self.broker_ms + int((now - self.added_at) * 1000)


class CropRetention:
    """Face streams that this process has written to and that may still hold its entries."""

    def __init__(self) -> None:
        self._newest: dict[str, _NewestEntry] = {}
        self._due_at = 0.0

    @property
    def due_at(self) -> float | None:
        """Due time of the next sweeps, monotonic seconds; None if there is nothing to sweep."""
        return self._due_at if self._newest else None

    def on_published(self, key: str, entry_id: bytes, camera: str, now: float) -> None:
        """Record a face that was added to a stream, with the id that the broker assigned."""
        if not self._newest:
            self._due_at = now + SWEEP_INTERVAL_S
        self._newest[key] = _NewestEntry(int(entry_id.partition(b"-")[0]), now, camera)

    def start_sweeps(self, now: float) -> list[Sweep]:
        """Return the sweeps to run now, and set the next due time."""
        self._due_at = now + SWEEP_INTERVAL_S
        retention_ms = int(FACES_RETENTION_S * 1000)
        return [
            Sweep(key, str(max(0, newest.broker_ms_at(now) - retention_ms)), newest.camera)
            for key, newest in self._newest.items()
        ]

    def on_swept(self, sweep: Sweep) -> None:
        """Record a completed sweep; a stream without entries of this process is dropped."""
        newest = self._newest.get(sweep.key)
        if newest is not None and newest.broker_ms < int(sweep.min_id):
            del self._newest[sweep.key]
