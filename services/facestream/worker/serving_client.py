"""Client of the model server: send a batch of faces, get one prediction per face.

Speaks TensorFlow Serving's `Predict` over gRPC without TensorFlow. Each request has a timeout.
Transient errors are retried with exponential backoff until the batch is stale. With several models,
the batch is sent to all of them at once and their outputs are merged.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from facestream.common.broker.messages import MAX_AGE_BINS
from facestream.common.broker.pb.serving import serving_pb2 as pb
from facestream.common.core.errors import ModelError
from facestream.common.serving import tf_serving_wire
from facestream.common.serving.grpc_tls import client_credentials
from facestream.worker.metrics import WorkerMetrics
from facestream.worker.settings import WorkerSettings

INPUT = "faces"
_AGE, _AGE_STD, _GENDER, _DISTRIBUTION = "age", "age_std", "gender", "age_distribution"
_KNOWN_OUTPUTS = frozenset({_AGE, _AGE_STD, _GENDER, _DISTRIBUTION})

# Errors of the request itself, which a retry cannot fix.
_PERMANENT_ERRORS = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.OUT_OF_RANGE,
    }
)
_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 0.05, 0.5
_CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", tf_serving_wire.MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", tf_serving_wire.MAX_MESSAGE_BYTES),
    # gRPC's default backoff grows to two minutes, far beyond the age limit of a face.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.lb_policy_name", "round_robin"),
    # Without keepalive, a connection to a dead host lasts 15 minutes. With keepalive, the kernel
    # closes it when data is unacknowledged for the keepalive timeout (TCP_USER_TIMEOUT). Servers
    # disconnect clients that ping more often than every five minutes.
    ("grpc.keepalive_time_ms", 360_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]


class ModelServerUnavailableError(ModelError):
    """The model server did not respond in time; a retry may succeed."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Outputs of the models for a batch of n faces.

    has_age: whether there is an age head. age, age_std: float32 `[n]`, years; NaN without one.
    female: float32 `[n]`, probability; NaN without a gender head. age_distribution: float32
    `[n, bins]`, or None without one.
    """

    has_age: bool
    age: NDArray[np.float32]
    age_std: NDArray[np.float32]
    female: NDArray[np.float32]
    age_distribution: NDArray[np.float32] | None
    version: int


class ServingClient:
    """gRPC client of the model server. Thread-safe; reconnects automatically.

    Args:
        target: HOST:PORT.
        models: names of the models, whose outputs are merged.
        timeout_s: timeout of one request.
        metrics: the worker's metrics.
        report: called after each request with its error, or None on success.
        credentials: gRPC credentials for TLS; None without TLS.
    """

    def __init__(
        self,
        target: str,
        models: Sequence[str],
        timeout_s: float,
        metrics: WorkerMetrics,
        report: Callable[[str | None], None],
        credentials: Any = None,
    ) -> None:
        self._models, self._timeout_s = tuple(models), timeout_s
        self._metrics, self._report = metrics, report
        self._channel = (
            grpc.insecure_channel(target, options=_CHANNEL_OPTIONS)
            if credentials is None
            else grpc.secure_channel(target, credentials, options=_CHANNEL_OPTIONS)
        )
        self._call = self._channel.unary_unary(
            tf_serving_wire.PREDICT,
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=pb.PredictResponse.FromString,
        )

    def close(self) -> None:
        """Close the connection; requests in flight fail."""
        self._channel.close()

    def predict_with_retry(
        self, faces: NDArray[np.uint8], until_s: float, stop: threading.Event
    ) -> Predictions:
        """Send a batch; retry transient errors.

        Args:
            faces: uint8 `[n, side, side, 3]` RGB.
            until_s: reading of `time.monotonic` after which there is no retry.
            stop: ends the retries.

        Raises:
            ModelServerUnavailableError: no response by then.
            ModelError: the request was rejected, or the response is invalid.
        """
        backoff_s = _FIRST_BACKOFF_S
        while True:
            try:
                # The full timeout, even if the batch is late: under overload every batch is, and a
                # shorter timeout would discard work that the model server has started.
                predictions = self.predict_once(faces, self._timeout_s)
            except ModelError as error:
                self._report(str(error))
                if not isinstance(error, ModelServerUnavailableError):
                    raise
                jitter = random.uniform(0.5, 1.0)  # noqa: S311
                backoff_s = min(_MAX_BACKOFF_S, backoff_s * 2) * jitter
                if time.monotonic() + backoff_s >= until_s or stop.wait(backoff_s):
                    raise
            else:
                self._report(None)
                return predictions

    def predict_once(self, faces: NDArray[np.uint8], timeout_s: float) -> Predictions:
        """Send a batch to each model once.

        Raises:
            ModelServerUnavailableError: no response in time.
            ModelError: the request was rejected, or the response is invalid.
        """
        started = time.perf_counter()
        requests = [_request(model, faces) for model in self._models]
        futures = [self._call.future(request, timeout_s) for request in requests[1:]]
        outputs: dict[str, NDArray[Any]] = {}
        versions = []
        for i, (model, request) in enumerate(zip(self._models, requests, strict=True)):
            try:
                response = self._call(request, timeout_s) if i == 0 else futures[i - 1].result()
            except grpc.RpcError as error:
                for future in futures:
                    future.cancel()
                raise self._failure(model, error) from None
            self._metrics.inference_request.labels(model=model).observe(
                time.perf_counter() - started
            )
            for name in _KNOWN_OUTPUTS.intersection(response.outputs):  # ignore other outputs
                outputs[name] = tf_serving_wire.to_array(
                    response.outputs[name], max_elements=len(faces) * MAX_AGE_BINS
                )
            versions.append(response.model_spec.version.value)
        return _merge_outputs(outputs, len(faces), versions[0])

    def _failure(self, model: str, error: Any) -> ModelError:
        code, text = error.code(), " ".join(str(error.details()).split())
        self._metrics.inference_request_errors.labels(model=model, code=code.name).inc()
        error_class = ModelError if code in _PERMANENT_ERRORS else ModelServerUnavailableError
        return error_class(f"model {model}: {code.name}: {text}")


def channel_credentials(settings: WorkerSettings) -> Any:
    """Return gRPC credentials for TLS to the model server; None without a CA file."""
    if settings.model_server_ca_file is None:
        return None
    return client_credentials(
        settings.model_server_ca_file,
        settings.model_server_cert_file,
        settings.model_server_key_file,
    )


def _request(model: str, faces: NDArray[np.uint8]) -> pb.PredictRequest:
    request = pb.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = tf_serving_wire.DEFAULT_SIGNATURE
    tf_serving_wire.fill_tensor(request.inputs[INPUT], faces)
    return request


def _merge_outputs(outputs: dict[str, NDArray[Any]], faces: int, version: int) -> Predictions:
    if _AGE not in outputs and _GENDER not in outputs:
        raise ModelError(f"the models have neither output {_AGE!r} nor {_GENDER!r}")
    if _AGE in outputs and _AGE_STD not in outputs:
        raise ModelError(f"the models have no output {_AGE_STD!r}")
    unknown = np.full(faces, np.nan, np.float32)
    has_age = _AGE in outputs
    return Predictions(
        has_age=has_age,
        age=_column(outputs, _AGE, faces) if has_age else unknown,
        age_std=_column(outputs, _AGE_STD, faces) if has_age else unknown,
        female=_column(outputs, _GENDER, faces) if _GENDER in outputs else unknown,
        age_distribution=_rows(outputs[_DISTRIBUTION], faces) if _DISTRIBUTION in outputs else None,
        version=version,
    )


def _column(outputs: dict[str, NDArray[Any]], name: str, faces: int) -> NDArray[np.float32]:
    values = outputs[name]
    if values.size != faces:
        raise ModelError(f"output {name!r} has shape {list(values.shape)} for {faces} faces")
    return values.reshape(faces).astype(np.float32, copy=False)


def _rows(values: NDArray[Any], faces: int) -> NDArray[np.float32]:
    if values.ndim != 2 or len(values) != faces or values.shape[1] > MAX_AGE_BINS:
        raise ModelError(
            f"output {_DISTRIBUTION!r} has shape {list(values.shape)} for {faces} faces"
        )
    return values.astype(np.float32, copy=False)
