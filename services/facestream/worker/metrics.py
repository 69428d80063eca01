"""Prometheus metrics of the worker."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram

from facestream.common.observability.metrics import ServiceMetrics

_BATCH_BUCKETS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 64, 128)


class WorkerMetrics(ServiceMetrics):
    """Faces received and processed, requests to the model server, face accounting.

    Values of the label `reason` of dropped faces:

    - `stale`: older than `max_face_age_s`.
    - `invalid`: cannot be decoded.
    - `not_ours`: an entry that facestream did not write.
    - `dead_lettered`: delivered too often, or rejected by the model.
    - `broker_error`: Redis rejected or lost the result.

    Values of the label `outcome`: `published`, `waiting` and
    `facestream.common.broker.face_accounting.OUTCOMES`.
    """

    service = "worker"

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.faces_received = self._counter("faces_received_total", "Faces read from the streams")
        self.faces_processed = self._counter(
            "faces_processed_total", "Faces with a published result", ("model",)
        )
        self.faces_dropped = self._counter(
            "faces_dropped_total", "Faces without a result, by reason", ("reason",)
        )
        self.faces_reclaimed = self._counter(
            "faces_reclaimed_total", "Faces claimed from a dead worker"
        )
        self.backlog = self._gauge(
            "backlog_faces", "Faces in the streams, including those in flight"
        )
        self.oldest_pending = self._gauge(
            "oldest_pending_face_seconds", "Age of the oldest face in the streams"
        )
        self.face_outcomes = self._gauge(
            "face_outcomes", "Faces since the broker started, by outcome", ("outcome",)
        )
        self.unaccounted = self._gauge(
            "unaccounted_faces", "Published faces without a counted outcome"
        )
        self.batch_size = Histogram(
            "facestream_worker_batch_size",
            "Faces per request",
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )
        self.inference_request = self._seconds(
            "inference_request", "Duration of one request to the model server", ("model",)
        )
        self.inference_request_errors = self._counter(
            "inference_request_errors_total",
            "Failed requests to the model server",
            ("model", "code"),
        )
        self.face_latency = self._seconds(
            "face_latency", "Time from the publication of a face to its result"
        )
        self.broker_errors = self._counter("broker_errors_total", "Failed calls to the broker")
