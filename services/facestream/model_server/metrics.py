"""Prometheus metrics of the model server."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from facestream.common.observability.metrics import ServiceMetrics


class ModelServerMetrics(ServiceMetrics):
    """gRPC requests, inferences and model versions."""

    service = "model_server"

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.requests = self._counter(
            "requests_total", "Requests by model and gRPC status", ("model", "code")
        )
        self.faces = self._counter("faces_total", "Faces inferred", ("model",))
        self.inference = self._seconds("inference", "Time of one inference", ("model",))
        self.model_version = self._gauge("model_version", "Version that is served", ("model",))
        self.load_errors = self._counter(
            "load_errors_total", "Model versions that could not be loaded", ("model",)
        )
