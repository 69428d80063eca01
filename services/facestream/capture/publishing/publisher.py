"""The one thread that writes to the broker: frames, faces, and pictures of watched cameras.

The detector hands over frames with their tracks and face crops, readers of watched cameras hand
over pictures; both return at once. What waits is bounded: at most `MAX_WAITING` entries, and one
picture per camera, newer over older. While the broker is away everything is dropped and counted,
and the cameras run on. Faces are entered in the ledger as they are put into their stream, and so
are those that the cap pushes out, or that lie there until nobody wants them any more. A batch of
faces whose reply was lost is in doubt until the broker has said whether it took it.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import redis

from facestream.capture.faces.face_pipeline import DetectionResult
from facestream.capture.faces.pixelation import pixelate_faces
from facestream.capture.faces.yuv_frame import from_av_frame, to_jpeg
from facestream.capture.metrics import CaptureMetrics
from facestream.capture.publishing.crop_retention import CropRetention, Sweep
from facestream.capture.publishing.stream_entries import (
    FaceBatch,
    StreamEntry,
    build_entries,
    frame_message,
)
from facestream.capture.settings import CaptureSettings
from facestream.capture.sources.camera_reader import CameraReader, CapturedFrame
from facestream.common.broker import face_accounting_scripts, keys
from facestream.common.broker.connection import BROKER_ERRORS, error_text
from facestream.common.broker.messages import encode
from facestream.common.core.errors import ImageError

_log = logging.getLogger(__name__)

MAX_WAITING = 256
_RETRY_S = 0.5  # while the broker is away, do not try with every frame


class PublisherThread:
    """Writes to the broker what it is given.

    Args:
        broker: used by this thread only.
        on_broker: told after each round whether the broker took it: None, or why not.
        may_publish: whether the lease of a camera is held here; asked last before it is sent.
    """

    def __init__(
        self,
        broker: redis.Redis,
        settings: CaptureSettings,
        metrics: CaptureMetrics,
        on_broker: Callable[[str | None], None],
        may_publish: Callable[[str], bool] = lambda camera: True,
    ) -> None:
        self._broker, self._settings, self._metrics = broker, settings, metrics
        self._on_broker, self._may_publish = on_broker, may_publish
        self._changed = threading.Condition()
        self._entries: deque[StreamEntry] = deque()
        self._pictures: dict[CameraReader, tuple[CapturedFrame, DetectionResult | None]] = {}
        self._removed: set[str] = set()
        self._expiry = CropRetention()
        self._name = secrets.token_hex(6)  # in the ledger; never that of another publisher
        self._batches = 0
        self._unconfirmed: list[FaceBatch] = []
        self._ledgers: dict[str, face_accounting_scripts.AccountingSnapshot] = {}
        self._stopping = False
        self._retry_at = 0.0
        self._encode_step = metrics.stage_duration.labels("jpeg")
        self._publish_step = metrics.stage_duration.labels("publish")
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, deadline: float) -> bool:
        """Send what is waiting and end; waits until `deadline` (monotonic), says whether it did."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def publish_detection(
        self, reader: CameraReader, frame: CapturedFrame, found: DetectionResult
    ) -> None:
        """Send a detection: the frame with its tracks, and its face crops."""
        camera = reader.camera.name
        entries = build_entries(camera, frame, found, self._settings)
        with self._changed:
            if reader.is_stopped:
                for entry in entries:
                    self._count_dropped(entry, "camera_removed")
                return
            self._entries.extend(entries)
            while len(self._entries) > MAX_WAITING:
                self._count_dropped(self._entries.popleft(), "broker_unavailable")
            self._changed.notify()
        if reader.has_viewers and reader.privacy == "blur" and not found.is_still:
            self.publish_frame(reader, frame, found)

    def publish_frame(
        self, reader: CameraReader, frame: CapturedFrame, found: DetectionResult | None = None
    ) -> None:
        """Send a frame with its picture, unless a newer one comes before its turn.

        Args:
            found: what was found in this very frame; without it, faces cannot be hidden, and
                nothing is sent of a camera whose faces must be.
        """
        with self._changed:
            if self._pictures.pop(reader, None) is not None:
                self._metrics.frames_dropped.labels(reader.camera.name, "superseded").inc()
            self._pictures[reader] = (frame, found)
            self._changed.notify()

    def remove(self, camera: str) -> None:
        """Take away what the broker still holds of a camera that is no longer read."""
        with self._changed:
            for entry in self._entries:
                if entry.camera == camera:
                    self._count_dropped(entry, "camera_removed")
            self._entries = deque(e for e in self._entries if e.camera != camera)
            self._removed.add(camera)
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._entries or self._pictures or self._stopping):
                    wait_s = self._chores_in_s()
                    if wait_s is not None and wait_s <= 0:
                        break
                    self._changed.wait(wait_s)
                if self._stopping and not self._entries and not self._can_remove():
                    break
                entries, self._entries = list(self._entries), deque()
                pictures, self._pictures = self._pictures, {}
                removed, self._removed = self._removed, set()
            try:
                self._round(entries, pictures, removed)
            except Exception:
                _log.exception("publishing failed")
        for batch in self._unconfirmed:
            self._count_all_dropped(batch.faces, "broker_unavailable")

    def _chores_in_s(self) -> float | None:
        """How long until there is something to clear away in the broker; None for never."""
        due_at = -math.inf if self._removed else self._expiry.due_at
        return None if due_at is None else max(due_at, self._retry_at) - time.monotonic()

    def _can_remove(self) -> bool:
        return bool(self._removed) and time.monotonic() >= self._retry_at

    def _round(
        self,
        entries: list[StreamEntry],
        pictures: dict[CameraReader, tuple[CapturedFrame, DetectionResult | None]],
        removed: set[str],
    ) -> None:
        if time.monotonic() < self._retry_at or not self._has_no_doubt():
            self._count_all_dropped(entries, "broker_unavailable")
            for reader in pictures:
                self._metrics.frames_dropped.labels(reader.camera.name, "broker_unavailable").inc()
            self._remove_later(removed)
            return
        for reader, (frame, found) in pictures.items():
            if not reader.is_stopped:
                entries += self._picture_entries(reader, frame, found)
        now, due_at = time.monotonic(), self._expiry.due_at
        sweeps = self._expiry.sweeps(now) if due_at is not None and now >= due_at else []
        entries = self._permitted(entries)
        frames = [entry for entry in entries if entry.kind == "frame"]
        batches = self._batches_of([entry for entry in entries if entry.kind == "face"])
        began = time.perf_counter()
        with self._broker.pipeline(transaction=False) as pipe:
            # First, since what is added now is of a camera that came back.
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
                    self._ledgers.get(batch.key),
                )
            for key in {entry.key for entry in frames}:
                pipe.pexpire(key, int(keys.FRAMES_TTL_S * 1000))
            try:
                answers = pipe.execute(raise_on_error=False)
            except BROKER_ERRORS as error:
                self._count_all_dropped(frames, "broker_unavailable")
                self._unconfirmed = batches
                self._remove_later(removed)
                self._lost_the_broker(error)
                return
        self._publish_step.observe(time.perf_counter() - began)
        remaining = iter(answers[2 * len(removed) :])
        self._count_swept(sweeps, [next(remaining) for _ in sweeps])
        refusals = [self._count_frame(entry, next(remaining)) for entry in frames]
        for batch in batches:
            answer = next(remaining)
            if _is_no_answer(answer):
                self._unconfirmed.append(batch)
            else:
                refusals.append(self._count_batch(batch, answer))
        if self._unconfirmed:
            self._retry_at = time.monotonic() + _RETRY_S
        self._on_broker(next(filter(None, refusals), None))

    def _batches_of(self, faces: list[StreamEntry]) -> list[FaceBatch]:
        by_key: dict[str, list[StreamEntry]] = {}
        for face in faces:
            by_key.setdefault(face.key, []).append(face)
        batches = []
        for key, of_key in by_key.items():
            self._batches += 1
            batches.append(FaceBatch(self._batches, key, of_key))
        return batches

    def _has_no_doubt(self) -> bool:
        """Find out what became of the batches in doubt; False where the broker does not say."""
        if not self._unconfirmed:
            return True
        with self._broker.pipeline(transaction=False) as pipe:
            for batch in self._unconfirmed:
                face_accounting_scripts.abandon_batch(pipe, batch.key, self._name, batch.number)
            try:
                answers = pipe.execute()
            except BROKER_ERRORS as error:
                self._lost_the_broker(error)
                return False
        for batch, last in zip(self._unconfirmed, answers, strict=True):
            if last is None:
                self._count_all_dropped(batch.faces, "broker_unavailable")
            else:
                for face in batch.faces:
                    self._count_published(face, last)
        self._unconfirmed = []
        return True

    def _lost_the_broker(self, error: Exception) -> None:
        self._metrics.broker_errors.inc()
        self._retry_at = time.monotonic() + _RETRY_S
        self._on_broker(error_text(error))

    def _permitted(self, entries: list[StreamEntry]) -> list[StreamEntry]:
        """Those of cameras that are ours to publish; the others are counted."""
        permits = {entry.camera: self._may_publish(entry.camera) for entry in entries}
        for entry in entries:
            if not permits[entry.camera]:
                self._count_dropped(entry, "lease_lost")
        return [entry for entry in entries if permits[entry.camera]]

    def _remove_later(self, removed: set[str]) -> None:
        with self._changed:
            self._removed |= removed

    def _count_swept(self, sweeps: list[Sweep], answers: list[Any]) -> None:
        for sweep, taken in zip(sweeps, answers, strict=True):
            if isinstance(taken, int):
                self._expiry.swept(sweep)
                if taken:
                    self._metrics.faces_dropped.labels(sweep.camera, "expired").inc(taken)

    def _count_frame(self, frame: StreamEntry, answer: Any) -> str | None:
        """Count a frame that the broker took; returns why it did not, if so."""
        if isinstance(answer, Exception):
            self._metrics.broker_errors.inc()
            self._count_dropped(frame, "broker_unavailable")
            return error_text(answer)
        if keys.JPEG_FIELD in frame.fields:
            self._metrics.frames_published.labels(frame.camera).inc()
        return None

    def _count_batch(self, batch: FaceBatch, answer: Any) -> str | None:
        """The same of a batch of faces, which is taken or refused as a whole."""
        if isinstance(answer, Exception):
            self._metrics.broker_errors.inc()
            self._count_all_dropped(batch.faces, "broker_unavailable")
            return error_text(answer)
        added, self._ledgers[batch.key] = face_accounting_scripts.parse_add_reply(answer)
        for face, (entry, pushed_out) in zip(batch.faces, added, strict=True):
            self._count_published(face, entry)
            if pushed_out:
                self._metrics.faces_dropped.labels(face.camera, "overflow").inc(pushed_out)
        return None

    def _count_published(self, face: StreamEntry, entry: bytes) -> None:
        self._metrics.faces_published.labels(face.camera).inc()
        self._expiry.published(face.key, entry, face.camera, time.monotonic())

    def _picture_entries(
        self, reader: CameraReader, frame: CapturedFrame, found: DetectionResult | None
    ) -> list[StreamEntry]:
        camera = reader.camera.name
        if reader.privacy == "stats-only" or (reader.privacy == "blur" and found is None):
            return []
        began = time.perf_counter()
        try:
            picture = from_av_frame(frame.video, reader.camera.rotate)
            if reader.privacy == "blur" and found is not None:
                picture = pixelate_faces(picture, found.redaction_boxes)
            jpeg = to_jpeg(picture, self._settings.jpeg_quality)
        except (ImageError, ValueError) as error:
            self._metrics.frames_dropped.labels(camera, "unsupported_pixel_format").inc()
            _log.debug("camera %s: %s", camera, error)
            return []
        except Exception:
            # One camera's strange frame must not take the faces of all the others along.
            self._metrics.frames_dropped.labels(camera, "internal_error").inc()
            _log.exception("camera %s: its picture could not be made", camera)
            return []
        self._encode_step.observe(time.perf_counter() - began)
        tracks = reader.tracks
        faces = tracks.faces if tracks.session == frame.session else ()
        faces = faces if found is None else found.faces
        message = frame_message(camera, frame, (picture.width, picture.height), faces)
        return [StreamEntry("frame", camera, keys.frames_key(camera), encode(message, jpeg))]

    def _count_dropped(self, entry: StreamEntry, reason: str) -> None:
        counter = (
            self._metrics.faces_dropped if entry.kind == "face" else self._metrics.frames_dropped
        )
        counter.labels(entry.camera, reason).inc()

    def _count_all_dropped(self, entries: list[StreamEntry], reason: str) -> None:
        for entry in entries:
            self._count_dropped(entry, reason)


def _is_no_answer(answer: Any) -> bool:
    """Whether nobody knows what became of a batch.

    Of a node of a cluster that does not answer the others' pipeline knows nothing, and asks it once
    more on its own: the second time, a batch that it took at first is late.
    """
    return isinstance(answer, redis.ConnectionError | redis.TimeoutError) or (
        isinstance(answer, redis.ResponseError)
        and str(answer).startswith(face_accounting_scripts.LATE)
    )
