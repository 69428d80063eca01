"""Server-sent events: each client gets the newest event of each topic."""

from __future__ import annotations

import asyncio
import json

import pytest
from facestream.annotator.api.sse import EventBus, Subscriber
from facestream.annotator.stream_limit import StreamLimit, StreamLimitError


async def read_once(listener: Subscriber) -> list[tuple[str, object]]:
    """The events of the next chunk."""
    async for chunk in listener.messages():
        if chunk.startswith(b"event:"):
            pairs = [part.split("\n") for part in chunk.decode().split("\n\n") if part]
            return [
                (kind.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
                for kind, data in pairs
            ]
    return []


def test_new_subscriber_gets_the_last_event_of_every_topic() -> None:
    async def go() -> list[tuple[str, object]]:
        events = EventBus(StreamLimit(2, 2, "full"))
        events.publish("cameras", [1])
        events.publish("cameras", [2])
        events.publish("people", ["a"], camera="door")
        events.publish("people", ["b"], camera="shop")
        with events.subscribe() as listener:
            return await read_once(listener)

    assert asyncio.run(go()) == [("cameras", [2]), ("people", ["a"]), ("people", ["b"])]


def test_slow_client_gets_the_newest_event_and_its_queue_is_bounded() -> None:
    async def go() -> list[tuple[str, object]]:
        events = EventBus(StreamLimit(2, 2, "full"))
        with events.subscribe() as listener:
            for i in range(1000):
                events.publish("people", i, camera="door")
            return await read_once(listener)

    assert asyncio.run(go()) == [("people", 999)]


def test_unchanged_event_is_not_sent_again() -> None:
    events = EventBus(StreamLimit(2, 2, "full"))
    assert events.publish("cameras", [1])
    assert not events.publish("cameras", [1])
    assert events.publish("cameras", [2])


def test_removed_camera_has_no_last_event() -> None:
    async def go() -> list[tuple[str, object]]:
        events = EventBus(StreamLimit(2, 2, "full"))
        events.publish("people", 1, camera="door")
        events.publish("people", 2, camera="back-door")
        events.remove_camera("door")
        with events.subscribe() as listener:
            return await read_once(listener)

    assert asyncio.run(go()) == [("people", 2)]


def test_number_of_subscribers_is_limited() -> None:
    async def go() -> None:
        events = EventBus(StreamLimit(1, 1, "full"))
        with events.subscribe(), pytest.raises(StreamLimitError), events.subscribe():
            pass
        with events.subscribe():
            pass

    asyncio.run(go())


def test_close_ends_all_streams() -> None:
    async def go() -> list[bytes]:
        events = EventBus(StreamLimit(2, 2, "full"))
        with events.subscribe() as listener:
            events.close()
            return [chunk async for chunk in listener.messages()]

    assert len(asyncio.run(asyncio.wait_for(go(), 2))) == 1
