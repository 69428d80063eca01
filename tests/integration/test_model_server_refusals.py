"""Invalid requests get the status codes and messages of TensorFlow Serving."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
from facestream.common.broker.pb.serving import serving_pb2 as pb
from facestream.common.serving import tf_serving_wire

from tests.fixtures.model_server_client import FACES, Client, request_for


def _wrong_model(request: pb.PredictRequest) -> None:
    request.model_spec.name = "nobody"


def _wrong_version(request: pb.PredictRequest) -> None:
    request.model_spec.version.value = 7


def _label(request: pb.PredictRequest) -> None:
    request.model_spec.version_label = "stable"


def _signature(request: pb.PredictRequest) -> None:
    request.model_spec.signature_name = "other"


def _no_spec(request: pb.PredictRequest) -> None:
    request.ClearField("model_spec")


def _no_name(request: pb.PredictRequest) -> None:
    request.model_spec.name = ""


def _no_input(request: pb.PredictRequest) -> None:
    request.inputs.clear()


def _other_name(request: pb.PredictRequest) -> None:
    request.inputs["images"].CopyFrom(request.inputs["faces"])
    del request.inputs["faces"]


def _too_many(request: pb.PredictRequest) -> None:
    request.inputs["more"].CopyFrom(request.inputs["faces"])


def _floats(request: pb.PredictRequest) -> None:
    request.inputs["faces"].Clear()
    tf_serving_wire.fill_tensor(request.inputs["faces"], FACES.astype(np.float32))


def _strings(request: pb.PredictRequest) -> None:
    request.inputs["faces"].dtype = pb.DT_STRING


def _small(request: pb.PredictRequest) -> None:
    request.inputs["faces"].Clear()
    tf_serving_wire.fill_tensor(request.inputs["faces"], FACES[:, :64, :64])


def _flat(request: pb.PredictRequest) -> None:
    request.inputs["faces"].Clear()
    tf_serving_wire.fill_tensor(request.inputs["faces"], FACES[0])


def _short(request: pb.PredictRequest) -> None:
    tensor = request.inputs["faces"]
    tensor.tensor_content = tensor.tensor_content[:-1]


def _huge(request: pb.PredictRequest) -> None:
    request.inputs["faces"].tensor_content = b""
    request.inputs["faces"].tensor_shape.dim[0].size = 1 << 40


def _negative(request: pb.PredictRequest) -> None:
    request.inputs["faces"].tensor_shape.dim[0].size = -3


def _unknown_output(request: pb.PredictRequest) -> None:
    request.output_filter.append("mood")


def _twice(request: pb.PredictRequest) -> None:
    request.output_filter.extend(["age", "age"])


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (_wrong_model, "NOT_FOUND", "Servable not found for request: Latest(nobody)"),
        (_wrong_version, "NOT_FOUND", "Servable not found for request: Specific(age_gender, 7)"),
        (_label, "INVALID_ARGUMENT", "Unrecognized servable version label: stable"),
        (_signature, "FAILED_PRECONDITION", 'Serving signature key "other" not found.'),
        (_no_spec, "INVALID_ARGUMENT", "Missing ModelSpec"),
        (_no_name, "INVALID_ARGUMENT", "no name specified"),
        (_no_input, "INVALID_ARGUMENT", "Missing but required: {faces}."),
        (_other_name, "INVALID_ARGUMENT", "alias not found in signature: images."),
        (_too_many, "INVALID_ARGUMENT", "Sent extra: {more}."),
        (_floats, "INVALID_ARGUMENT", "Expects arg[0] to be uint8 but float is provided"),
        (_strings, "INVALID_ARGUMENT", "to be uint8 but string is provided"),
        (_small, "INVALID_ARGUMENT", "shape [?,128,128,3], but has [3,64,64,3]"),
        (_flat, "INVALID_ARGUMENT", "shape [?,128,128,3], but has [128,128,3]"),
        (_short, "INVALID_ARGUMENT", "tensor parsing error: faces"),
        (_huge, "INVALID_ARGUMENT", "is larger than the 128 allowed"),
        (_negative, "INVALID_ARGUMENT", "no definite shape"),
        (_unknown_output, "INVALID_ARGUMENT", "alias not found in signature: mood"),
        (_twice, "INVALID_ARGUMENT", "duplicate output tensor alias: age"),
    ],
)
def test_an_invalid_request_gets_the_code_of_tensorflow_serving(
    model_client: Client, spoil: Any, code: str, said: str
) -> None:
    request = request_for()
    spoil(request)
    refused_with, text = model_client.rejection(request)
    assert refused_with == grpc.StatusCode[code]
    assert said in text
