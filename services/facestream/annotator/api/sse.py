"""Server-sent events (SSE): publish changes to every open page.

An event has a topic (`cameras`, `people:front-door`, …). A slow client gets only the newest event
of each topic. Its queue is therefore never out of date, and bounded by the number of topics.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from facestream.annotator.stream_limit import StreamLimit

KEEPALIVE_INTERVAL_S = 15.0
RETRY_MS = 1000  # delay before a page reconnects


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
        """End the stream."""
        self._closed = True
        self._wake.set()

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield messages as they arrive, pending ones joined; `keepalive` while there are none."""
        yield b"retry: %d\n\n" % RETRY_MS
        while not self._closed:
            try:
                async with asyncio.timeout(KEEPALIVE_INTERVAL_S):
                    await self._wake.wait()
            except TimeoutError:
                yield b"event: keepalive\ndata: {}\n\n"
                continue
            self._wake.clear()
            pending, self._pending = self._pending, {}
            if pending:
                yield b"".join(pending.values())


class EventBus:
    """All subscribers, and the last message of each topic for new ones.

    Args:
        stream_limit: slots of concurrent subscribers.
    """

    def __init__(self, stream_limit: StreamLimit) -> None:
        self._stream_limit = stream_limit
        self._subscribers: set[Subscriber] = set()
        self._last: dict[str, bytes] = {}
        self._closed = False

    def publish(self, event: str, data: object, *, camera: str = "") -> bool:
        """Send an event to every subscriber, unless it equals the last one of its topic.

        Args:
            event: type of the event.
            data: any JSON value.
            camera: camera of the event; type and camera together make the topic.

        Returns:
            Whether the event was sent.
        """
        topic = f"{event}:{camera}"
        message = f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
        if self._last.get(topic) == message:
            return False
        self._last[topic] = message
        for subscriber in self._subscribers:
            subscriber.put(topic, message)
        return True

    def remove_camera(self, camera: str) -> None:
        """Drop the last messages about a removed camera."""
        for topic in [topic for topic in self._last if topic.endswith(f":{camera}")]:
            del self._last[topic]

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.close()

    @contextmanager
    def subscribe(self, client: str = "") -> Iterator[Subscriber]:
        """Subscribe for the duration of the block; the last message of every topic comes first.

        Args:
            client: address of the client.

        Raises:
            StreamLimitError: too many event streams are open.
        """
        with self._stream_limit.slot(client):
            yield from self._subscribe()

    def _subscribe(self) -> Iterator[Subscriber]:
        subscriber = Subscriber()
        for topic, message in self._last.items():
            subscriber.put(topic, message)
        if self._closed:
            subscriber.close()
        self._subscribers.add(subscriber)
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)
