"""Answers that never end by themselves: picture streams and event streams.

Plain ASGI rather than Starlette's StreamingResponse: one `send` a picture, no task group, and a
deadline on each `send`, so that a viewer that reads nothing does not hold its place for ever. The
deadline is looked at from time to time: a timer for each picture of each viewer would cost more
than the sending.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, aclosing
from typing import TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")


class Endless(Response):
    """Sends what an async iterator yields until it ends or the other side goes.

    Args:
        place: entered for as long as the answer lasts; its value goes to `chunks`.
        chunks: makes the iterator.
        send_deadline_s: the other side is given up when it takes nothing for so long.
    """

    def __init__(
        self,
        place: AbstractContextManager[T],
        chunks: Callable[[T], AsyncIterator[bytes]],
        media_type: str,
        send_deadline_s: float,
    ) -> None:
        super().__init__(media_type=media_type, headers={"Cache-Control": "no-store"})
        self.raw_headers = [h for h in self.raw_headers if h[0] != b"content-length"]
        self._place = place
        self._chunks = chunks
        self._send_deadline_s = send_deadline_s
        self._sending_since_s: float | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        pump = asyncio.create_task(self._pump(send))
        gone = asyncio.create_task(_gone(receive))
        try:
            ended: set[asyncio.Task[None]] = set()
            while not ended and not self._stuck():
                ended, _ = await asyncio.wait(
                    (pump, gone),
                    timeout=self._send_deadline_s / 4,
                    return_when=asyncio.FIRST_COMPLETED,
                )
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
                    self._sending_since_s = time.monotonic()
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                    self._sending_since_s = None
        await send({"type": "http.response.body", "body": b""})

    def _stuck(self) -> bool:
        since_s = self._sending_since_s
        return since_s is not None and time.monotonic() - since_s > self._send_deadline_s


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
