"""Tensors on the wire."""

import numpy as np
import pytest
from facestream.common.broker.pb.serving import serving_pb2 as pb
from facestream.common.core.errors import ModelError
from facestream.common.serving.tf_serving_wire import fill_tensor, shape_of, to_array


def tensor(array: object) -> pb.TensorProto:
    proto = pb.TensorProto()
    fill_tensor(proto, np.asarray(array))
    return proto


def test_an_array_comes_back_as_it_was() -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    proto = tensor(array[:, ::-1])  # not contiguous
    assert shape_of(proto) == (2, 3, 4)
    np.testing.assert_array_equal(to_array(proto, 24), array[:, ::-1])


def test_one_value_cannot_claim_a_gigabyte() -> None:
    proto = pb.TensorProto(dtype=pb.DT_FLOAT, float_val=[1.0])
    proto.tensor_shape.dim.add(size=1 << 40)
    with pytest.raises(ModelError, match="larger than the 100 allowed"):
        to_array(proto, 100)


def test_content_that_does_not_fit_its_shape_is_refused() -> None:
    proto = tensor(np.zeros(4, np.float32))
    proto.tensor_content += b"\0"
    with pytest.raises(ModelError, match="holds 17 bytes, not 16"):
        to_array(proto, 100)


def test_a_shape_that_is_none_is_refused() -> None:
    proto = pb.TensorProto(dtype=pb.DT_FLOAT)
    proto.tensor_shape.unknown_rank = True
    with pytest.raises(ModelError, match="no definite shape"):
        shape_of(proto)
    proto.tensor_shape.Clear()
    proto.tensor_shape.dim.add(size=-1)
    with pytest.raises(ModelError, match="no definite shape"):
        shape_of(proto)


@pytest.mark.parametrize("kind", [pb.DT_STRING, pb.DT_HALF, pb.DT_INVALID])
def test_what_cannot_be_read_is_refused_not_guessed(kind: pb.DataType) -> None:
    proto = pb.TensorProto(dtype=kind)
    proto.tensor_shape.dim.add(size=1)
    with pytest.raises(ModelError, match="tensor of"):
        to_array(proto, 100)


def test_what_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ModelError, match="no tensor of type"):
        tensor(np.array(["text"]))
