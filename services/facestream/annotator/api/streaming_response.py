"""Answers that never end by themselves: picture streams and event streams.

Plain ASGI rather than Starlette's StreamingResponse: one `send` a picture and no task group. A
viewer that takes nothing is given up by its connection, see `http_protocol.py`.
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
    """Sends what an async iterator yields until it ends or the other side goes.

    Args:
        place: entered for as long as the answer lasts; its value goes to `chunks`.
        chunks: makes the iterator.
    """

    def __init__(
        self,
        place: AbstractContextManager[T],
        chunks: Callable[[T], AsyncIterator[bytes]],
        media_type: str,
    ) -> None:
        super().__init__(media_type=media_type, headers={"Cache-Control": "no-store"})
        self.raw_headers = [h for h in self.raw_headers if h[0] != b"content-length"]
        self._place = place
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        pump = asyncio.create_task(self._pump(send))
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait((pump, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            pump.cancel()
            gone.cancel()
            results = await asyncio.gather(pump, gone, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, OSError):
                raise result

    async def _pump(self, send: Send) -> None:
        with self._place as place:
            async with aclosing(self._chunks(place)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
