"""Upload slots: one active browser per phone camera, and an upload rate limit. No I/O.

A pairing link may be open on several phones, or twice on one. The first browser holds the slot of
its camera until it has been silent for `IDLE_TIMEOUT_S`; the others are rejected. A browser sends
up to two requests at a time, which may overtake each other: an older frame is rejected as stale.
Memory is bounded by the number of cameras.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

IDLE_TIMEOUT_S = 5.0  # without a frame for this long, another browser may use the slot
MAX_CONCURRENT_UPLOADS = 3  # per camera
_RATE_FACTOR = 2.0  # upload rate limit as a multiple of the requested fps
_BURST = 4.0  # frames

UploadDecision = Literal["accept", "stale", "rate_limited", "slot_taken"]


@dataclass(slots=True)
class _Slot:
    sender: str
    updated_s: float
    seq: int = 0
    uploads: int = 0
    tokens: float = _BURST


class UploadSlots:
    """One slot with a token bucket per camera.

    Args:
        fps: frames per second requested from phones.
    """

    def __init__(self, fps: float) -> None:
        self._refill_per_s = fps * _RATE_FACTOR
        self._slots: dict[str, _Slot] = {}

    def begin(self, camera: str, sender: str, seq: int, now_s: float) -> UploadDecision:
        """Decide about an upload that has started; after `accept` the caller must call `end`.

        Args:
            camera: name of the camera.
            sender: id that the browser page chose when it was opened.
            seq: number of the frame, counted by the page.
            now_s: monotonic seconds.

        Returns:
            `accept`; `stale`: a newer frame came before; `rate_limited`: too many uploads;
            `slot_taken`: another browser holds the slot.
        """
        slot = self._slots.get(camera)
        if slot is None or (slot.sender != sender and now_s - slot.updated_s > IDLE_TIMEOUT_S):
            uploads = slot.uploads if slot else 0
            slot = self._slots[camera] = _Slot(sender, now_s, uploads=uploads)
        if slot.sender != sender:
            return "slot_taken"
        slot.tokens = min(_BURST, slot.tokens + (now_s - slot.updated_s) * self._refill_per_s)
        slot.updated_s = now_s
        if slot.uploads >= MAX_CONCURRENT_UPLOADS or slot.tokens < 1:
            return "rate_limited"
        if seq <= slot.seq:
            return "stale"
        slot.tokens -= 1
        slot.seq = seq
        slot.uploads += 1
        return "accept"

    def end(self, camera: str) -> None:
        """Record the end of an accepted upload."""
        slot = self._slots.get(camera)
        if slot is not None:
            slot.uploads -= 1

    def retain_only(self, cameras: Collection[str]) -> None:
        """Drop the slots of all other cameras."""
        for removed in self._slots.keys() - set(cameras):
            del self._slots[removed]
