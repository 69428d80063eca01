"""Responses to HTTP/1.0 clients: no chunked encoding."""

from __future__ import annotations

import sys
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class UnchunkedCycle(RequestResponseCycle):
    """Response to an HTTP/1.0 client, which does not know chunked encoding.

    A response without length ends with its connection.
    """

    _is_unbounded = False

    async def send(self, message: Any) -> None:
        """Send a message of the response."""
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            if b"content-length" not in names:
                self._is_unbounded, self.keep_alive = True, False
                self.chunked_encoding, self.expected_content_length = False, sys.maxsize
        elif self._is_unbounded and not message.get("more_body", False):
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)
