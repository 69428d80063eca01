"""HTTP with bounds on a request's head and body, which uvicorn with httptools does not have.

Before anybody has said who he is, a connection may neither send headers without end nor hold its
place by sending them, or a body, for ever.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
HEAD_DEADLINE_S = 20.0
BODY_DEADLINE_S = 20.0  # after the head


class BoundedHttp(HttpToolsProtocol):
    """Closes a connection whose head is too long, or whose head or body is too late."""

    _head_bytes = 0
    _in_head = True
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more is waited for."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, as long as the head has not become too long."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.transport.close()

    def on_message_begin(self) -> None:
        """A further request on this connection."""
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        self._expect_end(BODY_DEADLINE_S)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body, if there is one, is whole."""
        self._stop_waiting()
        super().on_message_complete()

    def _expect_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._expect_end(HEAD_DEADLINE_S)

    def _expect_end(self, within_s: float) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(within_s, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
