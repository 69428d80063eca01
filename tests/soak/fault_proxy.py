"""A link between two parts that can be cut, held, slowed and corrupted: a proxy for TCP and Unix
sockets, in a thread of this process."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

# ok; cut: connections break and none is taken; held: nothing comes through, as when a cable is
# pulled; slow: every piece comes late; garbage: bytes are changed at random on the way.
State = Literal["ok", "cut", "held", "slow", "garbage"]
Address = tuple[str, int] | Path

SLOW_S = 0.2
_PIECE_BYTES = 64 * 1024
_POLL_S = 0.02
_ONE_IN = 400  # bytes, of garbage
_START_TIMEOUT_S = 5.0


class Link:
    """Listens at `address` and passes on to whatever `target` says at each connection.

    Args:
        listen: a Unix socket's path, or None for a free TCP port on loopback.
        target: where to; None while there is nothing.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listen: Path | None,
        target: Callable[[], Address | None],
    ) -> None:
        self.state: State = "ok"
        self._loop, self._target = loop, target
        self._chance = random.Random(0)
        self._connections: set[asyncio.Task[None]] = set()
        future = asyncio.run_coroutine_threadsafe(self._listen(listen), loop)
        self.address: Address = future.result(_START_TIMEOUT_S)

    @property
    def port(self) -> int:
        """Of a TCP link."""
        assert isinstance(self.address, tuple)
        return self.address[1]

    def become(self, state: State) -> None:
        """From now on."""
        self.state = state
        if state == "cut":
            self.hang_up()

    def hang_up(self) -> None:
        """Break the connections that there are."""
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
                group.create_task(self._carry(reader, out, may_corrupt=False))
                group.create_task(self._carry(there, writer, may_corrupt=True))
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass
        finally:
            self._connections.discard(task)
            for end in (writer, *others):
                end.transport.abort()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, may_corrupt: bool
    ) -> None:
        while piece := await reader.read(_PIECE_BYTES):
            while self.state == "held":
                await asyncio.sleep(_POLL_S)
            if self.state == "slow":
                await asyncio.sleep(SLOW_S)
            elif self.state == "garbage" and may_corrupt:
                piece = self._spoilt(piece)
            writer.write(piece)
            await writer.drain()
        raise ConnectionError("one end hung up")  # and so does the other

    def _spoilt(self, piece: bytes) -> bytes:
        spoilt = bytearray(piece)
        for _ in range(1 + len(piece) // _ONE_IN):
            spoilt[self._chance.randrange(len(spoilt))] = self._chance.randrange(256)
        return bytes(spoilt)


async def _connect(target: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(target, Path):
        return await asyncio.open_unix_connection(str(target))
    return await asyncio.open_connection(*target)


class Switchboard:
    """A thread with an event loop for links; a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)

    def __enter__(self) -> Switchboard:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_TIMEOUT_S)

    def link(self, target: Callable[[], Address | None], listen: Path | None = None) -> Link:
        """A new link, open."""
        return Link(self._loop, listen, target)
