"""TensorFlow Serving's wire contract, as far as facestream speaks it: method paths and tensors.

The worker puts arrays into `TensorProto` and the embedded model server takes them out, and the
other way round for the answers. Data travels as `tensor_content` (raw little-endian bytes); the
typed `*_val` fields, which TensorFlow Serving answers with by default, are read as well. Pure.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from facestream.common.broker.pb.serving import serving_pb2 as pb
from facestream.common.core.errors import ModelError

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
PREDICT = f"/{PREDICTION_SERVICE}/Predict"
GET_MODEL_STATUS = f"/{MODEL_SERVICE}/GetModelStatus"
DEFAULT_SIGNATURE = "serving_default"

# A face of 128 x 128 pixels is 49 kB; gRPC's own default of 4 MiB ends at 85 of them.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024

_DTYPES: dict[int, str] = {
    pb.DT_FLOAT: "<f4",
    pb.DT_DOUBLE: "<f8",
    pb.DT_INT32: "<i4",
    pb.DT_UINT8: "|u1",
    pb.DT_INT16: "<i2",
    pb.DT_INT8: "|i1",
    pb.DT_INT64: "<i8",
    pb.DT_HALF: "<f2",
}
_ENUMS = {np.dtype(name): enum for enum, name in _DTYPES.items()}
_TYPED_FIELDS: dict[int, str] = {
    pb.DT_FLOAT: "float_val",
    pb.DT_DOUBLE: "double_val",
    pb.DT_INT32: "int_val",
    pb.DT_UINT8: "int_val",
    pb.DT_INT16: "int_val",
    pb.DT_INT8: "int_val",
    pb.DT_INT64: "int64_val",
}
_TF_NAMES: dict[int, str] = {
    pb.DT_FLOAT: "float",
    pb.DT_DOUBLE: "double",
    pb.DT_INT32: "int32",
    pb.DT_UINT8: "uint8",
    pb.DT_INT16: "int16",
    pb.DT_INT8: "int8",
    pb.DT_INT64: "int64",
    pb.DT_HALF: "half",
    pb.DT_STRING: "string",
}


def dtype_name(enum: int) -> str:
    """TensorFlow's name of a data type, for messages: `float`, `uint8`."""
    return _TF_NAMES.get(enum, f"type {enum}")


def dtype_enum(dtype: DTypeLike) -> int:
    """The wire's number for a numpy data type.

    Raises:
        ModelError: the contract has none.
    """
    try:
        return _ENUMS[np.dtype(dtype).newbyteorder("<")]
    except (KeyError, TypeError):
        raise ModelError(f"no tensor of type {dtype} can be sent") from None


def shape_of(tensor: pb.TensorProto) -> tuple[int, ...]:
    """The shape that a tensor claims to have; nothing of its data is looked at.

    Raises:
        ModelError: unknown rank or a negative side.
    """
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ModelError("tensor has no definite shape")
    return shape


def fill_tensor(tensor: pb.TensorProto, array: NDArray[Any]) -> None:
    """Write an array into an empty `TensorProto` as `tensor_content`."""
    tensor.dtype = dtype_enum(array.dtype)  # type: ignore[assignment]
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = np.ascontiguousarray(array).tobytes()


def to_array(tensor: pb.TensorProto, max_elements: int) -> NDArray[Any]:
    """The array in a `TensorProto`, read-only where it is a view of the message's bytes.

    Typed values fewer than elements repeat the last one, as TensorFlow reads them.

    Args:
        max_elements: one value can claim any shape; more than this is refused, not allocated.

    Raises:
        ModelError: a type that is not spoken, no definite shape, or data that does not fit it.
    """
    name = _DTYPES.get(tensor.dtype)
    if name is None:
        raise ModelError(f"tensor of {dtype_name(tensor.dtype)} is not supported")
    dtype, shape = np.dtype(name), shape_of(tensor)
    count = math.prod(shape)
    if count > max_elements:
        raise ModelError(f"tensor of {count} elements is larger than the {max_elements} allowed")
    content = tensor.tensor_content
    if content:
        if len(content) != count * dtype.itemsize:
            raise ModelError(
                f"tensor of shape {list(shape)} holds {len(content)} bytes, "
                f"not {count * dtype.itemsize}"
            )
        return np.frombuffer(content, dtype).reshape(shape)
    field = _TYPED_FIELDS.get(tensor.dtype)
    if field is None:
        raise ModelError(f"tensor of {dtype_name(tensor.dtype)} has no tensor_content")
    values = np.array(getattr(tensor, field), dtype=dtype)[:count]
    if values.size < count:
        values = np.concatenate(
            [values, np.full(count - values.size, values[-1] if values.size else 0, dtype)]
        )
    return values.reshape(shape)
