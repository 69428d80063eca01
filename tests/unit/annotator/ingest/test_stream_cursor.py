"""Read positions in capped streams, and counts of trimmed entries."""

from __future__ import annotations

from facestream.annotator.ingest.stream_cursor import ABSENT, Cursor, StreamState


class Stream:
    """A capped stream as a broker keeps it."""

    def __init__(self, cap: int = 4, first_ms: int = 1000) -> None:
        self.cap, self.next_ms = cap, first_ms
        self.ids: list[bytes] = []
        self.added = 0

    def add(self, count: int) -> None:
        for _ in range(count):
            self.ids.append(f"{self.next_ms}-0".encode())
            self.next_ms += 1
            self.added += 1
        del self.ids[: -self.cap]

    @property
    def state(self) -> StreamState:
        newest = f"{self.next_ms - 1}-0".encode()
        return StreamState(self.added, len(self.ids), self.ids[0] if self.ids else None, newest)

    def read(self, cursor: Cursor) -> int:
        after = int(cursor.position.split(b"-")[0])
        unread = [i for i in self.ids if int(i.split(b"-")[0]) > after]
        for entry_id in unread:
            cursor.advance(entry_id)
        return len(unread)


def test_older_entries_are_neither_read_nor_counted_as_lost() -> None:
    stream = Stream()
    stream.add(9)
    cursor = Cursor(stream.state)
    assert stream.read(cursor) == 0
    assert cursor.reconcile(stream.state) == 0


def test_cursor_continues_without_loss() -> None:
    stream = Stream()
    stream.add(2)
    cursor = Cursor(stream.state)
    stream.add(4)
    assert cursor.reconcile(stream.state) == 0
    assert stream.read(cursor) == 4
    assert cursor.reconcile(stream.state) == 0


def test_entries_trimmed_unread_are_counted_once() -> None:
    stream = Stream()
    cursor = Cursor(ABSENT)
    stream.add(1)
    stream.read(cursor)
    stream.add(7)
    assert cursor.reconcile(stream.state) == 3
    assert cursor.reconcile(stream.state) == 0
    assert stream.read(cursor) == 4
    assert cursor.reconcile(stream.state) == 0


def test_entries_trimmed_between_two_reads_are_counted_later() -> None:
    stream = Stream()
    cursor = Cursor(ABSENT)
    stream.add(10)
    assert stream.read(cursor) == 4
    assert cursor.reconcile(stream.state) == 6


def test_expired_and_recreated_stream_is_read_from_its_start() -> None:
    stream = Stream()
    cursor = Cursor(ABSENT)
    stream.add(3)
    stream.read(cursor)
    assert cursor.reconcile(ABSENT) == 0
    again = Stream(first_ms=5000)
    again.add(2)
    assert cursor.reconcile(again.state) == 0
    assert again.read(cursor) == 2


def test_stream_with_lower_ids_is_read_from_its_start() -> None:
    stream = Stream(first_ms=9000)
    stream.add(3)
    cursor = Cursor(stream.state)
    again = Stream(first_ms=1000)
    again.add(6)
    assert cursor.reconcile(again.state) == 2
    assert again.read(cursor) == 4


def test_stream_recreated_between_two_checks_is_read_from_its_start() -> None:
    stream = Stream()
    stream.add(50)
    cursor = Cursor(stream.state)
    again = Stream(first_ms=7000)
    again.add(5)
    assert cursor.reconcile(again.state) == 1
    assert again.read(cursor) == 4
    assert cursor.reconcile(again.state) == 0


def test_broker_without_entry_counter_is_supported() -> None:
    info = {"length": 2, "last-generated-id": b"7-1", "first-entry": (b"7-0", {b"m": b""})}
    cursor = Cursor(StreamState.parse(info))
    assert cursor.position == b"7-1"
    cursor.advance(b"8-0")
    later = StreamState.parse({**info, "last-generated-id": b"9-0"})
    assert cursor.reconcile(later) == 0
    assert cursor.position == b"8-0"
