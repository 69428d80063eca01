"""The warm-up file of TensorFlow Serving: a few requests that it runs before a version goes live.

A TFRecord file of `tensorflow.serving.PredictionLog`, each with one `PredictRequest`. Written
without TensorFlow Serving's package, whose import costs half a gigabyte: a request is our own
wire-compatible message, and the two wrappers around it are one field each
(`PredictionLog.predict_log = 6`, `PredictLog.request = 1`; prediction_log.proto, Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Sequence

from facestream.common.broker.pb.serving import serving_pb2

FILE = "assets.extra/tf_serving_warmup_requests"
BATCHES = (1, 8, 16)  # batch sizes that the worker usually sends
_GRAY = 127
_REQUEST_FIELD, _PREDICT_LOG_FIELD = 1, 6
_LENGTH_DELIMITED = 2


def prediction_logs(name: str, size_px: int, signature: str) -> list[bytes]:
    """Serialised `PredictionLog` messages, one for each usual batch size."""
    logs = []
    for batch in BATCHES:
        request = serving_pb2.PredictRequest()
        request.model_spec.name = name
        request.model_spec.signature_name = signature
        faces = request.inputs["faces"]
        faces.dtype = serving_pb2.DT_UINT8
        for side in (batch, size_px, size_px, 3):
            faces.tensor_shape.dim.add(size=side)
        faces.int_val.append(_GRAY)  # the last value given fills the rest: the file stays tiny
        log = _field(_REQUEST_FIELD, request.SerializeToString())
        logs.append(_field(_PREDICT_LOG_FIELD, log))
    return logs


def _field(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return bytes([number << 3 | _LENGTH_DELIMITED]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    digits: list[int] = []
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def output_names(heads: Sequence[str]) -> tuple[str, ...]:
    """Return the output names of a model with these heads, in alphabetical order."""
    age = ("age", "age_distribution", "age_std") if "age" in heads else ()
    return (*age, *(("gender",) if "gender" in heads else ()))
