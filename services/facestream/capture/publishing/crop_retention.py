"""Which faces nobody will ask for any more, so that no picture of a person stays in the broker.

Pure. The publisher tells of each face that it put into a stream; out comes, now and then, up to
which entry the streams are to be cleared. Whoever clears counts what it took away, so it is done
here, and not left to a time to live, as long as there is somebody to count. An entry's id begins
with the broker's clock, and so all is reckoned in that clock, whatever this machine's says.
"""

from __future__ import annotations

from dataclasses import dataclass

from facestream.common.broker.keys import FACES_RETENTION_S

SWEEP_INTERVAL_S = 5.0


@dataclass(frozen=True, slots=True)
class Sweep:
    """Entries of the stream `key` with an id below `min_id` are to go.

    camera: the one that what is taken away is counted for: who used the stream last.
    """

    key: str
    min_id: str
    camera: str


@dataclass(frozen=True, slots=True)
class _Newest:
    broker_ms: int
    at: float
    camera: str


class CropRetention:
    """The faces streams that this process has written to and that may hold something yet."""

    def __init__(self) -> None:
        self._newest: dict[str, _Newest] = {}
        self._due_at = 0.0

    @property
    def due_at(self) -> float | None:
        """When to sweep next, monotonic seconds; None if there is nothing to sweep."""
        return self._due_at if self._newest else None

    def published(self, key: str, entry_id: bytes, camera: str, now: float) -> None:
        """A face was put into a stream, and this is the id that the broker gave it."""
        if not self._newest:
            self._due_at = now + SWEEP_INTERVAL_S
        self._newest[key] = _Newest(int(entry_id.partition(b"-")[0]), now, camera)

    def sweeps(self, now: float) -> list[Sweep]:
        """What to clear now; to be called when it is due."""
        self._due_at = now + SWEEP_INTERVAL_S
        return [
            Sweep(
                key,
                str(max(0, _broker_ms(newest, now) - int(FACES_RETENTION_S * 1000))),
                newest.camera,
            )
            for key, newest in self._newest.items()
        ]

    def swept(self, sweep: Sweep) -> None:
        """It was cleared; a stream in which nothing of ours can be left is forgotten."""
        newest = self._newest.get(sweep.key)
        if newest is not None and newest.broker_ms < int(sweep.min_id):
            del self._newest[sweep.key]


def _broker_ms(newest: _Newest, now: float) -> int:
    return newest.broker_ms + int((now - newest.at) * 1000)
