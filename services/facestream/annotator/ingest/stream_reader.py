"""Everything that comes in from the broker, and the little that goes back to it.

One blocking XREAD follows the frames and results of all cameras; beside it the registry is asked
twice a second which cameras there are and how they do, and told which are watched. A broker that
goes away is waited for, and results are read on from where reading ended; what was lost meanwhile,
and a corrupt entry, is counted and passed over. A broker that came back empty gives its cameras
back when capture has written them anew; until then those known stay, with their viewers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import redis
import redis.asyncio

from facestream.annotator.ingest.stream_cursor import ABSENT, Cursor, StreamState
from facestream.annotator.live_state import LiveState
from facestream.annotator.metrics import AnnotatorMetrics
from facestream.annotator.periodic import next_tick
from facestream.common.broker import keys
from facestream.common.broker.cluster import slot_groups
from facestream.common.broker.connection import BROKER_ERRORS, XreadEntry, error_text, parse_xread
from facestream.common.broker.messages import decode_frame, decode_result
from facestream.common.cameras.models import Camera, CameraStatus
from facestream.common.cameras.registry import CameraRegistry
from facestream.common.core.errors import MessageError
from facestream.common.observability.health import Dependency, Health

REFRESH_EVERY_S = 0.5
RETRY_S = 0.5
BLOCK_MS = 400  # so that a new camera is read within half a second of being known
MAX_ENTRIES = 64  # per stream and read
CHECK_EVERY_S = 10.0
DEPENDENCY = "broker"

T = TypeVar("T")


class StreamReader:
    """Reads the broker into the board.

    Args:
        reads: for the blocking reads, used by nobody else.
        calls: for everything else; called in a thread.
    """

    def __init__(
        self,
        reads: redis.asyncio.Redis,
        calls: redis.Redis,
        board: LiveState,
        metrics: AnnotatorMetrics,
        health: Health,
    ) -> None:
        self._reads = reads
        self._registry = CameraRegistry(calls)
        self._board = board
        self._metrics = metrics
        self._health = health
        self._need = Dependency(health, DEPENDENCY)
        self._refreshing = asyncio.Lock()
        self._changing = asyncio.Lock()
        self._boot: bytes | None = None
        self._awaits_cameras = False
        self._names: dict[bytes, str] = {}  # of both kinds of streams -> camera
        self._frames_at: dict[bytes, bytes] = {}  # stream -> id of the last entry read
        self._frames_heard: set[bytes] = set()  # since the last check
        self._results_at: dict[bytes, Cursor] = {}
        self._unchecked: set[bytes] = set()  # streams of results
        self._check_at_s = float("-inf")
        self._waiting: dict[tuple[bytes, ...], asyncio.Future[list[Any]]] = {}  # reads under way

    @property
    def is_recovering(self) -> bool:
        """The broker came back empty and capture has not put its cameras back yet."""
        return self._awaits_cameras

    async def run(self) -> None:
        """Read frames and results for ever."""
        try:
            while True:
                self._health.heartbeat()
                self._choose_streams()
                try:
                    await self._read_once()
                except BROKER_ERRORS as error:
                    self._on_broker_error(error)
                    self._frames_at.clear()  # a frame is of its moment, a result is not
                    self._check_at_s = float("-inf")
                    await asyncio.sleep(RETRY_S)
        finally:
            for read in self._waiting.values():
                read.cancel()

    async def refresh_loop(self) -> None:
        """Ask for the cameras and renew what is watched, for ever; at once when a viewer comes."""
        first_viewer, loop = self._board.studio.first_viewer, asyncio.get_running_loop()
        while True:
            first_viewer.clear()
            await self.refresh()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_tick(loop.time(), REFRESH_EVERY_S)):
                    await first_viewer.wait()

    async def refresh(self) -> None:
        """Ask the broker for the cameras now."""
        async with self._refreshing:  # an older answer must not overwrite a newer one
            watched, known = self._board.studio.watched(), self._board.cameras()
            try:
                cameras, statuses = await asyncio.to_thread(self._ask, watched, known)
            except BROKER_ERRORS as error:
                self._on_broker_error(error)
                return
            self._need.report(None)
            self._board.set_cameras(cameras, statuses)

    async def update_registry(self, work: Callable[[CameraRegistry], T]) -> T:
        """Change the registry and see the change at once; raises `BROKER_ERRORS`.

        One after the other: what `work` reads there still holds when it writes.
        """
        async with self._changing:
            answer = await asyncio.to_thread(work, self._registry)
        await self.refresh()
        return answer

    def _ask(
        self, watched: Sequence[str], known: dict[str, Camera]
    ) -> tuple[dict[str, Camera], list[CameraStatus]]:
        for name in watched:
            self._registry.mark_watched(name)
        survey = self._registry.snapshot(list(known))
        cameras, boot = survey.cameras, survey.epoch
        is_whole = boot == survey.epoch_after and (boot is not None or self._boot is None)
        if is_whole:
            self._boot = boot
        else:
            cameras = known | cameras
        self._awaits_cameras = not is_whole
        new = cameras.keys() - known.keys()
        return cameras, survey.statuses + (self._registry.statuses(new) if new else [])

    def _choose_streams(self) -> None:
        frames = {keys.frames_key(name).encode(): name for name in self._board.names()}
        results = {keys.results_key(name).encode(): name for name in self._board.names()}
        self._names = frames | results
        for gone in self._frames_at.keys() - frames.keys():
            del self._frames_at[gone]
        for gone in self._results_at.keys() - results.keys():
            del self._results_at[gone]

    async def _read_once(self) -> None:
        names = self._board.names()
        if not names:
            await asyncio.sleep(RETRY_S / 5)
            return
        if time.monotonic() >= self._check_at_s:
            self._check_at_s = time.monotonic() + CHECK_EVERY_S
            self._recheck_positions()
        await self._place_frames([keys.frames_key(name).encode() for name in names])
        await self._check_results([keys.results_key(name).encode() for name in names])
        places = self._frames_at | {key: cursor.at for key, cursor in self._results_at.items()}
        groups = [
            {key: places[key] for key in group} for group in slot_groups(self._reads, list(places))
        ]
        answers = await (self._wait(groups[0]) if len(groups) == 1 else self._wait_at_each(groups))
        for answer in answers:
            for key, entries in parse_xread(answer):
                if key in self._names:  # its camera may have gone while it was read
                    self._take(key, entries)

    async def _wait(self, places: dict[bytes, bytes]) -> list[Any]:
        wanted: Any = places
        return [await self._reads.xread(wanted, count=MAX_ENTRIES, block=BLOCK_MS)]

    async def _wait_at_each(self, groups: Sequence[dict[bytes, bytes]]) -> list[Any]:
        """In a cluster no read waits for streams of several slots: one waits at each.

        Those that are still waiting at the end are looked at the next time.
        """
        for places in groups:
            if tuple(places) not in self._waiting:
                self._waiting[tuple(places)] = asyncio.ensure_future(self._wait(places))
        await asyncio.wait(self._waiting.values(), return_when=asyncio.FIRST_COMPLETED)
        answers: list[Any] = []
        failure: Exception | None = None
        for group in [group for group, read in self._waiting.items() if read.done()]:
            try:
                answers += self._waiting.pop(group).result()
            except BROKER_ERRORS as error:
                failure = error
        if failure is not None and not any(answers):
            raise failure
        return answers

    def _recheck_positions(self) -> None:
        """Take it that the places known may be wrong.

        Entries may have been trimmed unread, and a stream that lapsed may have begun anew, with
        lower ids if a clock was set back.
        """
        for silent in self._frames_at.keys() - self._frames_heard:
            del self._frames_at[silent]
        self._frames_heard.clear()
        self._unchecked = set(self._results_at)

    async def _place_frames(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            if key not in self._frames_at:
                self._frames_at[key] = await self._newest(key)

    async def _newest(self, key: bytes) -> bytes:
        """Where to read on from: what `$` means, but held fast between two reads."""
        newest: Any = await self._reads.xrevrange(key, count=1)
        return newest[0][0] if newest else b"0-0"

    async def _check_results(self, keys: Iterable[bytes]) -> None:
        """Find the place to begin in new keys, and what was lost of the unchecked ones."""
        keys = [key for key in keys if key in self._unchecked or key not in self._results_at]
        for key, state in zip(keys, await self._states(keys), strict=True):
            cursor = self._results_at.get(key)
            if cursor is None:
                self._results_at[key] = Cursor(state)
                continue
            lost = cursor.reconcile(state)
            if lost:
                self._metrics.results_dropped.labels("trimmed").inc(lost)
        self._unchecked.clear()

    async def _states(self, keys: Sequence[bytes]) -> list[StreamState]:
        if not keys:
            return []
        async with self._reads.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.xinfo_stream(key)
            answers = await pipe.execute(raise_on_error=False)
        return [_state(answer) for answer in answers]

    def _take(self, key: bytes, entries: Sequence[XreadEntry]) -> None:
        name, cursor = self._names[key], self._results_at.get(key)
        for entry_id, fields in entries:
            if cursor is not None:
                cursor.advance(entry_id)
            else:
                self._frames_at[key] = entry_id
                self._frames_heard.add(key)
            if fields is None:  # trimmed while it was being read
                continue
            if cursor is not None:
                self._result(name, fields)
            else:
                self._frame(name, fields)

    def _frame(self, name: str, fields: dict[bytes, bytes]) -> None:
        try:
            frame, jpeg = decode_frame(fields)
        except MessageError as error:
            self._metrics.frames_dropped.labels(name, "invalid").inc()
            logging.debug("%s: a frame was passed over: %s", name, error)
            return
        if frame.camera != name:
            self._metrics.frames_dropped.labels(name, "wrong_camera").inc()
            return
        self._board.on_frame(name, frame, jpeg)

    def _result(self, name: str, fields: dict[bytes, bytes]) -> None:
        try:
            result = decode_result(fields)
            if result.camera != name:
                self._metrics.results_dropped.labels("wrong_camera").inc()
                return
            self._board.on_result(name, result)
        except MessageError as error:
            self._metrics.results_dropped.labels("invalid").inc()
            logging.debug("%s: a result was passed over: %s", name, error)

    def _on_broker_error(self, error: Exception) -> None:
        self._metrics.broker_errors.inc()
        reason = error_text(error)
        self._need.report(reason)
        self._board.on_broker_lost(reason)


def _state(answer: Any) -> StreamState:
    if isinstance(answer, redis.ResponseError) and "no such key" in str(answer):
        return ABSENT
    if isinstance(answer, Exception):
        raise answer
    return StreamState.parse(answer)
