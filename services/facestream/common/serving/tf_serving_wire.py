"""Wire format of TensorFlow Serving, as far as facestream uses it: method paths, tensors. No I/O.

Worker and embedded model server convert arrays to and from `TensorProto`. Arrays are sent as
`tensor_content` (raw little-endian bytes). The typed `*_val` fields, which TensorFlow Serving uses
in its responses by default, are read as well.
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

# A face of 128 x 128 pixels has 49 kB; gRPC's default of 4 MiB would hold 85 of them.
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
    """Return TensorFlow's name of a data type, for messages: `float`, `uint8`."""
    return _TF_NAMES.get(enum, f"type {enum}")


def dtype_enum(dtype: DTypeLike) -> int:
    """Return the wire format's number of a numpy data type.

    Raises:
        ModelError: the wire format does not support it.
    """
    try:
        return _ENUMS[np.dtype(dtype).newbyteorder("<")]
    except (KeyError, TypeError):
        raise ModelError(f"cannot send a tensor of type {dtype}") from None


def shape_of(tensor: pb.TensorProto) -> tuple[int, ...]:
    """Return the declared shape of a tensor, without reading its data.

    Raises:
        ModelError: unknown rank or a negative size.
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
    """Return the array in a `TensorProto`; it may be a read-only view of the message's bytes.

    If there are fewer typed values than elements, the last value repeats, as in TensorFlow.

    Args:
        tensor: the message.
        max_elements: a single value can declare any shape; larger tensors are rejected before
            allocation.

    Raises:
        ModelError: unsupported type, no definite shape, or data of another size.
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
