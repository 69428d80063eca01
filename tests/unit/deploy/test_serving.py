"""TensorFlow Serving's files, parsed with its own messages where available."""

from __future__ import annotations

import json
import re
import socketserver
import subprocess
import threading
from typing import Any

import pytest
import yaml
from facestream.common.core.paths import CHECKOUT
from facestream.worker.settings import WorkerSettings
from google.protobuf import text_format

from tests.fixtures.deploy import DEPLOY, compose

SERVING = DEPLOY / "serving"


def test_models_config_serves_one_model_under_the_labels_stable_and_canary() -> None:
    from tensorflow_serving.config import model_server_config_pb2

    text = (SERVING / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("age_gender", "/models/age_gender")
    assert model.model_platform == "tensorflow"
    assert set(model.version_labels) == {"stable", "canary"}
    versions = set(model.model_version_policy.specific.versions)
    assert set(model.version_labels.values()) <= versions
    published = {
        int(folder.name)
        for folder in (CHECKOUT / "models" / model.name).glob("*")
        if folder.is_dir()
    }
    assert not published or versions <= published


@pytest.mark.parametrize("name", ["batching.config", "batching-gpu.config", "monitoring.config"])
def test_the_other_files_have_known_fields_only(name: str) -> None:
    lines = [line for line in (SERVING / name).read_text().splitlines() if not line.startswith("#")]
    if name == "monitoring.config":
        assert [line.split(":")[0].strip() for line in lines] == [
            "prometheus_config {",
            "enable",
            "path",
            "}",
        ]
        return
    known = {
        "max_batch_size",
        "batch_timeout_micros",
        "max_enqueued_batches",
        "num_batch_threads",
    }
    for line in lines:
        match = re.fullmatch(r"(\w+) \{ value: \d+ \}", line)
        assert match, line
        assert match[1] in known


def test_tensorflow_serving_has_the_same_flags_everywhere() -> None:
    flags = compose()["services"]["tf-serving"]["command"]
    on_gpu = compose("compose.gpu.yml")["services"]["tf-serving"]["command"]
    manifest = (DEPLOY / "k8s" / "base" / "tf-serving.yaml").read_text()
    deployment = next(iter(yaml.safe_load_all(manifest)))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["args"] == flags
    assert container["command"] == compose()["services"]["tf-serving"]["entrypoint"]
    assert "--grpc_max_threads=64" in flags
    expected = [flag.replace("batching.config", "batching-gpu.config") for flag in flags]
    assert on_gpu == [*expected, "--per_process_gpu_memory_fraction=0.5"]
    assert any("grpc.max_connection_age_ms=" in flag for flag in flags)


@pytest.mark.parametrize("name", ["batching.config", "batching-gpu.config"])
def test_tensorflow_serving_accepts_the_largest_worker_batch(name: str) -> None:
    (limit,) = (
        m.le for m in WorkerSettings.model_fields["max_batch_size"].metadata if hasattr(m, "le")
    )
    match = re.search(r"^max_batch_size \{ value: (\d+) \}$", (SERVING / name).read_text(), re.M)
    assert match
    assert int(match[1]) >= limit


@pytest.mark.parametrize("extra", [(), ("compose.gpu.yml",)], ids="+".join)
def test_every_file_of_the_command_exists(extra: tuple[str, ...]) -> None:
    command = compose(*extra)["services"]["tf-serving"]["command"]
    named = [flag.split("=/etc/serving/")[1] for flag in command if "=/etc/serving/" in flag]
    assert len(named) == 3
    assert all((SERVING / name).is_file() for name in named)


def tf_serving_pod() -> dict[str, Any]:
    manifest = (DEPLOY / "k8s" / "base" / "tf-serving.yaml").read_text()
    pod: dict[str, Any] = next(iter(yaml.safe_load_all(manifest)))["spec"]["template"]["spec"]
    return pod


def health_scripts() -> list[str]:
    """Return the shell scripts that check TensorFlow Serving's state."""
    (container,) = tf_serving_pod()["containers"]
    compose_test = compose()["services"]["tf-serving"]["healthcheck"]["test"]
    probes = [container[name]["exec"]["command"][-1] for name in ("startupProbe", "readinessProbe")]
    return [compose_test[-1].replace("$$", "$"), *probes]


def model_status(*versions: tuple[str, str]) -> bytes:
    """Return TensorFlow Serving's response, as it is formatted by `MessageToJsonString`."""
    status = [
        {
            "version": str(9 + i),
            "state": state,
            "status": {"error_code": code, "error_message": ""},
        }
        for i, (state, code) in enumerate(versions)
    ]
    return json.dumps({"model_version_status": status}, indent=1).encode()


@pytest.mark.parametrize(
    ("body", "is_healthy"),
    [
        (model_status(("AVAILABLE", "OK")), True),
        (model_status(("END", "OK"), ("AVAILABLE", "OK")), True),
        (model_status(("LOADING", "OK")), False),
        (model_status(("END", "UNAVAILABLE")), False),
        (b'{"error": "UNAVAILABLE: not AVAILABLE"}', False),
    ],
)
def test_only_an_available_version_is_healthy(body: bytes, is_healthy: bool) -> None:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for script in health_scripts():
            local = script.replace("/8501", f"/{server.server_address[1]}")
            result = subprocess.run(["bash", "-c", local], timeout=10, check=False)
            assert (result.returncode == 0) == is_healthy, script
        server.shutdown()


def test_sigterm_ends_tensorflow_serving_which_is_not_process_1() -> None:
    service = compose()["services"]["tf-serving"]
    assert service["init"] is True
    assert service["entrypoint"][0] == "/usr/bin/tensorflow_model_server"
    pod = tf_serving_pod()
    assert pod["shareProcessNamespace"] is True
    (container,) = pod["containers"]
    delay_s = int(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert 0 < delay_s < pod["terminationGracePeriodSeconds"]
