"""Every metric of every service, defined once.

Naming rule: `facestream_<service>_<what>_<unit>`, counters end in `_total`. Labels are bounded:
`camera` by the registry's limit (and removed with the camera), `reason` and `step` by the literals
below, `model` by the models folder. A service imports the class that is its own and no other.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_LATENCY_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10,
)  # fmt: skip
_BATCH_BUCKETS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 64, 128)


class ServiceMetrics:
    """Counters, gauges and histograms of one service on one registry, and its CPU and memory.

    Every metric is an attribute of a subclass, so that `forget_camera` finds it.
    """

    service = ""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        ProcessCollector(registry=registry)  # process_*; on Linux only

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(f"facestream_{self.service}_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"facestream_{self.service}_{name}", text, labels, registry=self.registry)

    def _seconds(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Histogram:
        return Histogram(
            f"facestream_{self.service}_{name}_seconds",
            text,
            labels,
            buckets=_LATENCY_BUCKETS_S,
            registry=self.registry,
        )

    def forget_camera(self, camera: str) -> None:
        """Drop all series of one camera, so that removed cameras do not accumulate."""
        for metric in vars(self).values():
            names = getattr(metric, "_labelnames", ())
            if names == ("camera",):
                remove_series(metric, (camera,))
            elif "camera" in names:
                for labels in list(getattr(metric, "_metrics", {})):
                    if labels[names.index("camera")] == camera:
                        remove_series(metric, labels)


class WorkerMetrics(ServiceMetrics):
    """Crops in, results out.

    `reason` of a dropped face: stale, corrupt, foreign, dead, broker; `fate`: see `ledger`.
    """

    service = "worker"

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.faces_received = self._counter("faces_received_total", "Faces taken from the streams")
        self.faces_processed = self._counter("faces_processed_total", "Faces answered", ("model",))
        self.faces_dropped = self._counter(
            "faces_dropped_total", "Faces not answered, by reason", ("reason",)
        )
        self.faces_reclaimed = self._counter(
            "faces_reclaimed_total", "Faces taken over from a dead worker"
        )
        self.backlog = self._gauge("backlog_faces", "Faces in the streams, waiting or in hand")
        self.oldest_pending = self._gauge(
            "oldest_pending_face_seconds", "Age of the oldest of them"
        )
        self.face_outcomes = self._gauge(
            "face_outcomes", "Faces in the broker's ledger, by what became of them", ("fate",)
        )
        self.unaccounted = self._gauge(
            "unaccounted_faces", "Published faces of which the ledger does not say what became"
        )
        self.batch_size = Histogram(
            "facestream_worker_batch_size",
            "Faces per request",
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )
        self.inference_request = self._seconds(
            "inference_request", "Time of one request to the model server", ("model",)
        )
        self.inference_request_errors = self._counter(
            "inference_request_errors_total",
            "Failed requests to the model server",
            ("model", "code"),
        )
        self.face_latency = self._seconds("face_latency", "From a face's publication to its result")
        self.broker_errors = self._counter("broker_errors_total", "Failed calls to the broker")


class ModelServerMetrics(ServiceMetrics):
    """gRPC requests in, tensors out."""

    service = "model_server"

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.requests = self._counter(
            "requests_total", "Requests by model and gRPC status", ("model", "code")
        )
        self.faces = self._counter("faces_total", "Faces inferred", ("model",))
        self.inference = self._seconds("inference", "Time of one inference", ("model",))
        self.model_version = self._gauge(
            "model_version", "Newest version that is served", ("model",)
        )
        self.load_errors = self._counter(
            "load_errors_total", "Model versions that could not be loaded", ("model",)
        )


def remove_series(metric: object, labels: tuple[str, ...]) -> None:
    """Drop one series of a metric; a series that does not exist is no error."""
    try:
        metric.remove(*labels)  # type: ignore[attr-defined]
    except KeyError:
        pass
