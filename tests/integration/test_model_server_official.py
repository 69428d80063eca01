"""Compatibility of the embedded model server and the wire subset with the official ones.

The client is `tensorflow-serving-api`'s, the answers to compare with are TensorFlow's own, running
the same SavedModel.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from facestream.common.broker.pb.serving import serving_pb2 as pb
from facestream.common.serving import tf_serving_wire
from facestream.model_server.service import ModelServer

from tests.fixtures.polling import wait_for
from tests.fixtures.serving import TINY_MODELS, put_version, running_model_server

# The largest difference between OpenVINO in f32 and TensorFlow that is let pass.
MAX_DIFFERENCE_YEARS = 1e-3
MAX_DIFFERENCE_PROBABILITY = 1e-5

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
if os.environ.get("CI") == "true":  # there they may not be missing
    import tensorflow as tf
    from tensorflow_serving import apis  # noqa: F401
else:
    tf = pytest.importorskip("tensorflow")
    pytest.importorskip("tensorflow_serving")

from tensorflow.core.framework import tensor_pb2, types_pb2  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    models_dir = tmp_path_factory.mktemp("models")
    put_version(models_dir, "age_gender", 1)
    with running_model_server(models_dir) as server:
        wait_for(server.repository.served)
        yield server


@pytest.fixture
def channel(server: ModelServer) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


def some_faces(n: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(n).integers(0, 256, (n, 128, 128, 3), dtype=np.uint8)


def official_request(faces: np.ndarray[Any, Any]) -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "age_gender"
    request.model_spec.signature_name = "serving_default"
    request.inputs["faces"].CopyFrom(tf.make_tensor_proto(faces))
    return request


@pytest.mark.parametrize("size", [1, 5, 16])
def test_the_official_client_gets_the_predictions_of_tensorflow(channel: Any, size: int) -> None:
    faces = some_faces(size)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.Predict(official_request(faces), timeout=20)
    model = tf.saved_model.load(str(TINY_MODELS / "age_gender" / "1"))
    truth = model.signatures["serving_default"](faces=tf.constant(faces))
    assert set(response.outputs) == set(truth)
    for name, expected in truth.items():
        answer = tf.make_ndarray(response.outputs[name])
        limit = MAX_DIFFERENCE_YEARS if "age" in name else MAX_DIFFERENCE_PROBABILITY
        if name == "age_distribution":
            limit = MAX_DIFFERENCE_PROBABILITY
        assert answer.dtype == expected.numpy().dtype
        np.testing.assert_allclose(answer, expected.numpy(), rtol=0, atol=limit)
    assert response.model_spec.version.value == 1


def test_the_official_client_reads_the_models_state(channel: Any) -> None:
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest(
        model_spec=model_pb2.ModelSpec(name="age_gender")
    )
    (status,) = stub.GetModelStatus(request, timeout=10).model_version_status
    assert (status.version, status.state) == (
        1,
        get_model_status_pb2.ModelVersionStatus.State.AVAILABLE,
    )


def test_a_request_of_the_subset_is_byte_for_byte_the_official_one() -> None:
    faces = some_faces(2)
    request = pb.PredictRequest()
    request.model_spec.name = "age_gender"
    request.model_spec.version.value = 3
    request.model_spec.signature_name = "serving_default"
    request.output_filter.extend(["age", "gender"])
    tf_serving_wire.fill_tensor(request.inputs["faces"], faces)
    official = official_request(faces)
    official.model_spec.version.value = 3
    official.output_filter.extend(["age", "gender"])
    ours = request.SerializeToString(deterministic=True)
    assert ours == official.SerializeToString(deterministic=True)


def test_a_version_label_has_its_official_number() -> None:
    ours = pb.ModelSpec(name="a", version_label="stable", signature_name="s")
    official = model_pb2.ModelSpec(name="a", version_label="stable", signature_name="s")
    assert ours.SerializeToString() == official.SerializeToString()


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("DT_FLOAT", "float_val"),
        ("DT_DOUBLE", "double_val"),
        ("DT_INT32", "int_val"),
        ("DT_UINT8", "int_val"),
        ("DT_INT16", "int_val"),
        ("DT_INT8", "int_val"),
        ("DT_INT64", "int64_val"),
    ],
)
@pytest.mark.parametrize("values", [[1, 2, 3, 4, 5, 6], [7], [1, 2], []])
def test_typed_values_are_read_as_tensorflow_reads_them(
    kind: str, field: str, values: list[int]
) -> None:
    """By default, TensorFlow Serving responds with typed fields."""
    official = tensor_pb2.TensorProto(dtype=types_pb2.DataType.Value(kind))
    for size in (2, 3):
        official.tensor_shape.dim.add(size=size)
    getattr(official, field).extend(values)
    expected = tf.make_ndarray(official)
    ours = tf_serving_wire.to_array(pb.TensorProto.FromString(official.SerializeToString()), 6)
    assert ours.dtype == expected.dtype
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int64"])
def test_tensorflow_reads_the_tensors_that_the_subset_writes(dtype: str) -> None:
    array = np.arange(6).reshape(3, 2).astype(dtype)
    ours = pb.TensorProto()
    tf_serving_wire.fill_tensor(ours, array)
    official = tf.make_tensor_proto(array)
    theirs = type(official).FromString(ours.SerializeToString())
    np.testing.assert_array_equal(tf.make_ndarray(theirs), array)


def test_states_and_types_have_their_official_numbers() -> None:
    for name, number in pb.DataType.items():
        assert types_pb2.DataType.Value(name) == number
    states = get_model_status_pb2.ModelVersionStatus.State
    for name, number in pb.ModelVersionStatus.State.items():
        assert states.Value(name) == number
