"""What the model server counts of a request; what it answers is tested over gRPC elsewhere."""

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
    """A repository with an error of ours in it."""

    @contextmanager
    def lease(self, name: str, version: int | None) -> Iterator[Any]:
        raise ZeroDivisionError
        yield


def test_a_request_that_an_error_of_ours_ended_is_not_counted_as_answered() -> None:
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
