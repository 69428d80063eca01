"""Everything that comes in from the broker, and the little that goes back to it.

One blocking XREAD follows the frames and results of all cameras; beside it the registry is asked
twice a second which cameras there are and how they do, and told which are watched. A broker that
goes away is waited for; a corrupt entry is counted and passed over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis
import redis.asyncio

from services.annotator.board import Board
from services.common import streams
from services.common.broker import BROKER_ERRORS, explain
from services.common.cameras import CameraRegistry
from services.common.errors import MessageError
from services.common.health import Health
from services.common.messages import decode_frame, decode_result
from services.common.metrics import AnnotatorMetrics

REFRESH_EVERY_S = 0.5
RETRY_S = 0.5
BLOCK_MS = 400  # so that a new camera is read within half a second of being known
MAX_ENTRIES = 64  # per stream and read
NEED = "broker"

T = TypeVar("T")
Entry = tuple[bytes, dict[bytes, bytes] | None]


class Intake:
    """Reads the broker into the board.

    Args:
        client: for the blocking reads, used by nobody else.
        registry: cameras in the broker; called in a thread.
    """

    def __init__(
        self,
        client: redis.asyncio.Redis,
        registry: CameraRegistry,
        board: Board,
        metrics: AnnotatorMetrics,
        health: Health,
    ) -> None:
        self._client = client
        self._registry = registry
        self._board = board
        self._metrics = metrics
        self._health = health
        self._cursors: dict[bytes, bytes] = {}  # stream -> id of the last entry read
        self._sources: dict[bytes, tuple[str, Callable[[str, dict[bytes, bytes]], None]]] = {}

    async def follow(self) -> None:
        """Read frames and results for ever."""
        while True:
            self._health.beat()
            self._choose_streams()
            try:
                await self._read_once()
            except BROKER_ERRORS as error:
                self._lost(error)
                self._cursors.clear()  # a broker that comes back may number its entries anew
                await asyncio.sleep(RETRY_S)

    async def keep_fresh(self) -> None:
        """Ask for the cameras and renew what is watched, for ever; at once when a viewer comes."""
        first_viewer = self._board.studio.first_viewer
        while True:
            first_viewer.clear()
            await self.refresh()
            try:
                async with asyncio.timeout(REFRESH_EVERY_S):
                    await first_viewer.wait()
            except TimeoutError:
                pass

    async def refresh(self) -> None:
        """Ask the broker for the cameras now."""
        watched = self._board.studio.watched()

        def ask() -> tuple[Any, Any]:
            for name in watched:
                self._registry.watch(name)
            return self._registry.cameras(), self._registry.statuses()

        try:
            cameras, statuses = await asyncio.to_thread(ask)
        except BROKER_ERRORS as error:
            self._lost(error)
            return
        if self._health.present(NEED):
            logging.info("broker reached")
        self._board.set_cameras(cameras, statuses)

    async def change(self, work: Callable[[CameraRegistry], T]) -> T:
        """Change the registry and see the change at once; raises `BROKER_ERRORS`."""
        answer = await asyncio.to_thread(work, self._registry)
        await self.refresh()
        return answer

    def _choose_streams(self) -> None:
        wanted: dict[bytes, tuple[str, Callable[[str, dict[bytes, bytes]], None]]] = {}
        for name in self._board.names():
            wanted[streams.results_key(name).encode()] = (name, self._result)
            wanted[streams.frames_key(name).encode()] = (name, self._frame)
        for gone in self._cursors.keys() - wanted.keys():
            del self._cursors[gone]
        self._sources = wanted

    async def _read_once(self) -> None:
        if not self._sources:
            await asyncio.sleep(RETRY_S / 5)
            return
        for key in self._sources.keys() - self._cursors.keys():
            self._cursors[key] = await self._newest(key)
        answer = await self._client.xread(
            dict(self._cursors),  # type: ignore[arg-type]
            count=MAX_ENTRIES,
            block=BLOCK_MS,
        )
        for key, entries in _by_stream(answer):
            self._take(key, entries)

    async def _newest(self, key: bytes) -> bytes:
        """Where to read on from: what `$` means, but held fast between two reads."""
        newest: Any = await self._client.xrevrange(key, count=1)
        return newest[0][0] if newest else b"0-0"

    def _take(self, key: bytes, entries: Sequence[Entry]) -> None:
        name, read = self._sources[key]
        for entry_id, fields in entries:
            self._cursors[key] = entry_id
            if fields is None:  # trimmed while it was being read
                continue
            read(name, fields)

    def _frame(self, name: str, fields: dict[bytes, bytes]) -> None:
        try:
            frame, jpeg = decode_frame(fields)
        except MessageError as error:
            self._metrics.frames_dropped.labels(name, "corrupt").inc()
            logging.debug("%s: a frame was passed over: %s", name, error)
            return
        if frame.camera != name:
            self._metrics.frames_dropped.labels(name, "foreign").inc()
            return
        self._board.see(name, frame, jpeg)

    def _result(self, name: str, fields: dict[bytes, bytes]) -> None:
        try:
            result = decode_result(fields)
            if result.camera != name:
                self._metrics.results_dropped.labels("foreign").inc()
                return
            self._board.answer(name, result)
        except MessageError as error:
            self._metrics.results_dropped.labels("corrupt").inc()
            logging.debug("%s: a result was passed over: %s", name, error)

    def _lost(self, error: Exception) -> None:
        self._metrics.broker_errors.inc()
        reason = explain(error)
        if self._health.missing(NEED, reason) or self._board.broker_missing == "not reached yet":
            logging.warning("broker away, waiting for it: %s", reason)
        self._board.broker_away(reason)


def _by_stream(answer: Any) -> list[tuple[bytes, Sequence[Entry]]]:
    """The answer of XREAD, which RESP2 gives as a list and RESP3 as a map."""
    if not answer:
        return []
    if isinstance(answer, dict):
        return [(key, entries) for key, batches in answer.items() for entries in batches]
    return [(key, entries) for key, entries in answer]
