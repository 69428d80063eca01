"""Serve TensorFlow Serving's gRPC methods Predict and GetModelStatus from a `Repository`.

Errors have the status code, and where possible the message, of TensorFlow Serving:

    no model_spec, empty name, unknown label       INVALID_ARGUMENT
    model or version not served                    NOT_FOUND
    signature not in the model                     FAILED_PRECONDITION
    input or output name, type, shape, bad tensor  INVALID_ARGUMENT
    no free inference before the deadline          DEADLINE_EXCEEDED
    too many requests wait for an inference        RESOURCE_EXHAUSTED
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import grpc
import numpy as np
from numpy.typing import NDArray

from facestream.common.broker.pb.serving import serving_pb2 as pb
from facestream.common.core.errors import ModelError
from facestream.common.serving import tf_serving_wire
from facestream.model_server.metrics import ModelServerMetrics
from facestream.model_server.model import Model, Port
from facestream.model_server.model_repository import NotServedError, Repository

# For requests without a deadline: no client waits longer for an inference of milliseconds.
_MAX_WAIT_S = 30.0
# Label `model` of requests for unknown models: clients must not be able to add label values.
_UNKNOWN = "unknown"
# gRPC code of a version's load error in GetModelStatus.
_LOAD_FAILED = grpc.StatusCode.INTERNAL.value[0]


class RpcError(Exception):
    """Error status of a request, with its gRPC code and message."""

    def __init__(self, code: Any, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class ModelService:
    """Implementation of PredictionService and ModelService on one repository. Thread-safe.

    Args:
        repository: the loaded models.
        metrics: the model server's metrics.
        max_batch_size: most rows in one request.
        max_predicts: most requests that run or wait, each in a thread.
    """

    def __init__(
        self,
        repository: Repository[Model],
        metrics: ModelServerMetrics,
        *,
        max_batch_size: int,
        max_predicts: int,
    ) -> None:
        self._repository, self._metrics, self._max_batch = repository, metrics, max_batch_size
        self._free_predicts = threading.BoundedSemaphore(max_predicts)

    def handlers(self) -> list[Any]:
        """Return the handlers for `grpc.Server.add_generic_rpc_handlers`."""
        return [
            _handler(tf_serving_wire.PREDICT, self._predict, pb.PredictRequest),
            _handler(tf_serving_wire.GET_MODEL_STATUS, self._status, pb.GetModelStatusRequest),
        ]

    def _predict(self, request: pb.PredictRequest, context: Any) -> pb.PredictResponse:
        if not self._free_predicts.acquire(blocking=False):
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            self._metrics.requests.labels(model=_UNKNOWN, code=code.name).inc()
            _abort(context, code, "too many requests wait for an inference")
        try:
            return self._handle_predict(request, context)
        finally:
            self._free_predicts.release()

    def _handle_predict(self, request: pb.PredictRequest, context: Any) -> pb.PredictResponse:
        label, code = _UNKNOWN, grpc.StatusCode.UNKNOWN  # gRPC's code for other exceptions
        try:
            name, version = _requested_version(request, self._repository.labeled_version)
            with self._repository.lease(name, version) as (model, served_version):
                label = name
                response = self._infer(model, request, context, label)
            response.model_spec.name = name
            response.model_spec.version.value = served_version
            response.model_spec.signature_name = tf_serving_wire.DEFAULT_SIGNATURE
            code = grpc.StatusCode.OK
            return response
        except NotServedError as error:
            code, text = grpc.StatusCode.NOT_FOUND, str(error)
        except RpcError as error:
            code, text = error.code, error.text
        except ModelError as error:
            code, text = grpc.StatusCode.INTERNAL, str(error)
        finally:
            self._metrics.requests.labels(model=label, code=code.name).inc()
        _abort(context, code, text)

    def _infer(
        self, model: Model, request: pb.PredictRequest, context: Any, name: str
    ) -> pb.PredictResponse:
        signature = request.model_spec.signature_name or tf_serving_wire.DEFAULT_SIGNATURE
        if signature != tf_serving_wire.DEFAULT_SIGNATURE:
            raise RpcError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{signature}" not found.',
            )
        batch = _parse_input(request, model.input, self._max_batch)
        output_names = _requested_outputs(request, list(model.outputs))
        left_s = context.time_remaining()
        started = time.perf_counter()
        try:
            outputs = model.infer(
                batch,
                output_names,
                _MAX_WAIT_S if left_s is None else max(0.0, min(left_s, _MAX_WAIT_S)),
            )
        except TimeoutError:
            raise RpcError(
                grpc.StatusCode.DEADLINE_EXCEEDED, "no inference became free in time"
            ) from None
        self._metrics.inference.labels(model=name).observe(time.perf_counter() - started)
        self._metrics.faces.labels(model=name).inc(len(batch))
        response = pb.PredictResponse()
        for output_name, array in outputs.items():
            tf_serving_wire.fill_tensor(response.outputs[output_name], array)
        return response

    def _status(self, request: pb.GetModelStatusRequest, context: Any) -> pb.GetModelStatusResponse:
        response = pb.GetModelStatusResponse()
        try:
            name, version = _requested_version(request, self._repository.labeled_version)
            for status in self._repository.statuses(name, version):
                entry = response.model_version_status.add(
                    version=status.version,
                    state=status.state.value,
                )
                if status.error:
                    entry.status.error_code = _LOAD_FAILED
                entry.status.error_message = status.error
        except NotServedError as error:
            _abort(context, grpc.StatusCode.NOT_FOUND, str(error))
        except RpcError as error:
            _abort(context, error.code, error.text)
        return response


def _handler(path: str, method: Callable[[Any, Any], Any], request: Any) -> Any:
    _, service, name = path.split("/")
    return grpc.method_handlers_generic_handler(
        service,
        {
            name: grpc.unary_unary_rpc_method_handler(
                method,
                request_deserializer=request.FromString,
                response_serializer=lambda response: response.SerializeToString(),
            )
        },
    )


def _abort(context: Any, code: Any, text: str) -> NoReturn:
    context.abort(code, text)
    raise AssertionError("context.abort always raises")


def _reject(text: str) -> NoReturn:
    raise RpcError(grpc.StatusCode.INVALID_ARGUMENT, text)


def _requested_version(
    request: Any, labeled_version: Callable[[str, str], int | None] = lambda name, label: None
) -> tuple[str, int | None]:
    """Return the model's name and the version, None unless the request names version or label."""
    if not request.HasField("model_spec"):
        _reject("Missing ModelSpec")
    spec = request.model_spec
    if not spec.name:
        _reject("ModelSpec has no name specified.")
    if spec.HasField("version_label"):
        version = labeled_version(spec.name, spec.version_label)
        if version is None:
            _reject(f"Unrecognized servable version label: {spec.version_label}")
        return spec.name, version
    return spec.name, spec.version.value if spec.HasField("version") else None


def _parse_input(request: pb.PredictRequest, port: Port, max_batch_size: int) -> NDArray[Any]:
    """Return the request's only input; check type and shape before its data is read."""
    sent = sorted(request.inputs)
    if len(sent) != 1:
        extra, missing = set(sent) - {port.name}, {port.name} - set(sent)
        _reject(
            f"input size does not match signature: {len(sent)}!=1 len({{{','.join(sent)}}}) != "
            f"len({{{port.name}}}). Sent extra: {{{','.join(sorted(extra))}}}. "
            f"Missing but required: {{{','.join(missing)}}}."
        )
    if sent[0] != port.name:
        _reject(
            f"input tensor alias not found in signature: {sent[0]}. "
            f"Inputs expected to be in the set {{{port.name}}}."
        )
    tensor = request.inputs[port.name]
    expected = tf_serving_wire.dtype_enum(port.dtype)
    if tensor.dtype != expected:
        _reject(
            f"Expects arg[0] to be {tf_serving_wire.dtype_name(expected)} "
            f"but {tf_serving_wire.dtype_name(tensor.dtype)} is provided"
        )
    try:
        shape = tf_serving_wire.shape_of(tensor)
        if len(shape) != len(port.shape) or any(
            side not in (None, size) for side, size in zip(port.shape, shape, strict=True)
        ):
            _reject(
                f"input {port.name} must have shape {_format_shape(port.shape)}, "
                f"but has {_format_shape(shape)}"
            )
        if shape[0] > max_batch_size:
            _reject(f"batch of {shape[0]} is larger than the {max_batch_size} allowed")
        return tf_serving_wire.to_array(
            tensor, max_elements=_max_elements(port, shape, max_batch_size)
        )
    except ModelError as error:
        _reject(f"tensor parsing error: {port.name}: {error}")


def _max_elements(port: Port, shape: tuple[int, ...], max_batch_size: int) -> int:
    """Return the most elements of an input; only the message size limits a free shape."""
    if None in port.shape[1:]:
        return tf_serving_wire.MAX_MESSAGE_BYTES // np.dtype(port.dtype).itemsize
    return max_batch_size * math.prod(shape[1:])


def _requested_outputs(request: pb.PredictRequest, known: list[str]) -> list[str]:
    """Return the outputs of the request's filter, or all without a filter."""
    names = list(request.output_filter)
    for i, name in enumerate(names):
        if name not in known:
            _reject(
                f"output tensor alias not found in signature: {name} "
                f"Outputs expected to be in the set {{{','.join(sorted(known))}}}."
            )
        if name in names[:i]:
            _reject(f"duplicate output tensor alias: {name}")
    return names or known


def _format_shape(shape: tuple[int | None, ...]) -> str:
    return "[" + ",".join("?" if side is None else str(side) for side in shape) + "]"
