"""Read position in a Redis stream, and the number of entries trimmed before they were read. No I/O.

A stream keeps only its newest entries. Those trimmed during an outage are lost, but the stream
counts every entry ever added: the lost ones can be counted afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis

_BEGINNING = b"0-0"


@dataclass(frozen=True)
class StreamState:
    """State of a stream as XINFO STREAM reports it.

    Attributes:
        added: number of entries ever added.
        length: number of entries in the stream.
        oldest: id of the oldest entry; None in an empty stream.
        newest: id of the newest entry ever added.
    """

    added: int
    length: int
    oldest: bytes | None
    newest: bytes

    @classmethod
    def parse(cls, info: Mapping[str, Any]) -> StreamState:
        """Return the state from a reply of XINFO STREAM; Redis before 7 does not report `added`."""
        oldest = info.get("first-entry")
        return cls(
            info.get("entries-added", 0),
            info["length"],
            oldest[0] if oldest else None,
            info["last-generated-id"],
        )


ABSENT = StreamState(0, 0, None, _BEGINNING)


def parse_stream_state(reply: Any) -> StreamState:
    """Return the state from a reply of XINFO STREAM, which is an exception for a missing stream.

    Raises:
        Exception: the reply is another error.
    """
    if isinstance(reply, redis.ResponseError) and "no such key" in str(reply):
        return ABSENT
    if isinstance(reply, Exception):
        raise reply
    return StreamState.parse(reply)


class Cursor:
    """Position after the last entry read; starts after the newest entry.

    Attributes:
        position: id of the last entry read.
    """

    def __init__(self, state: StreamState) -> None:
        self.position = state.newest
        self._added = state.added  # entries added up to `position`

    def advance(self, entry_id: bytes) -> None:
        """Move past the next entry, which was read."""
        self.position = entry_id
        self._added += 1

    def reconcile(self, state: StreamState) -> int:
        """Compare with the current state of the stream; rewind if the stream was recreated.

        Returns:
            Number of entries lost unread since the last call.
        """
        if _order(state.newest) < _order(self.position):
            self.position, self._added = _BEGINNING, 0
        if state.oldest is None or _order(state.newest) == _order(self.position):
            unread = 0
        elif _order(state.oldest) > _order(self.position):
            unread = state.length
        else:  # nothing after the position was trimmed; the number of unread entries is unknown
            return 0
        lost = state.added - self._added - unread
        trimmed = state.added - state.length
        if lost < 0:  # the stream was recreated, with ids that continue from the old ones
            lost = trimmed
        self._added = state.added - unread
        return max(0, min(lost, trimmed))


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)
