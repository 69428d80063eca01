"""Server-sent events: what changed, to every open page, in a few bytes.

An event has a topic (`cameras`, `people:front-door`, …). A listener that is slow to read keeps the
newest event of each topic and loses the older ones: it is never out of date, and what is kept
for it is bounded by the number of topics.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

KEEP_ALIVE_S = 15.0
RETRY_MS = 1000  # after which a page that lost its connection tries again


class Subscriber:
    """One open event stream."""

    def __init__(self) -> None:
        self._pending: dict[str, bytes] = {}
        self._wake = asyncio.Event()
        self._closed = False

    def put(self, topic: str, message: bytes) -> None:
        """Queue a message in place of an older one of its topic."""
        self._pending[topic] = message
        self._wake.set()

    def close(self) -> None:
        """No more will come."""
        self._closed = True
        self._wake.set()

    async def messages(self) -> AsyncIterator[bytes]:
        """What to send, several events at once where several wait; `alive` in quiet times."""
        yield b"retry: %d\n\n" % RETRY_MS
        while not self._closed:
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    await self._wake.wait()
            except TimeoutError:
                yield b"event: alive\ndata: {}\n\n"
                continue
            self._wake.clear()
            pending, self._pending = self._pending, {}
            if pending:
                yield b"".join(pending.values())


class EventBus:
    """All listeners, and the last message of each topic for those that come later."""

    def __init__(self, max_event_streams: int) -> None:
        self._max_listeners = max_event_streams
        self._listeners: set[Subscriber] = set()
        self._last: dict[str, bytes] = {}
        self._closed = False

    def full(self) -> bool:
        """No further listener is taken."""
        return len(self._listeners) >= self._max_listeners

    def publish(self, event: str, data: object, of: str = "") -> bool:
        """Tell every listener, unless it is what was said last; True if it was news.

        Args:
            event: its kind, as the page listens for it.
            data: anything JSON can say.
            of: the camera it is about; kinds and cameras together make the topic.
        """
        topic = f"{event}:{of}"
        message = f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
        if self._last.get(topic) == message:
            return False
        self._last[topic] = message
        for listener in self._listeners:
            listener.put(topic, message)
        return True

    def forget(self, camera: str) -> None:
        """Drop what was last said of a removed camera."""
        for topic in [topic for topic in self._last if topic.endswith(f":{camera}")]:
            del self._last[topic]

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        for listener in self._listeners:
            listener.close()

    @contextmanager
    def subscribe(self) -> Iterator[Subscriber]:
        """A listener that first gets the last message of every topic."""
        listener = Subscriber()
        for topic, message in self._last.items():
            listener.put(topic, message)
        if self._closed:
            listener.close()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
