"""Whether a live camera is read too slowly, and what to leave out to catch up. Pure.

A machine that is too busy to decode all that a camera sends falls behind, by seconds at first and
by all that the buffers hold in the end; old pictures are worth less than none. The stamps of a
camera's packets tell how late each is read, against the most punctual one. When that stays too
much, packets are left out undecoded, up to a key picture that is on time. A burst after a pause of
the network is soon decoded and leaves nothing out.
"""

from __future__ import annotations

LATE_S = 1.0
PATIENCE_S = 1.0  # late for so long, it does not catch up by itself
# What was sent already is left out in a moment. One that is still late after this was not late:
# its stamps are wrong; it is trusted for longer and longer.
_GIVE_UP_S = 3.0
_LESS_OFTEN = 8.0
_NO_KEY_S = 10.0  # a camera that sends no key picture for so long sends none
_DRIFT = 0.001  # by how much a camera's clock may be wrong


class CatchUp:
    """Follows the packets of one session of one camera."""

    def __init__(self) -> None:
        self._best_s: float | None = None  # the least difference of reading and stamp
        self._stamp_s = self._read_at = 0.0
        self._late_since: float | None = None
        self._skips_since: float | None = None
        self._patience_s = PATIENCE_S

    def should_drop(self, stamp_s: float | None, is_key: bool, now: float) -> bool:
        """Whether to leave out this packet.

        Args:
            stamp_s: the packet's own time, seconds; None where it has none.
            is_key: it can be decoded without those before it.
            now: when it was read, monotonic seconds.
        """
        if stamp_s is None:
            return False
        late_s = self._late_s(stamp_s, now)
        if self._skips_since is not None:
            return self._goes_on_skipping(late_s, is_key, now)
        if late_s < LATE_S:
            self._late_since = None
            return False
        if self._late_since is None:
            self._late_since = now
        if now - self._late_since < self._patience_s:
            return False
        self._skips_since = now
        return True

    def _late_s(self, stamp_s: float, now: float) -> float:
        behind_s = now - stamp_s
        if self._best_s is None or stamp_s < self._stamp_s - LATE_S:  # its clock was set back
            self._best_s = behind_s
        self._best_s = min(behind_s, self._best_s + _DRIFT * (now - self._read_at))
        self._stamp_s, self._read_at = stamp_s, now
        return behind_s - self._best_s

    def _goes_on_skipping(self, late_s: float, is_key: bool, now: float) -> bool:
        assert self._skips_since is not None
        skipped_s = now - self._skips_since
        is_late = late_s >= LATE_S
        if is_late and skipped_s < _GIVE_UP_S:
            return True
        if not is_key and skipped_s < _NO_KEY_S:
            return True  # without those before it, it would come out smeared
        if is_late:
            self._best_s = None
            self._patience_s *= _LESS_OFTEN
        self._skips_since = self._late_since = None
        return False
