"""Endless HTTP responses for MJPEG streams and event streams.

Plain ASGI instead of Starlette's StreamingResponse: one `send` per chunk and no task group. The
connection itself drops a slow client that reads nothing, see `LimitedHttpProtocol`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, aclosing
from typing import Generic, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from facestream.annotator.stream_limit import StreamLimitError

T = TypeVar("T")


class LiveStreamResponse(Response, Generic[T]):
    """Response that sends chunks until their iterator ends or the client disconnects.

    Args:
        subscription: entered for the duration of the response; its value is passed to `chunks`.
        chunks: makes the iterator of chunks.
        media_type: of the response.
    """

    def __init__(
        self,
        subscription: AbstractContextManager[T],
        chunks: Callable[[T], AsyncIterator[bytes]],
        media_type: str,
    ) -> None:
        super().__init__(media_type=media_type, headers={"Cache-Control": "no-store"})
        self.raw_headers = [h for h in self.raw_headers if h[0] != b"content-length"]
        self._subscription = subscription
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a slot, then send headers and chunks; respond with 503 if no slot is free."""
        with ExitStack() as stack:
            try:
                subscriber = stack.enter_context(self._subscription)
            except StreamLimitError as error:
                raise HTTPException(503, str(error)) from None
            await self._send_stream(subscriber, receive, send)

    async def _send_stream(self, subscriber: T, receive: Receive, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        sender = asyncio.create_task(self._send_chunks(subscriber, send))
        disconnect = asyncio.create_task(_wait_for_disconnect(receive))
        try:
            await asyncio.wait((sender, disconnect), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sender.cancel()
            disconnect.cancel()
            results = await asyncio.gather(sender, disconnect, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, OSError):
                raise result

    async def _send_chunks(self, subscriber: T, send: Send) -> None:
        async with aclosing(self._chunks(subscriber)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def client_of(request: Request) -> str:
    """Return the address of the client; behind a trusted proxy that of the proxy's client."""
    return request.client.host if request.client else ""


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
