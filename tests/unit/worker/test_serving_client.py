"""Responses of the model server as the worker's client reads them."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.common.broker.pb.serving import serving_pb2 as pb
from facestream.common.serving import tf_serving_wire
from facestream.worker.metrics import WorkerMetrics
from facestream.worker.serving_client import ServingClient
from prometheus_client import CollectorRegistry

FACES = np.zeros((2, 8, 8, 3), np.uint8)


def test_unknown_outputs_of_a_model_are_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    response = pb.PredictResponse()
    tf_serving_wire.fill_tensor(response.outputs["gender"], np.array([0.1, 0.9], np.float32))
    tf_serving_wire.fill_tensor(response.outputs["embedding"], np.zeros((2, 2048), np.float32))
    response.outputs["label"].dtype = pb.DT_STRING
    metrics = WorkerMetrics(CollectorRegistry())
    client = ServingClient("127.0.0.1:9", ["own"], 1.0, metrics, lambda reason: None)
    monkeypatch.setattr(client, "_call", lambda request, timeout_s: response)
    predictions = client.predict_once(FACES, 1.0)
    client.close()
    np.testing.assert_allclose(predictions.female, [0.1, 0.9])
