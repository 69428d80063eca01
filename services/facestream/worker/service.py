"""The worker service: read faces, run inference in batches, publish results.

Threads: the main thread reads faces and collects batches; `max_inflight_batches` threads run
inference; one extends the claims of faces in flight; one updates gauges, probes the model server
and deletes idle consumers once per second. The queue between them is bounded: while all batches
are in flight, no faces are read. Faces that go stale in the stream are dropped when they are read.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time

import numpy as np
import redis
from prometheus_client import CollectorRegistry

from facestream.common.broker.connection import BROKER_ERRORS, MAX_BLOCK_MS, connect, error_text
from facestream.common.core.errors import ModelError
from facestream.common.core.malloc_tuning import retain_large_buffers
from facestream.common.observability.health import Dependency, Health, serve_health
from facestream.worker.batch_processor import BatchProcessor
from facestream.worker.batcher import Batcher
from facestream.worker.drop_counter import DropCounter
from facestream.worker.face_consumer import FaceConsumer, PendingFace, consumer_name
from facestream.worker.metrics import WorkerMetrics
from facestream.worker.result_committer import DroppedFace, FaceResult, ResultCommitter
from facestream.worker.serving_client import ServingClient, channel_credentials
from facestream.worker.settings import WorkerSettings

log = logging.getLogger(__name__)

_BROKER, _MODEL_SERVER = "broker", "model server"
_MAINTENANCE_INTERVAL_S = 1.0
_DELETE_CONSUMERS_INTERVAL_S = 30.0
# Without requests for this long, a test request checks that the model server is available.
_PROBE_AFTER_S = 5.0
_BROKER_RETRY_S = 0.5
_ENQUEUE_TIMEOUT_S = 0.5  # between heartbeats while the queue is full
_COMMIT_ATTEMPTS = 4  # then the faces are left pending for another worker to claim
_DRAIN_TIMEOUT_S = 8.0
_CLAIM_EXTENSIONS = 3  # per `claim_min_idle_s`


class Worker:
    """A running worker; `health_port` is the port of its health and metrics endpoints.

    Raises:
        StartError: the health port is taken.
        SettingsError: the broker's URL is invalid.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        registry = CollectorRegistry()
        self.metrics = WorkerMetrics(registry)
        self.health = Health((_BROKER, _MODEL_SERVER))
        self._broker: redis.Redis = connect(settings.broker)
        self._broker_dependency = Dependency(self.health, _BROKER)
        self._server_dependency = Dependency(self.health, _MODEL_SERVER)
        self.consumer = consumer_name()
        self._consumer = FaceConsumer(
            self._broker,
            shards=settings.face_shards,
            consumer=self.consumer,
            count=settings.max_batch_size,
            claim_min_idle_s=settings.claim_min_idle_s,
        )
        self._committer = ResultCommitter(
            self._broker, self.consumer, self.metrics, DropCounter(self.metrics)
        )
        self._client = ServingClient(
            settings.model_server_address,
            settings.model_names,
            settings.rpc_timeout_s,
            self.metrics,
            self._on_server_report,
            channel_credentials(settings),
        )
        self._batches: queue.Queue[list[PendingFace] | None] = queue.Queue(
            settings.max_inflight_batches
        )
        self._in_flight: dict[tuple[str, bytes], float] = {}  # to the time it was read
        self._in_flight_lock = threading.Lock()
        # Longer than any batch takes: a hanging thread must not keep its faces claimed.
        self._max_claim_s = settings.max_face_age_s + settings.rpc_timeout_s + _DRAIN_TIMEOUT_S
        self._last_request_at_s = -math.inf
        self._stop = threading.Event()
        self._finished = threading.Event()
        self._http = serve_health(self.health, registry, settings.health_host, settings.health_port)
        self.health_port = self._http.server_port

    def run(self, stop: threading.Event) -> None:
        """Process faces until `stop` is set; then finish the batches in flight."""
        self._stop = stop
        threads = [
            threading.Thread(target=self._inference_loop, name=f"batch-{i}", daemon=True)
            for i in range(self._settings.max_inflight_batches)
        ]
        maintenance = threading.Thread(
            target=self._maintenance_loop, name="maintenance", daemon=True
        )
        claims = threading.Thread(target=self._extend_claims_loop, name="claims", daemon=True)
        for thread in [*threads, maintenance, claims]:
            thread.start()
        self._read_loop()
        deadline = time.monotonic() + _DRAIN_TIMEOUT_S
        for _ in threads:
            # The queue is full if threads block on the broker; they end with the process.
            with contextlib.suppress(queue.Full):
                self._batches.put(None, timeout=max(0.0, deadline - time.monotonic()))
        for thread in [*threads, maintenance]:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._finished.set()
        claims.join(max(0.0, deadline - time.monotonic()))
        self._close()

    def _read_loop(self) -> None:
        """Read faces, collect batches and enqueue them, until the worker stops."""
        settings = self._settings
        batcher: Batcher[PendingFace] = Batcher(
            settings.max_batch_size, settings.max_batch_delay_ms / 1000
        )
        claim_at = 0.0
        while not self._stop.is_set():
            self.health.heartbeat()
            faces: list[PendingFace] = []
            try:
                if time.monotonic() >= claim_at:
                    claim_at = time.monotonic() + settings.claim_min_idle_s / 2
                    faces = self._claim()
                else:
                    faces = self._consumer.read(self._block_ms(batcher, claim_at))
                    self.metrics.faces_received.inc(len(faces))
            except BROKER_ERRORS as error:
                self._on_broker_error(error)
                self._stop.wait(_BROKER_RETRY_S)
            else:
                self._broker_dependency.report(None)
            self._mark_in_flight(faces)
            batcher.add(faces, time.monotonic())
            while batch := batcher.pop_batch(time.monotonic()):
                self._enqueue(batch)
        while batch := batcher.flush(time.monotonic()):
            self._enqueue(batch)

    def _claim(self) -> list[PendingFace]:
        with self._in_flight_lock:
            in_flight = frozenset(self._in_flight)
        faces = self._consumer.claim(in_flight)
        self.metrics.faces_reclaimed.inc(len(faces))
        return faces

    def _block_ms(self, batcher: Batcher[PendingFace], claim_at: float) -> int:
        """Return how long XREADGROUP may block; at least 1, because 0 means without limit."""
        now = time.monotonic()
        left_s = batcher.time_until_due_s(now)
        if left_s is None:
            left_s = max(0.0, claim_at - now)
        return max(1, min(MAX_BLOCK_MS, math.ceil(left_s * 1000)))

    def _mark_in_flight(self, faces: list[PendingFace]) -> None:
        with self._in_flight_lock:
            self._in_flight.update(dict.fromkeys(map(_key, faces), time.monotonic()))

    def _release(self, faces: list[PendingFace]) -> None:
        with self._in_flight_lock:
            for face in faces:
                self._in_flight.pop(_key(face), None)

    def _extend_claims_loop(self) -> None:
        """Extend the claims of faces in flight, so that no other worker claims them."""
        while not self._finished.wait(self._settings.claim_min_idle_s / _CLAIM_EXTENSIONS):
            oldest = time.monotonic() - self._max_claim_s
            with self._in_flight_lock:
                recent = frozenset(key for key, since in self._in_flight.items() if since > oldest)
            try:
                self._consumer.extend_claims(recent)
            except BROKER_ERRORS as error:
                self._on_broker_error(error)
            except Exception:
                log.exception("extending the claims of %d faces failed", len(recent))

    def _enqueue(self, batch: list[PendingFace]) -> None:
        deadline = math.inf
        while time.monotonic() < deadline:
            self.health.heartbeat()
            try:
                self._batches.put(batch, timeout=_ENQUEUE_TIMEOUT_S)
                return
            except queue.Full:
                if self._stop.is_set() and deadline == math.inf:
                    deadline = time.monotonic() + _DRAIN_TIMEOUT_S / 2

    def _inference_loop(self) -> None:
        """Process batches from the queue until it returns None."""
        settings = self._settings
        processor = BatchProcessor(
            self._client,
            self.metrics,
            models=settings.model_names,
            max_batch_size=settings.max_batch_size,
            input_px=settings.model_input_px,
            max_face_age_s=settings.max_face_age_s,
            stop=self._stop,
        )
        while (batch := self._batches.get()) is not None:
            try:
                results, dropped = processor.process(batch)
                self._commit(results, dropped)
            except Exception:
                # These faces stay pending, are redelivered, and become dead letters.
                log.exception("processing a batch of %d faces failed", len(batch))
            finally:
                self._release(batch)

    def _commit(self, results: list[FaceResult], dropped: list[DroppedFace]) -> None:
        for attempt in range(_COMMIT_ATTEMPTS):
            try:
                if attempt:
                    results, dropped = self._committer.find_uncommitted(results, dropped)
                self._committer.commit(results, dropped)
                return
            except BROKER_ERRORS as error:
                self._on_broker_error(error)
                self._stop.wait(_BROKER_RETRY_S)

    def _maintenance_loop(self) -> None:
        """Update gauges, probe an idle model server, delete idle consumers."""
        blank = np.zeros(
            (1, self._settings.model_input_px, self._settings.model_input_px, 3), np.uint8
        )
        delete_at_s = 0.0
        while True:
            try:
                idle_s = time.monotonic() - self._last_request_at_s
                if not self._server_dependency.is_up or idle_s >= _PROBE_AFTER_S:
                    self._probe(blank)
                backlog = self._consumer.backlog()
                self.metrics.backlog.set(backlog.faces)
                self.metrics.oldest_pending.set(backlog.oldest_s)
                for outcome, number in backlog.accounting.as_metrics().items():
                    self.metrics.face_outcomes.labels(outcome).set(number)
                self.metrics.unaccounted.set(backlog.accounting.unaccounted)
                if time.monotonic() >= delete_at_s:
                    delete_at_s = time.monotonic() + _DELETE_CONSUMERS_INTERVAL_S
                    self._consumer.delete_idle_consumers(self._settings.consumer_expiry_s)
            except BROKER_ERRORS as error:
                self._on_broker_error(error)
            except Exception:
                log.exception("maintenance of the face streams failed")
            if self._stop.wait(_MAINTENANCE_INTERVAL_S):
                return

    def _probe(self, blank: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
        try:
            self._client.predict_once(blank, self._settings.rpc_timeout_s)
        except ModelError as error:
            self._on_server_report(f"{self._settings.model_server_address}: {error}")
        else:
            self._on_server_report(None)

    def _on_server_report(self, failure: str | None) -> None:
        self._last_request_at_s = time.monotonic()
        self._server_dependency.report(failure)

    def _on_broker_error(self, error: BaseException) -> None:
        self.metrics.broker_errors.inc()
        self._broker_dependency.report(error_text(error))

    def _close(self) -> None:
        try:
            self._consumer.deregister()
        except BROKER_ERRORS:
            pass
        self._client.close()
        self._broker.close()
        self._http.shutdown()
        self._http.server_close()


def _key(face: PendingFace) -> tuple[str, bytes]:
    return face.stream, face.id


def serve(settings: WorkerSettings, stop: threading.Event) -> None:
    """Run the worker until `stop` is set.

    Raises:
        StartError: the health port is taken.
        SettingsError: the broker's URL is invalid.
    """
    retain_large_buffers()
    Worker(settings).run(stop)
