"""The embedded model server over real gRPC, with the stubs of the wire subset."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from facestream.common.broker.pb.serving import serving_pb2 as pb
from facestream.common.core.errors import StartError
from facestream.common.serving import tf_serving_wire
from facestream.model_server import service
from facestream.model_server.service import ModelServer
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.fixtures.model_server_client import FACES, Client, outputs_of, request_for
from tests.fixtures.polling import wait_for
from tests.fixtures.serving import put_version, running_model_server, settings_for, with_one_model


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return with_one_model(tmp_path)


@pytest.fixture
def own_server(models_dir: Path) -> Iterator[ModelServer]:
    """Start a server for a test that changes its models."""
    with running_model_server(models_dir) as server:
        wait_for(server.repository.served)
        yield server


@pytest.fixture
def own_client(own_server: ModelServer) -> Iterator[Client]:
    client = Client(own_server.port)
    yield client
    client.channel.close()


def test_a_batch_is_inferred_by_the_newest_version(model_client: Client) -> None:
    response = model_client.predict(request_for())
    outputs = outputs_of(response)
    assert response.model_spec.name == "age_gender"
    assert response.model_spec.version.value == 1
    assert response.model_spec.signature_name == "serving_default"
    np.testing.assert_allclose(outputs["age"], [101, 21, 1], atol=1e-4)
    np.testing.assert_allclose(outputs["gender"], [1, 0, 0], atol=1e-6)
    assert outputs["age_distribution"].shape == (3, 111)
    assert outputs["age_distribution"][1].argmax() == 21


@pytest.mark.parametrize("size", [0, 1, 2, 7, 16])
def test_batches_of_any_size_are_inferred(model_client: Client, size: int) -> None:
    outputs = outputs_of(model_client.predict(request_for(np.zeros((size, 128, 128, 3), np.uint8))))
    assert outputs["age"].shape == (size,)
    assert outputs["age_distribution"].shape == (size, 111)


def test_faces_of_a_large_batch_keep_their_order(model_client: Client) -> None:
    faces = np.zeros((11, 128, 128, 3), np.uint8)
    faces[..., 1] = (np.arange(11) * 20)[:, None, None]
    outputs = outputs_of(model_client.predict(request_for(faces)))
    np.testing.assert_allclose(outputs["age"], np.arange(11) * 2000 / 255 + 1, atol=1e-3)
    assert (outputs["age_distribution"].argmax(axis=1) == outputs["age"].round()).all()


def test_only_the_outputs_of_the_filter_are_sent(model_client: Client) -> None:
    request = request_for()
    request.output_filter.append("gender")
    assert set(model_client.predict(request).outputs) == {"gender"}


def test_typed_values_are_read_like_tensor_content(model_client: Client) -> None:
    request = request_for(FACES[:1])
    tensor = request.inputs["faces"]
    tensor.tensor_content = b""
    tensor.int_val.append(255)  # one value stands for all
    assert outputs_of(model_client.predict(request))["age"] == pytest.approx([101], abs=1e-3)


def test_an_undecodable_request_does_not_affect_the_server(model_client: Client) -> None:
    raw = model_client.channel.unary_unary(tf_serving_wire.PREDICT)
    with pytest.raises(grpc.RpcError):
        raw(b"\xff" * 100, timeout=10)
    assert len(model_client.predict(request_for()).outputs) == 4


def test_get_model_status_returns_the_state_of_versions(model_client: Client) -> None:
    (status,) = model_client.status("age_gender").model_version_status
    assert (status.version, status.state) == (1, pb.ModelVersionStatus.AVAILABLE)
    for name, version, said in [
        ("missing", None, "Could not find any versions of model missing"),
        ("face_detector", None, "Could not find any versions of model face_detector"),
        ("age_gender", 9, "Could not find version 9 of model age_gender"),
    ]:
        with pytest.raises(grpc.RpcError, match=said) as caught:
            model_client.status(name, version)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_connections_are_closed_regularly_without_failing_requests(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers then resolve the name again and find added servers."""
    monkeypatch.setattr(service, "_CONNECTION_AGE_MS", 100)
    states: list[grpc.ChannelConnectivity] = []
    with running_model_server(models_dir) as server:
        wait_for(server.repository.served)
        client = Client(server.port)
        client.channel.subscribe(states.append)

        def has_come_back() -> bool:
            client.predict(request_for())  # raises where the request is lost
            return states.count(grpc.ChannelConnectivity.READY) > 3

        wait_for(has_come_back)
        client.channel.close()


def test_a_new_version_is_swapped_in_without_a_failed_request(
    own_client: Client, models_dir: Path
) -> None:
    versions: list[int] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                versions.append(own_client.predict(request_for()).model_spec.version.value)
            except grpc.RpcError as error:
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(versions) > 20)
    put_version(models_dir, "age_gender", 2, like=2)
    wait_for(lambda: versions[-1] == 2)
    shutil.rmtree(models_dir / "age_gender" / "2")
    wait_for(lambda: versions[-1] == 1)
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert set(versions) == {1, 2}
    wait_for(
        lambda: (
            {s.version: s.state for s in own_client.status("age_gender").model_version_status}
            == {1: pb.ModelVersionStatus.AVAILABLE, 2: pb.ModelVersionStatus.END}
        )
    )


def test_a_version_that_fails_to_load_is_logged_once_and_the_old_one_stays(
    own_client: Client, own_server: ModelServer, models_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = models_dir / "age_gender" / "2" / "saved_model.pb"
    broken.parent.mkdir()
    broken.write_bytes(b"no model")
    wait_for(lambda: len(own_client.status("age_gender").model_version_status) == 2)
    wait_for(lambda: own_client.status("age_gender", 2).model_version_status[0].status.error_code)
    metrics = f"http://127.0.0.1:{own_server.health_port}/metrics"

    def page() -> str:
        with urllib.request.urlopen(metrics, timeout=5) as answer:
            return str(answer.read().decode())

    assert 'facestream_model_server_load_errors_total{model="age_gender"} 1.0' in page()
    (line,) = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert "version 2" in line
    assert "cannot be parsed" in line
    assert "\n" not in line
    assert own_client.predict(request_for()).model_spec.version.value == 1
    shutil.copy(models_dir / "age_gender" / "1" / "saved_model.pb", broken)  # mended in its place
    wait_for(lambda: own_client.predict(request_for()).model_spec.version.value == 2)


def test_readiness_and_health_follow_the_loaded_models(tmp_path: Path) -> None:
    def ready() -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{late.health_port}/readyz", timeout=5
            ) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def grpc_health() -> Any:
        with grpc.insecure_channel(f"127.0.0.1:{late.port}") as channel:
            request = health_pb2.HealthCheckRequest(service=tf_serving_wire.PREDICTION_SERVICE)
            return health_pb2_grpc.HealthStub(channel).Check(request, timeout=5).status

    with running_model_server(tmp_path / "not there yet") as late:
        wait_for(lambda: "no model in" in str(ready()[1]))
        assert ready()[0] == 503
        assert grpc_health() == health_pb2.HealthCheckResponse.NOT_SERVING
        put_version(tmp_path / "not there yet", "age_gender", 1)
        wait_for(lambda: ready()[0] == 200)
        assert grpc_health() == health_pb2.HealthCheckResponse.SERVING


def test_requests_in_flight_are_finished_on_stop(models_dir: Path) -> None:
    faces = np.zeros((128, 128, 128, 3), np.uint8)
    with running_model_server(models_dir) as server:
        wait_for(server.repository.served)
        client = Client(server.port)
        client.predict(request_for())
        calls = [client.call_predict.future(request_for(faces), 10) for _ in range(4)]
        wait_for(lambda: any(call.done() for call in calls))
    answered = [call for call in calls if call.code() == grpc.StatusCode.OK]
    refused = [call for call in calls if call.code() != grpc.StatusCode.OK]
    # Connections not yet accepted are refused at once; accepted requests are completed.
    assert answered
    assert {call.code() for call in refused} <= {grpc.StatusCode.UNAVAILABLE}
    client.channel.close()


def test_status_and_health_work_while_all_inferences_are_busy(
    own_client: Client, own_server: ModelServer
) -> None:
    with own_server.repository.lease("age_gender", None) as (model, _):
        taken = model._requests.get()  # the one inference there is
        calls = [own_client.call_predict.future(request_for(), 30) for _ in range(70)]
        try:
            assert own_client.status("age_gender").model_version_status
            request = health_pb2.HealthCheckRequest()
            stub = health_pb2_grpc.HealthStub(own_client.channel)
            assert stub.Check(request, timeout=10).status == health_pb2.HealthCheckResponse.SERVING
            wait_for(lambda: sum(call.done() for call in calls) == 70 - 64)
        finally:
            model._requests.put(taken)
    codes = [call.code() for call in calls]
    assert codes.count(grpc.StatusCode.OK) == 64
    assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 70 - 64


def test_a_port_in_use_is_reported_in_one_line(model_server: ModelServer, models_dir: Path) -> None:
    with pytest.raises(
        StartError, match=f"cannot listen on 127.0.0.1:{model_server.port}"
    ) as caught:
        ModelServer(settings_for(models_dir, port=model_server.port))
    assert "\n" not in str(caught.value)
    assert "--port" in str(caught.value)
    started = subprocess.run(
        [sys.executable, "-m", "facestream", "model-server", "--port", str(model_server.port)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert started.returncode == 1
    (line,) = started.stderr.splitlines()  # gRPC's core adds none of its own
    assert f"cannot listen on 127.0.0.1:{model_server.port}" in line
