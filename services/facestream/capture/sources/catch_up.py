"""Detect late packets, and choose which to drop to catch up with a live camera. No I/O.

A machine that decodes slower than real time falls behind by all that the buffers hold, and stale
frames are worthless. The timestamps of a camera's packets show how late each one is read, compared
with the most punctual one. If the delay stays too large, packets are dropped undecoded until a
keyframe that is on time. A burst after a network pause is decoded quickly and drops nothing.
"""

from __future__ import annotations

LATE_S = 1.0  # a packet read with more delay than this is late
LATE_PATIENCE_S = 1.0  # late for this long, the reader will not catch up without drops
# Packets that wait in buffers are dropped within moments. If packets are still late after this, the
# timestamps are wrong, and the next drop comes after a longer and longer patience.
_MAX_DROP_S = 3.0
_PATIENCE_FACTOR = 8.0
_NO_KEYFRAME_S = 10.0  # a camera without a keyframe for this long sends none
_MIN_IDLE_FRACTION = 0.5  # of the time spent waiting for packets: then none wait in buffers
_MAX_CLOCK_DRIFT = 0.001  # relative error of a camera's clock


class CatchUp:
    """Delay of the packets of one session of one camera. Not thread-safe."""

    def __init__(self) -> None:
        self._min_delay_s: float | None = None  # smallest difference of read time and timestamp
        self._last_pts_s = self._last_read_at = 0.0
        self._late_since: float | None = None
        self._waited_s = 0.0  # since then
        self._dropping_since: float | None = None
        self._patience_s = LATE_PATIENCE_S

    def should_drop(
        self, pts_s: float | None, is_keyframe: bool, now: float, waited_s: float = 0.0
    ) -> bool:
        """Return whether to drop this packet.

        Args:
            pts_s: the packet's timestamp in seconds; None if it has none.
            is_keyframe: whether it can be decoded without the packets before it.
            now: time at which it was read, monotonic seconds.
            waited_s: seconds for which the reader waited for it.
        """
        if pts_s is None:
            return False
        late_s = self._lateness_s(pts_s, now)
        if self._dropping_since is not None:
            return self._keeps_dropping(late_s, is_keyframe, now)
        if late_s < LATE_S:
            self._late_since = None
            return False
        if self._late_since is None:
            self._late_since, self._waited_s = now, 0.0
        else:
            self._waited_s += waited_s
        if now - self._late_since < self._patience_s:
            return False
        if self._waited_s > _MIN_IDLE_FRACTION * (now - self._late_since):
            # The reader is fast enough, so the timestamps are wrong, and a drop would gain nothing.
            self._min_delay_s = self._late_since = None
            return False
        self._dropping_since = now
        return True

    def _lateness_s(self, pts_s: float, now: float) -> float:
        delay_s = now - pts_s
        if self._min_delay_s is None or pts_s < self._last_pts_s - LATE_S:
            self._min_delay_s = delay_s  # first packet, or the camera's clock was set back
        drift_s = _MAX_CLOCK_DRIFT * (now - self._last_read_at)
        self._min_delay_s = min(delay_s, self._min_delay_s + drift_s)
        self._last_pts_s, self._last_read_at = pts_s, now
        return delay_s - self._min_delay_s

    def _keeps_dropping(self, late_s: float, is_keyframe: bool, now: float) -> bool:
        assert self._dropping_since is not None
        dropping_s = now - self._dropping_since
        is_late = late_s >= LATE_S
        if is_late and dropping_s < _MAX_DROP_S:
            return True
        if not is_keyframe and dropping_s < _NO_KEYFRAME_S:
            return True  # without the packets before it, it would decode to a smeared frame
        if is_late:
            self._min_delay_s = None
            self._patience_s *= _PATIENCE_FACTOR
        self._dropping_since = self._late_since = None
        return False
