"""TensorFlow Serving's files, parsed with its own messages where available."""

from __future__ import annotations

import re

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
