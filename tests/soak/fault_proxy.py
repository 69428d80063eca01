"""Proxy for TCP and Unix sockets that can cut, block, delay and corrupt connections.

Runs in a thread of this process.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

# cut: connections break and new ones are refused; held: no data passes, as with an unplugged
# cable; slow: every chunk is delayed; garbage: random bytes are changed.
State = Literal["ok", "cut", "held", "slow", "garbage"]
Address = tuple[str, int] | Path

SLOW_S = 0.2
_CHUNK_BYTES = 64 * 1024
_POLL_S = 0.02
_CORRUPT_ONE_IN_BYTES = 400  # bytes, of garbage
_START_TIMEOUT_S = 5.0


class Link:
    """Proxy that listens at `address` and connects to the current `target`.

    Args:
        listen: path of a Unix socket, or None for a free TCP port on loopback.
        target: returns the address to connect to, or None if it does not exist.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listen: Path | None,
        target: Callable[[], Address | None],
    ) -> None:
        self.state: State = "ok"
        self._loop, self._target = loop, target
        self._rng = random.Random(0)
        self._connections: set[asyncio.Task[None]] = set()
        future = asyncio.run_coroutine_threadsafe(self._listen(listen), loop)
        self.address: Address = future.result(_START_TIMEOUT_S)

    @property
    def port(self) -> int:
        """Port of a TCP link."""
        assert isinstance(self.address, tuple)
        return self.address[1]

    def set_state(self, state: State) -> None:
        """Set the state of all connections."""
        self.state = state
        if state == "cut":
            self.disconnect()

    def disconnect(self) -> None:
        """Close all open connections."""
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._connections])

    async def _listen(self, path: Path | None) -> Address:
        if path is not None:
            await asyncio.start_unix_server(self._serve, str(path))
            return path
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()[:2]
        return host, port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        others: list[asyncio.StreamWriter] = []
        try:
            while self.state == "held":
                await asyncio.sleep(_POLL_S)
            target = self._target()
            if self.state == "cut" or target is None:
                return
            there, out = await _connect(target)
            others.append(out)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(reader, out, may_corrupt=False))
                group.create_task(self._forward(there, writer, may_corrupt=True))
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass
        finally:
            self._connections.discard(task)
            for end in (writer, *others):
                end.transport.abort()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, may_corrupt: bool
    ) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            while self.state == "held":
                await asyncio.sleep(_POLL_S)
            if self.state == "slow":
                await asyncio.sleep(SLOW_S)
            elif self.state == "garbage" and may_corrupt:
                chunk = self._corrupt(chunk)
            writer.write(chunk)
            await writer.drain()
        raise ConnectionError("one end hung up")  # the task group then closes the other end

    def _corrupt(self, chunk: bytes) -> bytes:
        corrupted = bytearray(chunk)
        for _ in range(1 + len(chunk) // _CORRUPT_ONE_IN_BYTES):
            corrupted[self._rng.randrange(len(corrupted))] = self._rng.randrange(256)
        return bytes(corrupted)


async def _connect(target: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(target, Path):
        return await asyncio.open_unix_connection(str(target))
    return await asyncio.open_connection(*target)


class FaultProxy:
    """Thread with the event loop of all links; a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_TIMEOUT_S)

    def link(self, target: Callable[[], Address | None], listen: Path | None = None) -> Link:
        """A new link, open."""
        return Link(self._loop, listen, target)
