"""Read frames and results of all cameras from Redis streams, and refresh the camera registry.

One blocking XREAD follows the streams of all cameras. Twice per second the registry is read for
cameras and statuses, and the watched cameras are marked in it. While the broker is unavailable, the
reader retries; results continue after the last one read. Trimmed and invalid entries are counted
and skipped. If the broker restarts empty, the known cameras and their viewers stay until capture
has restored the registry.
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

from facestream.annotator.ingest.stream_cursor import Cursor, StreamState, parse_stream_state
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

REFRESH_INTERVAL_S = 0.5
RETRY_DELAY_S = 0.5
BLOCK_MS = 400  # a new camera is read within half a second
MAX_ENTRIES = 64  # per stream and read
RECHECK_INTERVAL_S = 10.0
DEPENDENCY = "broker"

T = TypeVar("T")


class StreamReader:
    """Reads the broker into the live state.

    Args:
        blocking_broker: for the blocking reads only.
        broker: for all other calls, which run in a thread.
    """

    def __init__(
        self,
        blocking_broker: redis.asyncio.Redis,
        broker: redis.Redis,
        live_state: LiveState,
        metrics: AnnotatorMetrics,
        health: Health,
    ) -> None:
        self._blocking_broker = blocking_broker
        self._registry = CameraRegistry(broker)
        self._live_state = live_state
        self._metrics = metrics
        self._health = health
        self._dependency = Dependency(health, DEPENDENCY)
        self._refresh_lock = asyncio.Lock()
        self._update_lock = asyncio.Lock()
        self._epoch: bytes | None = None
        self._is_recovering = False
        self._names: dict[bytes, str] = {}  # frame and result stream -> camera
        self._frame_positions: dict[bytes, bytes] = {}  # stream -> id of the last entry read
        self._active_frame_streams: set[bytes] = set()  # since the last recheck
        self._result_cursors: dict[bytes, Cursor] = {}
        self._unchecked: set[bytes] = set()  # result streams
        self._recheck_at_s = float("-inf")
        self._reads: dict[
            tuple[bytes, ...], asyncio.Future[list[Any]]
        ] = {}  # pending, in a cluster

    @property
    def is_recovering(self) -> bool:
        """Whether the broker restarted empty and capture has not restored the registry yet."""
        return self._is_recovering

    async def run(self) -> None:
        """Read frames and results until canceled."""
        try:
            while True:
                self._health.heartbeat()
                self._select_streams()
                try:
                    await self._read_once()
                except BROKER_ERRORS as error:
                    self._on_broker_error(error)
                    # After an outage old frames are useless; results are still worth reading.
                    self._frame_positions.clear()
                    self._recheck_at_s = float("-inf")
                    await asyncio.sleep(RETRY_DELAY_S)
        finally:
            for read in self._reads.values():
                read.cancel()

    async def refresh_loop(self) -> None:
        """Refresh the registry until canceled: periodically, and at once for a first viewer."""
        first_viewer, loop = self._live_state.mjpeg_hub.first_viewer, asyncio.get_running_loop()
        while True:
            first_viewer.clear()
            await self.refresh()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_tick(loop.time(), REFRESH_INTERVAL_S)):
                    await first_viewer.wait()

    async def refresh(self) -> None:
        """Read cameras and statuses from the registry, and mark the watched cameras."""
        async with self._refresh_lock:  # an older reply must not overwrite a newer one
            watched, known = self._live_state.mjpeg_hub.watched(), self._live_state.cameras()
            try:
                cameras, statuses = await asyncio.to_thread(self._read_registry, watched, known)
            except BROKER_ERRORS as error:
                self._on_broker_error(error)
                return
            self._dependency.report(None)
            self._live_state.set_cameras(cameras, statuses)

    async def update_registry(self, change: Callable[[CameraRegistry], T]) -> T:
        """Change the registry and apply the change to the live state.

        Changes run one after the other: what `change` reads still holds when it writes.

        Raises:
            BROKER_ERRORS: the broker is unavailable.
        """
        async with self._update_lock:
            result = await asyncio.to_thread(change, self._registry)
        await self.refresh()
        return result

    def _read_registry(
        self, watched: Sequence[str], known: dict[str, Camera]
    ) -> tuple[dict[str, Camera], list[CameraStatus]]:
        for name in watched:
            self._registry.mark_watched(name)
        snapshot = self._registry.snapshot(list(known))
        cameras, epoch = snapshot.cameras, snapshot.epoch
        is_complete = epoch == snapshot.epoch_after and (epoch is not None or self._epoch is None)
        if is_complete:
            self._epoch = epoch
        else:
            cameras = known | cameras
        self._is_recovering = not is_complete
        new = cameras.keys() - known.keys()
        return cameras, snapshot.statuses + (self._registry.statuses(new) if new else [])

    def _select_streams(self) -> None:
        names = self._live_state.names()
        frames = {keys.frames_key(name).encode(): name for name in names}
        results = {keys.results_key(name).encode(): name for name in names}
        self._names = frames | results
        for removed in self._frame_positions.keys() - frames.keys():
            del self._frame_positions[removed]
        for removed in self._result_cursors.keys() - results.keys():
            del self._result_cursors[removed]

    async def _read_once(self) -> None:
        names = self._live_state.names()
        if not names:
            await asyncio.sleep(RETRY_DELAY_S / 5)
            return
        if time.monotonic() >= self._recheck_at_s:
            self._recheck_at_s = time.monotonic() + RECHECK_INTERVAL_S
            self._recheck_positions()
        await self._locate_frames([keys.frames_key(name).encode() for name in names])
        await self._locate_results([keys.results_key(name).encode() for name in names])
        positions = self._frame_positions | {
            key: cursor.position for key, cursor in self._result_cursors.items()
        }
        groups = [
            {key: positions[key] for key in group}
            for group in slot_groups(self._blocking_broker, list(positions))
        ]
        replies = await (self._read(groups[0]) if len(groups) == 1 else self._read_any(groups))
        for reply in replies:
            for key, entries in parse_xread(reply):
                if key in self._names:  # the camera may have been removed during the read
                    self._dispatch(key, entries)

    async def _read(self, positions: dict[bytes, bytes]) -> list[Any]:
        streams: Any = positions
        return [await self._blocking_broker.xread(streams, count=MAX_ENTRIES, block=BLOCK_MS)]

    async def _read_any(self, groups: Sequence[dict[bytes, bytes]]) -> list[Any]:
        """Read in a cluster, where one XREAD cannot span several slots: one read per slot.

        Returns at the first reply. Reads that are still blocked stay pending for the next call.
        """
        for positions in groups:
            if tuple(positions) not in self._reads:
                self._reads[tuple(positions)] = asyncio.ensure_future(self._read(positions))
        await asyncio.wait(self._reads.values(), return_when=asyncio.FIRST_COMPLETED)
        replies: list[Any] = []
        failure: Exception | None = None
        for group in [group for group, read in self._reads.items() if read.done()]:
            try:
                replies += self._reads.pop(group).result()
            except BROKER_ERRORS as error:
                failure = error
        if failure is not None and not any(replies):
            raise failure
        return replies

    def _recheck_positions(self) -> None:
        """Mark positions for a check against the broker.

        Entries may have been trimmed unread. An expired stream may have been recreated, with lower
        ids if a clock was set back.
        """
        for idle in self._frame_positions.keys() - self._active_frame_streams:
            del self._frame_positions[idle]
        self._active_frame_streams.clear()
        self._unchecked = set(self._result_cursors)

    async def _locate_frames(self, streams: Iterable[bytes]) -> None:
        for key in streams:
            if key not in self._frame_positions:
                self._frame_positions[key] = await self._newest_id(key)

    async def _newest_id(self, key: bytes) -> bytes:
        """Return the id of the newest entry: `$` would skip entries added between two reads."""
        newest: Any = await self._blocking_broker.xrevrange(key, count=1)
        return newest[0][0] if newest else b"0-0"

    async def _locate_results(self, streams: Iterable[bytes]) -> None:
        """Place cursors in new streams, and count what was trimmed from unchecked ones."""
        unchecked = [
            key for key in streams if key in self._unchecked or key not in self._result_cursors
        ]
        for key, state in zip(unchecked, await self._stream_states(unchecked), strict=True):
            cursor = self._result_cursors.get(key)
            if cursor is None:
                self._result_cursors[key] = Cursor(state)
                continue
            lost = cursor.reconcile(state)
            if lost:
                self._metrics.results_dropped.labels("trimmed").inc(lost)
        self._unchecked.clear()

    async def _stream_states(self, streams: Sequence[bytes]) -> list[StreamState]:
        if not streams:
            return []
        async with self._blocking_broker.pipeline(transaction=False) as pipe:
            for key in streams:
                pipe.xinfo_stream(key)
            replies = await pipe.execute(raise_on_error=False)
        return [parse_stream_state(reply) for reply in replies]

    def _dispatch(self, key: bytes, entries: Sequence[XreadEntry]) -> None:
        name, cursor = self._names[key], self._result_cursors.get(key)
        for entry_id, fields in entries:
            if cursor is not None:
                cursor.advance(entry_id)
            else:
                self._frame_positions[key] = entry_id
                self._active_frame_streams.add(key)
            if fields is None:  # trimmed during the read
                continue
            if cursor is not None:
                self._on_result(name, fields)
            else:
                self._on_frame(name, fields)

    def _on_frame(self, name: str, fields: dict[bytes, bytes]) -> None:
        try:
            frame, jpeg = decode_frame(fields)
        except MessageError as error:
            self._metrics.frames_dropped.labels(name, "invalid").inc()
            logging.debug("invalid frame skipped: camera=%s: %s", name, error)
            return
        if frame.camera != name:
            self._metrics.frames_dropped.labels(name, "wrong_camera").inc()
            return
        self._live_state.on_frame(name, frame, jpeg)

    def _on_result(self, name: str, fields: dict[bytes, bytes]) -> None:
        try:
            result = decode_result(fields)
            if result.camera != name:
                self._metrics.results_dropped.labels("wrong_camera").inc()
                return
            self._live_state.on_result(name, result)
        except MessageError as error:
            self._metrics.results_dropped.labels("invalid").inc()
            logging.debug("invalid result skipped: camera=%s: %s", name, error)

    def _on_broker_error(self, error: Exception) -> None:
        self._metrics.broker_errors.inc()
        reason = error_text(error)
        self._dependency.report(reason)
        self._live_state.on_broker_lost(reason)
