"""Which browser sends for a phone's camera now, and how fast it may. Pure, of bounded memory.

A link may be opened on several phones, or twice on one: the first keeps its place until it has been
silent for a while, the others are told so. Pictures come in two requests at a time and may overtake
each other: an older one is not taken.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

SILENT_S = 5.0  # then the place is free for another
MAX_AT_ONCE = 3  # requests of one camera
_HASTE = 2.0  # a phone may send so many times as fast as it is asked to
_BURST = 4.0  # pictures

UploadDecision = Literal["accept", "stale", "rate_limited", "slot_taken"]


@dataclass(slots=True)
class _Place:
    sender: str
    heard_at: float
    seq: int = 0
    at_once: int = 0
    left: float = _BURST


class UploadSlots:
    """One place a camera.

    Args:
        fps: pictures a second that phones are asked for.
    """

    def __init__(self, fps: float) -> None:
        self._per_s = fps * _HASTE
        self._places: dict[str, _Place] = {}

    def begin(self, camera: str, sender: str, seq: int, now: float) -> UploadDecision:
        """A request with a picture has begun; only where it is to be taken, `end` must follow.

        Args:
            sender: chosen by the page when it was opened.
            seq: number of the picture, counted by the page.
            now: steady, seconds.

        Returns:
            take; late: a newer one came before; rate: too many; other: the place is another's.
        """
        place = self._places.get(camera)
        if place is None or (place.sender != sender and now - place.heard_at > SILENT_S):
            at_once = place.at_once if place else 0
            place = self._places[camera] = _Place(sender, now, at_once=at_once)
        if place.sender != sender:
            return "slot_taken"
        place.left = min(_BURST, place.left + (now - place.heard_at) * self._per_s)
        place.heard_at = now
        if place.at_once >= MAX_AT_ONCE or place.left < 1:
            return "rate_limited"
        if seq <= place.seq:
            return "stale"
        place.left -= 1
        place.seq = seq
        place.at_once += 1
        return "accept"

    def end(self, camera: str) -> None:
        """That request has ended."""
        place = self._places.get(camera)
        if place is not None:
            place.at_once -= 1

    def retain_only(self, cameras: Collection[str]) -> None:
        """Forget all but these."""
        for gone in self._places.keys() - set(cameras):
            del self._places[gone]
