"""The worker as a service: reads faces, keeps a few batches under way, looks after the group.

One thread reads and gathers batches; `in_flight` threads each take a batch through the processor;
one tells the other workers that what is in hand is not left behind; one looks after everything else
once a second. All that waits between them is bounded: while every batch is under way nobody reads,
and what goes stale in the stream is dropped when it is read.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time
from typing import Any

import numpy as np
import redis
from prometheus_client import CollectorRegistry

from facestream.common.broker.connection import BROKER_ERRORS, MAX_BLOCK_MS, connect, error_text
from facestream.common.core.errors import ModelError
from facestream.common.core.malloc_tuning import retain_large_buffers
from facestream.common.observability.health import Dependency, Health, serve_health
from facestream.common.serving.grpc_tls import client_credentials
from facestream.worker.batch_processor import BatchProcessor
from facestream.worker.batcher import Batcher
from facestream.worker.drop_counter import DropCounter
from facestream.worker.face_consumer import FaceConsumer, PendingFace, consumer_name
from facestream.worker.metrics import WorkerMetrics
from facestream.worker.result_committer import DroppedFace, FaceResult, ResultCommitter
from facestream.worker.serving_client import ServingClient
from facestream.worker.settings import WorkerSettings

log = logging.getLogger(__name__)

_BROKER, _MODEL_SERVER = "broker", "model server"
_UPKEEP_S = 1.0
_FORGET_EVERY_S = 30.0
# A model server that nobody asks anything may be gone: then it is asked for the sake of it.
_PROBE_AFTER_S = 5.0
_BROKER_PAUSE_S = 0.5
_HAND_OVER_S = 0.5
# Of a result that the broker does not take; after these the face is left to be claimed.
_SETTLE_TRIES = 4
_DRAIN_S = 8.0
# So often a face in hand is kept before it would be up for claiming.
_KEEPS_PER_IDLE = 3

Batch = list[PendingFace]


class Worker:
    """Everything of a running worker; `health_port` tells where its health is asked."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        registry = CollectorRegistry()
        self.metrics = WorkerMetrics(registry)
        self.health = Health((_BROKER, _MODEL_SERVER))
        self._broker: redis.Redis = connect(settings.broker)
        self._broker_need = Dependency(self.health, _BROKER)
        self._server_need = Dependency(self.health, _MODEL_SERVER)
        self.consumer = consumer_name()
        self._inbox = FaceConsumer(
            self._broker,
            shards=settings.face_shards,
            consumer=self.consumer,
            count=settings.max_batch_size,
            claim_min_idle_s=settings.claim_min_idle_s,
        )
        self._outbox = ResultCommitter(
            self._broker, self.consumer, self.metrics, DropCounter(self.metrics)
        )
        self._client = ServingClient(
            settings.model_server_address,
            settings.model_names,
            settings.rpc_timeout_s,
            self.metrics,
            self._server_answered,
            _credentials(settings),
        )
        self._batches: queue.Queue[Batch | None] = queue.Queue(settings.max_inflight_batches)
        self._in_flight: dict[tuple[str, bytes], float] = {}  # and since when
        self._in_hand_lock = threading.Lock()
        # Longer than anything takes: a thread that hangs must not keep its faces for ever.
        self._keep_s = settings.max_face_age_s + settings.rpc_timeout_s + _DRAIN_S
        self._asked_at = -math.inf
        self._stop = threading.Event()
        self._finished = threading.Event()
        self._http = serve_health(self.health, registry, settings.health_host, settings.health_port)
        self.health_port = self._http.server_port

    def run(self, stop: threading.Event) -> None:
        """Answer faces until `stop` is set; then finish what is in hand."""
        self._stop = stop
        threads = [
            threading.Thread(target=self._inference_loop, name=f"batch-{i}", daemon=True)
            for i in range(self._settings.max_inflight_batches)
        ]
        upkeep = threading.Thread(target=self._maintenance_loop, name="upkeep", daemon=True)
        keeper = threading.Thread(target=self._extend_claims_loop, name="keeper", daemon=True)
        for thread in [*threads, upkeep, keeper]:
            thread.start()
        self._read()
        deadline = time.monotonic() + _DRAIN_S
        for _ in threads:
            # Full where they hang at a broker that is away: they end with the process.
            with contextlib.suppress(queue.Full):
                self._batches.put(None, timeout=max(0.0, deadline - time.monotonic()))
        for thread in [*threads, upkeep]:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._finished.set()
        keeper.join(max(0.0, deadline - time.monotonic()))
        self._leave()

    def _read(self) -> None:
        """Gather batches and hand them over, until told to stop."""
        settings = self._settings
        batcher: Batcher[PendingFace] = Batcher(
            settings.max_batch_size, settings.max_batch_delay_ms / 1000
        )
        claim_at = 0.0
        while not self._stop.is_set():
            self.health.heartbeat()
            arrivals: list[PendingFace] = []
            try:
                if time.monotonic() >= claim_at:
                    claim_at = time.monotonic() + settings.claim_min_idle_s / 2
                    arrivals = self._claim()
                else:
                    arrivals = self._inbox.read(self._block_ms(batcher, claim_at))
                    self.metrics.faces_received.inc(len(arrivals))
            except BROKER_ERRORS as error:
                self._broker_failed(error)
                self._stop.wait(_BROKER_PAUSE_S)
            else:
                self._broker_need.report(None)
            self._mark_in_flight(arrivals)
            batcher.add(arrivals, time.monotonic())
            while batch := batcher.pop_batch(time.monotonic()):
                self._hand_over(batch)
        while batch := batcher.flush(time.monotonic()):
            self._hand_over(batch)

    def _claim(self) -> Batch:
        with self._in_hand_lock:
            in_hand = frozenset(self._in_flight)
        arrivals = self._inbox.claim(in_hand)
        self.metrics.faces_reclaimed.inc(len(arrivals))
        return arrivals

    def _block_ms(self, batcher: Batcher[PendingFace], claim_at: float) -> int:
        """How long the broker may keep us waiting; never 0, which means for ever."""
        now = time.monotonic()
        left_s = batcher.time_until_due_s(now)
        if left_s is None:
            left_s = max(0.0, claim_at - now)
        return max(1, min(MAX_BLOCK_MS, math.ceil(left_s * 1000)))

    def _mark_in_flight(self, arrivals: Batch) -> None:
        with self._in_hand_lock:
            self._in_flight.update(dict.fromkeys(map(_key, arrivals), time.monotonic()))

    def _release(self, arrivals: Batch) -> None:
        with self._in_hand_lock:
            for arrival in arrivals:
                self._in_flight.pop(_key(arrival), None)

    def _extend_claims_loop(self) -> None:
        """While faces are in hand, have no other worker claim them."""
        while not self._finished.wait(self._settings.claim_min_idle_s / _KEEPS_PER_IDLE):
            oldest = time.monotonic() - self._keep_s
            with self._in_hand_lock:
                kept = frozenset(key for key, since in self._in_flight.items() if since > oldest)
            try:
                self._inbox.extend_claims(kept)
            except BROKER_ERRORS as error:
                self._broker_failed(error)
            except Exception:
                log.exception("keeping %d faces failed", len(kept))

    def _hand_over(self, batch: Batch) -> None:
        deadline = math.inf
        while time.monotonic() < deadline:
            self.health.heartbeat()
            try:
                self._batches.put(batch, timeout=_HAND_OVER_S)
                return
            except queue.Full:
                if self._stop.is_set() and deadline == math.inf:
                    deadline = time.monotonic() + _DRAIN_S / 2

    def _inference_loop(self) -> None:
        """One batch after the other, until there are no more."""
        settings = self._settings
        processor = BatchProcessor(
            self._client,
            self.metrics,
            models=settings.model_names,
            max_batch_size=settings.max_batch_size,
            input_px=settings.model_input_px,
            deadline_s=settings.max_face_age_s,
            stop=self._stop,
        )
        while (batch := self._batches.get()) is not None:
            try:
                answered, dropped = processor.process(batch)
                self._settle(answered, dropped)
            except Exception:
                # These faces stay pending, are redelivered, and end as dead letters.
                log.exception("a batch of %d faces failed", len(batch))
            finally:
                self._release(batch)

    def _settle(self, answered: list[FaceResult], dropped: list[DroppedFace]) -> None:
        for attempt in range(_SETTLE_TRIES):
            try:
                if attempt:
                    answered, dropped = self._outbox.find_uncommitted(answered, dropped)
                self._outbox.settle(answered, dropped)
                return
            except BROKER_ERRORS as error:
                self._broker_failed(error)
                self._stop.wait(_BROKER_PAUSE_S)

    def _maintenance_loop(self) -> None:
        """Gauges, workers that died, a model server that was away."""
        blank = np.zeros(
            (1, self._settings.model_input_px, self._settings.model_input_px, 3), np.uint8
        )
        forget_at = 0.0
        while True:
            try:
                silent_s = time.monotonic() - self._asked_at
                if not self._server_need.is_up or silent_s >= _PROBE_AFTER_S:
                    self._probe(blank)
                stock = self._inbox.backlog()
                self.metrics.backlog.set(stock.faces)
                self.metrics.oldest_pending.set(stock.oldest_s)
                for outcome, number in stock.ledger.as_metrics().items():
                    self.metrics.face_outcomes.labels(outcome).set(number)
                self.metrics.unaccounted.set(stock.ledger.unaccounted)
                if time.monotonic() >= forget_at:
                    forget_at = time.monotonic() + _FORGET_EVERY_S
                    self._inbox.delete_idle_consumers(self._settings.consumer_expiry_s)
            except BROKER_ERRORS as error:
                self._broker_failed(error)
            except Exception:
                log.exception("looking after the streams failed")
            if self._stop.wait(_UPKEEP_S):
                return

    def _probe(self, blank: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
        try:
            self._client.predict_once(blank, self._settings.rpc_timeout_s)
        except ModelError as error:
            self._server_answered(f"{self._settings.model_server_address}: {error}")
        else:
            self._server_answered(None)

    def _server_answered(self, failure: str | None) -> None:
        self._asked_at = time.monotonic()
        self._server_need.report(failure)

    def _broker_failed(self, error: BaseException) -> None:
        self.metrics.broker_errors.inc()
        self._broker_need.report(error_text(error))

    def _leave(self) -> None:
        try:
            self._inbox.deregister()
        except BROKER_ERRORS:
            pass
        self._client.close()
        self._broker.close()
        self._http.shutdown()
        self._http.server_close()


def _key(arrival: PendingFace) -> tuple[str, bytes]:
    return arrival.stream, arrival.id


def _credentials(settings: WorkerSettings) -> Any:
    if settings.model_server_ca_file is None:
        return None
    return client_credentials(
        settings.model_server_ca_file,
        settings.model_server_cert_file,
        settings.model_server_key_file,
    )


def serve(settings: WorkerSettings, stop: threading.Event) -> None:
    """Run the worker until `stop` is set.

    Raises:
        StartError: the health port is taken.
        SettingsError: the broker's URL is not one.
    """
    retain_large_buffers()
    Worker(settings).run(stop)
