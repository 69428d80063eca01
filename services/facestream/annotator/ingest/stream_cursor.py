"""How far a stream was read, and what was lost of it unread. Pure.

A stream keeps its newest entries only: what is trimmed while nobody could read is gone. A stream
counts all entries it was ever given, so what is missing between the last entry read and the oldest
one kept can be counted after the fact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_BEGINNING = b"0-0"


@dataclass(frozen=True)
class StreamState:
    """What the broker says of a stream.

    `added` is how many entries it was ever given, `length` how many it keeps, `oldest` (None where
    it keeps none) and `newest` are entry ids.
    """

    added: int
    length: int
    oldest: bytes | None
    newest: bytes

    @classmethod
    def parse(cls, info: Mapping[str, Any]) -> StreamState:
        """From the answer of XINFO STREAM. Brokers before Redis 7 do not count what was added."""
        oldest = info.get("first-entry")
        return cls(
            info.get("entries-added", 0),
            info["length"],
            oldest[0] if oldest else None,
            info["last-generated-id"],
        )


ABSENT = StreamState(0, 0, None, _BEGINNING)


class Cursor:
    """The place up to which a stream was read; starts at the newest entry."""

    def __init__(self, state: StreamState) -> None:
        self.at = state.newest
        self._added = state.added  # entries the stream was given up to this place

    def advance(self, entry_id: bytes) -> None:
        """This entry, the next one, was read."""
        self.at = entry_id
        self._added += 1

    def reconcile(self, state: StreamState) -> int:
        """Compare with the stream as it is now; one that was born anew is read from its start.

        Returns:
            how many entries were lost unread since this was last known.
        """
        if _order(state.newest) < _order(self.at):
            self.at, self._added = _BEGINNING, 0
        if state.oldest is None or _order(state.newest) == _order(self.at):
            unread = 0
        elif _order(state.oldest) > _order(self.at):
            unread = state.length
        else:  # nothing after this place was trimmed; how much is unread is not told
            return 0
        lost = state.added - self._added - unread
        trimmed = state.added - state.length
        if lost < 0:  # born anew, with ids that go on from the old ones
            lost = trimmed
        self._added = state.added - unread
        return max(0, min(lost, trimmed))


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)
