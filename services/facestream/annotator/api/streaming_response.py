"""Endless HTTP responses for MJPEG streams and event streams.

Plain ASGI instead of Starlette's StreamingResponse: one `send` per chunk and no task group. The
connection itself drops a slow client that reads nothing, see `LimitedHttpProtocol`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, aclosing
from typing import TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")


class LiveStreamResponse(Response):
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
        """Send headers and chunks."""
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        sender = asyncio.create_task(self._send_chunks(send))
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

    async def _send_chunks(self, send: Send) -> None:
        with self._subscription as subscriber:
            async with aclosing(self._chunks(subscriber)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
