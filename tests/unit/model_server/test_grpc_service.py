"""Metrics of model server requests; responses are tested over gRPC in tests/integration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from facestream.common.broker.pb.serving import serving_pb2 as pb
from facestream.model_server.grpc_service import ModelService
from facestream.model_server.metrics import ModelServerMetrics
from prometheus_client import CollectorRegistry


class Broken:
    """A repository that raises an unexpected exception."""

    def labeled_version(self, name: str, label: str) -> int | None:
        return None

    @contextmanager
    def lease(self, name: str, version: int | None) -> Iterator[Any]:
        raise ZeroDivisionError
        yield


def test_an_unexpected_error_is_not_counted_as_ok() -> None:
    registry = CollectorRegistry()
    repository: Any = Broken()
    service = ModelService(
        repository, ModelServerMetrics(registry), max_batch_size=1, max_predicts=1
    )
    request = pb.PredictRequest()
    request.model_spec.name = "age_gender"
    with pytest.raises(ZeroDivisionError):
        service._predict(request, None)
    name = "facestream_model_server_requests_total"
    labels = {"model": "unknown", "code": "UNKNOWN"}
    assert registry.get_sample_value(name, labels) == 1
    assert registry.get_sample_value(name, {**labels, "code": "OK"}) is None
