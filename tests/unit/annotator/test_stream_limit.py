"""Slots of concurrent streams: in all, per client, and under concurrent requests."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack

import pytest
from facestream.annotator.api.sse import EventBus, Subscriber
from facestream.annotator.api.streaming_response import LiveStreamResponse, client_of
from facestream.annotator.stream_limit import StreamLimit, StreamLimitError
from fastapi import FastAPI, Request, Response
from starlette.types import Message

LIMIT, REQUESTS = 64, 200


def test_one_client_cannot_take_all_slots() -> None:
    limit = StreamLimit(4, 2, "full")
    with ExitStack() as stack:
        for client in ("10.0.0.1", "10.0.0.1", "10.0.0.2"):
            stack.enter_context(limit.slot(client))
        with pytest.raises(StreamLimitError), limit.slot("10.0.0.1"):
            pass
        stack.enter_context(limit.slot("10.0.0.3"))
        with pytest.raises(StreamLimitError), limit.slot("10.0.0.4"):
            pass
    assert limit.held == 0


def test_concurrent_requests_get_exactly_the_free_slots() -> None:
    limit = StreamLimit(LIMIT, LIMIT, "too many")
    events = EventBus(limit)
    app, statuses = FastAPI(), Counter[int]()

    @app.get("/events")
    async def endless(request: Request) -> Response:
        return LiveStreamResponse(
            events.subscribe(client_of(request)), Subscriber.messages, "text/event-stream"
        )

    async def request(client: int, end: asyncio.Event) -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/events",
            "query_string": b"",
            "headers": [],
            "client": ("127.0.0.1", client),
        }

        async def receive() -> Message:
            await end.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            await asyncio.sleep(0)  # as a real transport: others run before the stream counts
            if message["type"] == "http.response.start":
                statuses[message["status"]] += 1

        await app(scope, receive, send)

    async def go() -> None:
        end = asyncio.Event()
        requests = [asyncio.create_task(request(i, end)) for i in range(REQUESTS)]
        while statuses.total() < REQUESTS:
            await asyncio.sleep(0.01)
        assert limit.held == LIMIT
        end.set()
        await asyncio.gather(*requests)

    asyncio.run(asyncio.wait_for(go(), 20))
    assert statuses == {200: LIMIT, 503: REQUESTS - LIMIT}
    assert limit.held == 0
