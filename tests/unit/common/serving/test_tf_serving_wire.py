"""Conversion between arrays and tensors of TensorFlow Serving."""

import numpy as np
import pytest
from facestream.common.broker.pb.serving import serving_pb2 as pb
from facestream.common.core.errors import ModelError
from facestream.common.serving.tf_serving_wire import fill_tensor, shape_of, to_array


def tensor(array: object) -> pb.TensorProto:
    proto = pb.TensorProto()
    fill_tensor(proto, np.asarray(array))
    return proto


def test_an_array_survives_conversion() -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    proto = tensor(array[:, ::-1])  # not contiguous
    assert shape_of(proto) == (2, 3, 4)
    np.testing.assert_array_equal(to_array(proto, 24), array[:, ::-1])


def test_a_shape_larger_than_the_limit_is_rejected() -> None:
    proto = pb.TensorProto(dtype=pb.DT_FLOAT, float_val=[1.0])
    proto.tensor_shape.dim.add(size=1 << 40)
    with pytest.raises(ModelError, match="larger than the 100 allowed"):
        to_array(proto, 100)


def test_content_of_another_size_than_the_shape_is_rejected() -> None:
    proto = tensor(np.zeros(4, np.float32))
    proto.tensor_content += b"\0"
    with pytest.raises(ModelError, match="holds 17 bytes, not 16"):
        to_array(proto, 100)


def test_an_indefinite_shape_is_rejected() -> None:
    proto = pb.TensorProto(dtype=pb.DT_FLOAT)
    proto.tensor_shape.unknown_rank = True
    with pytest.raises(ModelError, match="no definite shape"):
        shape_of(proto)
    proto.tensor_shape.Clear()
    proto.tensor_shape.dim.add(size=-1)
    with pytest.raises(ModelError, match="no definite shape"):
        shape_of(proto)


@pytest.mark.parametrize("kind", [pb.DT_STRING, pb.DT_HALF, pb.DT_INVALID])
def test_an_unsupported_type_is_rejected_on_reading(kind: pb.DataType) -> None:
    proto = pb.TensorProto(dtype=kind)
    proto.tensor_shape.dim.add(size=1)
    with pytest.raises(ModelError, match="tensor of"):
        to_array(proto, 100)


def test_an_unsupported_type_is_rejected_on_writing() -> None:
    with pytest.raises(ModelError, match="cannot send a tensor of type"):
        tensor(np.array(["text"]))
