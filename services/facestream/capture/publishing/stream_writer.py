"""Write stream entries to the broker in one round trip, and account for every face.

Faces are added to their stream and to the face accounting atomically, as are faces that the
stream's cap pushes out or that expire. A batch of faces whose reply was lost is unconfirmed: before
the next write, the broker is queried whether it took the batch. So every face is counted exactly
once.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any, Literal

import redis

from facestream.capture.metrics import CaptureMetrics, FaceDropReason, FrameDropReason
from facestream.capture.publishing.crop_retention import CropRetention, Sweep
from facestream.capture.publishing.stream_entries import FaceBatch, StreamEntry
from facestream.common.broker import face_accounting_scripts, keys
from facestream.common.broker.connection import BROKER_ERRORS, error_text

_RETRY_INTERVAL_S = 0.5  # while the broker is unavailable, not every frame tries to reach it

_DropReason = Literal["broker_unavailable", "lease_lost", "camera_removed"]  # of frames and faces


class DropCounter:
    """Counts dropped entries by camera and reason, faces and frames apart. Thread-safe."""

    def __init__(self, metrics: CaptureMetrics) -> None:
        self._metrics = metrics

    def count(self, entries: Iterable[StreamEntry], reason: _DropReason) -> None:
        """Count these entries as dropped."""
        for entry in entries:
            if entry.kind == "face":
                self.count_faces(entry.camera, reason, 1)
            else:
                self.count_frame(entry.camera, reason)

    def count_faces(self, camera: str, reason: FaceDropReason, number: int) -> None:
        """Count dropped faces of one camera."""
        self._metrics.faces_dropped.labels(camera, reason).inc(number)

    def count_frame(self, camera: str, reason: FrameDropReason) -> None:
        """Count one dropped frame."""
        self._metrics.frames_dropped.labels(camera, reason).inc()


class StreamWriter:
    """Writer of the frame and face streams; for one thread.

    Args:
        broker: connection used by this writer only.
        metrics: of capture.
        on_broker_status: called after each round trip with None, or with the broker's error.
    """

    def __init__(
        self,
        broker: redis.Redis,
        metrics: CaptureMetrics,
        on_broker_status: Callable[[str | None], None],
    ) -> None:
        self._broker, self._metrics, self._on_broker_status = broker, metrics, on_broker_status
        self._drops = DropCounter(metrics)
        self._retention = CropRetention()
        self._name = secrets.token_hex(6)  # identifies this writer's batches; never used again
        self._batch_count = 0
        self._unconfirmed: list[FaceBatch] = []
        self._snapshots: dict[str, face_accounting_scripts.AccountingSnapshot] = {}  # by stream
        self._stage = metrics.stage_duration.labels("publish")
        self.retry_at = 0.0  # do not write before, monotonic

    @property
    def sweep_due_at(self) -> float | None:
        """Time at which expired faces are to be deleted, monotonic; None if there are none."""
        return self._retention.due_at

    def is_ready(self) -> bool:
        """Return whether entries can be written now; settles unconfirmed batches first."""
        return time.monotonic() >= self.retry_at and self._settle_unconfirmed()

    def write(self, entries: list[StreamEntry], removed: Collection[str]) -> bool:
        """Write entries, delete the keys of removed cameras, and sweep expired faces if due.

        Returns:
            whether the broker was reached. If not, frames are counted as dropped, and faces
            are unconfirmed.
        """
        now, due_at = time.monotonic(), self._retention.due_at
        sweeps = self._retention.start_sweeps(now) if due_at is not None and now >= due_at else []
        frames = [entry for entry in entries if entry.kind == "frame"]
        batches = self._batch_by_stream(entry for entry in entries if entry.kind == "face")
        started_at = time.perf_counter()
        with self._broker.pipeline(transaction=False) as pipe:
            # Delete first: a camera of the same name that was added again may have entries here.
            for camera in removed:
                pipe.delete(keys.frames_key(camera))
                pipe.delete(keys.status_key(camera))
            for sweep in sweeps:
                face_accounting_scripts.expire_faces(pipe, sweep.key, sweep.min_id)
            for entry in frames:
                fields: Any = entry.fields
                pipe.xadd(entry.key, fields, maxlen=keys.FRAMES_CAP, approximate=False)
            for batch in batches:
                face_accounting_scripts.add_faces(
                    pipe,
                    batch.key,
                    self._name,
                    batch.number,
                    [face.fields for face in batch.faces],
                    self._snapshots.get(batch.key),
                )
            for key in {entry.key for entry in frames}:
                pipe.pexpire(key, int(keys.FRAMES_TTL_S * 1000))
            try:
                replies = pipe.execute(raise_on_error=False)
            except BROKER_ERRORS as error:
                self._drops.count(frames, "broker_unavailable")
                self._unconfirmed = batches
                self._on_unreachable(error)
                return False
        self._stage.observe(time.perf_counter() - started_at)
        remaining = iter(replies[2 * len(removed) :])
        for sweep in sweeps:
            self._count_sweep(sweep, next(remaining))
        errors = [self._count_frame(entry, next(remaining)) for entry in frames]
        for batch in batches:
            reply = next(remaining)
            if _is_unconfirmed(reply):
                self._unconfirmed.append(batch)
            else:
                errors.append(self._count_batch(batch, reply))
        if self._unconfirmed:
            self.retry_at = time.monotonic() + _RETRY_INTERVAL_S
        self._on_broker_status(next(filter(None, errors), None))
        return True

    def drop_unconfirmed(self) -> None:
        """Count unconfirmed faces as dropped; called once, before the writer is discarded."""
        for batch in self._unconfirmed:
            self._drops.count(batch.faces, "broker_unavailable")

    def _batch_by_stream(self, faces: Iterable[StreamEntry]) -> list[FaceBatch]:
        by_stream: dict[str, list[StreamEntry]] = {}
        for face in faces:
            by_stream.setdefault(face.key, []).append(face)
        batches = []
        for key, batch_faces in by_stream.items():
            self._batch_count += 1
            batches.append(FaceBatch(self._batch_count, key, batch_faces))
        return batches

    def _settle_unconfirmed(self) -> bool:
        """Query and count the outcome of unconfirmed batches; return whether that worked."""
        if not self._unconfirmed:
            return True
        with self._broker.pipeline(transaction=False) as pipe:
            for batch in self._unconfirmed:
                face_accounting_scripts.abandon_batch(pipe, batch.key, self._name, batch.number)
            try:
                replies = pipe.execute()
            except BROKER_ERRORS as error:
                self._on_unreachable(error)
                return False
        for batch, last_entry_id in zip(self._unconfirmed, replies, strict=True):
            if last_entry_id is None:
                self._drops.count(batch.faces, "broker_unavailable")
            else:
                for face in batch.faces:
                    self._count_published(face, last_entry_id)
        self._unconfirmed = []
        return True

    def _on_unreachable(self, error: Exception) -> None:
        self._metrics.broker_errors.inc()
        self.retry_at = time.monotonic() + _RETRY_INTERVAL_S
        self._on_broker_status(error_text(error))

    def _count_sweep(self, sweep: Sweep, reply: Any) -> None:
        if isinstance(reply, int):  # else an error: the sweep is repeated
            self._retention.on_swept(sweep)
            if reply:
                self._drops.count_faces(sweep.camera, "expired", reply)

    def _count_frame(self, frame: StreamEntry, reply: Any) -> str | None:
        """Count a frame as published or dropped; return the broker's error."""
        if isinstance(reply, Exception):
            self._metrics.broker_errors.inc()
            self._drops.count([frame], "broker_unavailable")
            return error_text(reply)
        if keys.JPEG_FIELD in frame.fields:
            self._metrics.frames_published.labels(frame.camera).inc()
        return None

    def _count_batch(self, batch: FaceBatch, reply: Any) -> str | None:
        """Count a batch, which is added or refused as a whole; return the broker's error."""
        if isinstance(reply, Exception):
            self._metrics.broker_errors.inc()
            self._drops.count(batch.faces, "broker_unavailable")
            return error_text(reply)
        added, self._snapshots[batch.key] = face_accounting_scripts.parse_add_reply(reply)
        for face, (entry_id, pushed_out) in zip(batch.faces, added, strict=True):
            self._count_published(face, entry_id)
            if pushed_out:
                self._drops.count_faces(face.camera, "overflow", pushed_out)
        return None

    def _count_published(self, face: StreamEntry, entry_id: bytes) -> None:
        self._metrics.faces_published.labels(face.camera).inc()
        self._retention.on_published(face.key, entry_id, face.camera, time.monotonic())


def _is_unconfirmed(reply: Any) -> bool:
    """Return whether the reply leaves open if the broker took a batch.

    When a node of a cluster does not reply, the client's pipeline sends its commands once more. A
    batch that the node took the first time is then refused as late.
    """
    return isinstance(reply, redis.ConnectionError | redis.TimeoutError) or (
        isinstance(reply, redis.ResponseError)
        and str(reply).startswith(face_accounting_scripts.LATE)
    )
