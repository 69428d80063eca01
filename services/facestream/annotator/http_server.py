"""HTTP with the bounds that uvicorn with httptools does not have.

Before anybody has said who he is, a connection may neither send headers or requests without end nor
hold its place by sending them, or a body, for ever, or by taking nothing of an answer.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
HEAD_DEADLINE_S = 20.0
BODY_DEADLINE_S = 20.0  # after the head
MAX_WAITING = 4  # requests of a connection behind the one that is being answered


class LimitedHttpProtocol(HttpToolsProtocol):
    """Closes a connection that sends too much, sends too late, or takes nothing."""

    send_timeout_s = 20.0
    _head_bytes = 0
    _in_head = True
    _deadline: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        # Pause as soon as a byte waits: below the limit it could wait unseen, for ever.
        transport.set_write_buffer_limits(high=1)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more is waited for."""
        self._stop_waiting()
        _cancel(self._taking)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Something waits to be taken."""
        super().pause_writing()
        self._expect_taking()

    def resume_writing(self) -> None:
        """All of it was taken."""
        _cancel(self._taking)
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Read on, as long as the head has not become too long."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.transport.close()
        # What came ended uvicorn's own wait for a next request, though it may be none: an empty
        # line, or a body that was answered before it came.
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self._deadline is None and not self.transport.is_closing():
            self._expect_head()

    def on_message_begin(self) -> None:
        """A further request on this connection; what is raised here is answered with 400."""
        if len(self.pipeline) >= MAX_WAITING:
            raise ValueError("too many requests at once")
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if head_bytes > MAX_HEAD_BYTES:  # and came in one read
            raise ValueError("too long a head")
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
        _cancel(self._deadline)
        self._deadline = None

    def _expect_taking(self) -> None:
        waiting_bytes = self.transport.get_write_buffer_size()
        self._taking = self.loop.call_later(self.send_timeout_s, self._check_taking, waiting_bytes)

    def _check_taking(self, waited_bytes: int) -> None:
        if self.transport.get_write_buffer_size() < waited_bytes:
            self._expect_taking()
        else:
            self.transport.abort()  # `close` would wait until all is taken


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
