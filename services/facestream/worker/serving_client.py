"""Asks the model server: a batch of faces goes in, one answer per face comes out.

Speaks TensorFlow Serving's `Predict` with the stubs of the wire subset; no TensorFlow. Each request
has a deadline; one that fails for now is sent again with growing pauses until the batch is no
longer worth it. With several models the same batch goes to all at a time and their outputs are
put together.
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
from facestream.worker.metrics import WorkerMetrics

INPUT = "faces"
_AGE, _AGE_STD, _GENDER, _DISTRIBUTION = "age", "age_std", "gender", "age_distribution"
_KNOWN = frozenset({_AGE, _AGE_STD, _GENDER, _DISTRIBUTION})

# These say that the request itself is wrong: it would be refused again.
_FOR_GOOD = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.OUT_OF_RANGE,
    }
)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 0.5
_CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", tf_serving_wire.MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", tf_serving_wire.MAX_MESSAGE_BYTES),
    # gRPC's own pauses grow to two minutes, far beyond any face's deadline.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.lb_policy_name", "round_robin"),
    # A connection to a host that is gone without a word would stand for a quarter of an hour. With
    # pings on, the kernel gives it up when nothing is acknowledged for as long as their time-out
    # (TCP_USER_TIMEOUT); pinged more often than every five minutes, servers hang up.
    ("grpc.keepalive_time_ms", 360_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]


class ModelServerUnavailableError(ModelError):
    """The model server did not answer in time; it may later."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What the models said of a batch of n faces.

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
    """Thread-safe; reconnects by itself.

    Args:
        target: HOST:PORT.
        credentials: of gRPC, for TLS; None without.
        models: whose outputs together make an answer.
        timeout_s: limit of one request.
        report: told after each request why it failed, or None when it was answered.
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
        """End the connection; requests under way fail."""
        self._channel.close()

    def predict_with_retry(
        self, faces: NDArray[np.uint8], until_s: float, stop: threading.Event
    ) -> Predictions:
        """Ask until there is an answer.

        Args:
            faces: uint8 `[n, side, side, 3]` RGB.
            until_s: reading of `time.monotonic` after which it is not worth trying again.
            stop: ends the trying.

        Raises:
            AwayError: no answer by then.
            ModelError: refused for good, or the answer makes no sense.
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                # The whole time-out, however late it is: under overload every batch starts late,
                # and cutting it short would throw away what the model server already works on.
                answers = self.predict_once(faces, self._timeout_s)
            except ModelError as error:
                self._report(str(error))
                if not isinstance(error, ModelServerUnavailableError):
                    raise
                pause_s = min(_LONGEST_PAUSE_S, pause_s * 2) * random.uniform(0.5, 1.0)  # noqa: S311
                if time.monotonic() + pause_s >= until_s or stop.wait(pause_s):
                    raise
            else:
                self._report(None)
                return answers

    def predict_once(self, faces: NDArray[np.uint8], timeout_s: float) -> Predictions:
        """One request to each model, not repeated.

        Raises:
            AwayError: no answer in time.
            ModelError: refused for good, or the answer makes no sense.
        """
        started = time.perf_counter()
        requests = [_request(model, faces) for model in self._models]
        others = [self._call.future(request, timeout_s) for request in requests[1:]]
        outputs: dict[str, NDArray[Any]] = {}
        versions = []
        for i, (model, request) in enumerate(zip(self._models, requests, strict=True)):
            try:
                response = self._call(request, timeout_s) if i == 0 else others[i - 1].result()
            except grpc.RpcError as error:
                for other in others:
                    other.cancel()
                raise self._failure(model, error) from None
            self._metrics.inference_request.labels(model=model).observe(
                time.perf_counter() - started
            )
            for name in _KNOWN.intersection(response.outputs):  # a model may give more, of any kind
                outputs[name] = tf_serving_wire.to_array(
                    response.outputs[name], max_elements=len(faces) * MAX_AGE_BINS
                )
            versions.append(response.model_spec.version.value)
        return _answers(outputs, len(faces), versions[0])

    def _failure(self, model: str, error: Any) -> ModelError:
        code, text = error.code(), " ".join(str(error.details()).split())
        self._metrics.inference_request_errors.labels(model=model, code=code.name).inc()
        kind = ModelError if code in _FOR_GOOD else ModelServerUnavailableError
        return kind(f"model {model}: {code.name}: {text}")


def _request(model: str, faces: NDArray[np.uint8]) -> pb.PredictRequest:
    request = pb.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = tf_serving_wire.DEFAULT_SIGNATURE
    tf_serving_wire.fill_tensor(request.inputs[INPUT], faces)
    return request


def _answers(outputs: dict[str, NDArray[Any]], faces: int, version: int) -> Predictions:
    if _AGE not in outputs and _GENDER not in outputs:
        raise ModelError(f"the models give neither output {_AGE!r} nor {_GENDER!r}")
    if _AGE in outputs and _AGE_STD not in outputs:
        raise ModelError(f"the models give no output {_AGE_STD!r}")
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
