"""Limits on request headers, and timeouts of slow clients."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from facestream.annotator.http_server import MAX_HEADER_BYTES, LimitedHttpProtocol
from facestream.annotator.service import _loop_factory
from starlette.responses import Response
from uvicorn import Config
from uvicorn.server import ServerState

PATIENCE_S = 0.3


class Http(LimitedHttpProtocol):
    send_timeout_s = PATIENCE_S


class Web:
    """A server of one response.

    Args:
        response_bytes: its size.
    """

    def __init__(self, response_bytes: int) -> None:
        response = Response(bytes(response_bytes))
        self._config = Config(response, http=Http, log_config=None, interface="asgi3")
        self._config.load()
        self._state = ServerState()

    @property
    def connections(self) -> int:
        return len(self._state.connections)

    def protocol(self) -> Http:
        return Http(self._config, self._state, {})

    @asynccontextmanager
    async def client(self, head: bytes) -> AsyncIterator[socket.socket]:
        """A connected client that has sent a request; socket buffers are small."""
        with socket.socket() as listener, socket.socket() as client:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            listener.bind(("127.0.0.1", 0))
            server = await asyncio.get_running_loop().create_server(self.protocol, sock=listener)
            async with server:
                client.connect(listener.getsockname())
                client.sendall(head)
                while not self.connections:
                    await asyncio.sleep(0.005)
                yield client

    async def wait_for_disconnect(self) -> None:
        while self.connections:
            await asyncio.sleep(0.005)


class Wire(asyncio.Transport):
    """Transport that records written bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closed = b"", False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(asyncio.wait_for(work, 10))


@pytest.mark.parametrize("size", [60_000, 4_000_000])
@pytest.mark.parametrize("then", ["close", "keep-alive"])
def test_client_that_reads_nothing_is_disconnected(size: int, then: str) -> None:
    async def go() -> None:
        web = Web(size)
        async with web.client(b"GET / HTTP/1.1\r\nConnection: %b\r\n\r\n" % then.encode()):
            await web.wait_for_disconnect()

    run(go())


def test_slow_client_gets_the_whole_response() -> None:
    async def go() -> None:
        web, size = Web(300_000), 0
        async with web.client(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n") as client:
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            while part := await loop.sock_recv(client, 20_000):
                size += len(part)
                await asyncio.sleep(0.01)
            assert size > 300_000
            assert loop.time() - began_s > 1.5 * PATIENCE_S

    run(go())


def test_headers_in_one_read_are_limited() -> None:
    async def go() -> None:
        for size, refused in ((MAX_HEADER_BYTES - 100, False), (MAX_HEADER_BYTES, True)):
            wire, protocol = Wire(), Web(0).protocol()
            protocol.connection_made(wire)
            protocol.data_received(b"GET / HTTP/1.1\r\nX: %b\r\n\r\n" % (b"y" * size))
            assert wire.written.startswith(b"HTTP/1.1 400 ") == wire.closed == refused
            protocol.connection_lost(None)

    run(go())
