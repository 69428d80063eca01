"""The Compose files: valid in every combination, closed to the outside, true to the services."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from facestream.annotator.settings import AnnotatorSettings
from facestream.capture.settings import CaptureSettings
from facestream.common.cameras.config_file import load_cameras
from facestream.common.core.paths import CHECKOUT
from facestream.common.core.settings import CAMERAS_ENV, CONFIG_ENV, ENV_PREFIX, CommonSettings
from facestream.common.security.token_files import read_token
from facestream.model_server.settings import ModelServerSettings
from facestream.worker.settings import WorkerSettings

from tests.fixtures.deploy import COMBINATIONS, DEPLOY, compose

SETTINGS: dict[str, type[CommonSettings]] = {
    "capture": CaptureSettings,
    "worker": WorkerSettings,
    "annotator": AnnotatorSettings,
    "model-server": ModelServerSettings,
}
NO_SHELL = {"redis-exporter"}  # its image has one program, so no health check can run in it
ONE_SHOT = {"demo-camera-added"}


# Fixed by the Compose files: containers must find each other, and passwords stay in files.
FIXED = {"host", "port", "health_host", "health_port", "broker"}


def services(*extra: str) -> dict[str, Any]:
    found: dict[str, Any] = compose(*extra, demo=True)["services"]
    return found


def set_variables(service: dict[str, Any]) -> dict[str, str]:
    """Return a service's variables without those that are passed through but not set."""
    found = service.get("environment", {})
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize("extra", COMBINATIONS, ids="+".join)
def test_only_the_web_ui_and_grafana_are_published_and_only_on_loopback(
    extra: tuple[str, ...],
) -> None:
    published = {
        name: [(port["host_ip"], port["published"], port["target"]) for port in service["ports"]]
        for name, service in services(*extra).items()
        if service.get("ports")
    }
    assert published == {
        "annotator": [("127.0.0.1", "8080", 8080)],
        "grafana": [("127.0.0.1", "3000", 3000)],
    }


@pytest.mark.parametrize("extra", COMBINATIONS, ids="+".join)
def test_internal_services_are_on_the_internal_network_only(extra: tuple[str, ...]) -> None:
    merged = compose(*extra, demo=True)
    assert [n for n, net in merged["networks"].items() if net.get("internal")] == ["internal"]
    outside = {
        name: sorted(set(service["networks"]) - {"internal"})
        for name, service in merged["services"].items()
        if set(service["networks"]) != {"internal"}
    }
    assert outside == {
        "annotator": ["frontend"],
        "capture": ["cameras"],
        "demo-camera": ["cameras"],
        "grafana": ["frontend"],
    }


@pytest.mark.parametrize("extra", COMBINATIONS, ids="+".join)
def test_every_container_has_limits_and_no_privileges(extra: tuple[str, ...]) -> None:
    for name, service in services(*extra).items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert int(service["mem_limit"]) > 0, name
        assert service["memswap_limit"] == service["mem_limit"], f"{name} may swap faces to disk"
        # Compose prints a limit of 0 as an empty mapping.
        assert service["ulimits"]["core"] in ({}, 0, {"soft": 0, "hard": 0}), name
        assert service["pids_limit"] > 0, name
        assert service["logging"]["options"]["max-size"], name
        assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped"), name
        assert re.search(r":v?\d[\w.-]*\d[\w.-]*$", service["image"]), service["image"]


@pytest.mark.parametrize("extra", COMBINATIONS, ids="+".join)
def test_monitoring_and_demo_have_cpu_limits_of_one_core(extra: tuple[str, ...]) -> None:
    limits = {name: service.get("cpus") for name, service in services(*extra).items()}
    limited = {name for name, cpus in limits.items() if cpus is not None}
    assert limited == {
        "demo-camera",
        "demo-camera-added",
        "grafana",
        "prometheus",
        "redis-exporter",
    }
    assert all(0 < float(limits[name]) <= 1 for name in limited)


@pytest.mark.parametrize("extra", COMBINATIONS, ids="+".join)
def test_memory_file_systems_have_a_size(extra: tuple[str, ...]) -> None:
    for name, service in services(*extra).items():
        for mount in service["tmpfs"]:
            size = re.fullmatch(r"/\w+:size=(\d+)m", mount)
            assert size, (name, mount)
            assert int(size[1]) * 2**20 <= int(service["mem_limit"]), name


@pytest.mark.parametrize("extra", COMBINATIONS, ids="+".join)
def test_every_service_starts_after_its_dependencies_are_healthy(extra: tuple[str, ...]) -> None:
    found = services(*extra)
    for name, service in found.items():
        own = service["image"].startswith("facestream/")
        assert own or "healthcheck" in service or name in NO_SHELL, name
        for dependency, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy", (name, dependency)
            assert dependency in found
            assert dependency not in NO_SHELL | ONE_SHOT
    server = "model-server" if extra == ("compose.openvino.yml",) else "tf-serving"
    assert set(found["worker"]["depends_on"]) == {"redis", server}
    assert ("tf-serving" in found) == (server == "tf-serving")
    assert (
        found["worker"]["environment"]["FACESTREAM_WORKER_MODEL_SERVER_ADDRESS"] == f"{server}:8500"
    )


@pytest.mark.parametrize("extra", COMBINATIONS, ids="+".join)
def test_every_variable_is_a_setting_and_none_is_a_password(extra: tuple[str, ...]) -> None:
    for name, service in services(*extra).items():
        environment = set_variables(service)
        for variable, value in environment.items():
            is_file = str(value).startswith("/run/secrets/")
            assert is_file or not re.search(r"PASSWORD|SECRET|TOKEN|BROKER", variable), variable
        if name in SETTINGS:
            if name != "model-server":
                assert environment.pop(CONFIG_ENV) == f"/run/secrets/{name}.yaml"
            environment.pop(CAMERAS_ENV, None)
            SETTINGS[name].load(environ=environment)


def test_the_variables_in_the_header_are_those_that_the_files_interpolate() -> None:
    files = ("docker-compose.yml", *(name for extra in COMBINATIONS for name in extra))
    interpolated = {
        v for name in files for v in re.findall(r"\$\{([A-Z_]+)", (CHECKOUT / name).read_text())
    }
    settings = {v for v in interpolated if v.startswith(ENV_PREFIX)}
    header = (CHECKOUT / "docker-compose.yml").read_text().split("\nname:")[0]
    header = header.split("# Variables of this file")[1]
    assert interpolated - settings == set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b|\bTZ\b", header))
    known = {
        f"{ENV_PREFIX}{settings_class.section}_{field}".upper()
        for settings_class in SETTINGS.values()
        for field in settings_class.model_fields
    }
    assert settings <= known, "an exported variable that is no setting stops every service"


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_of_a_service_is_set_or_passed_through(name: str) -> None:
    environment = services("compose.openvino.yml")[name]["environment"]
    section = SETTINGS[name].section
    wanted = {
        f"{ENV_PREFIX}{section}_{field}".upper()
        for field in SETTINGS[name].model_fields
        if field not in FIXED and (name, field) != ("model-server", "models_dir")
    }
    assert wanted | {f"{ENV_PREFIX}LOG_LEVEL"} <= set(environment)


@pytest.mark.parametrize("wanted", ["", "stats-only"])
def test_a_setting_of_the_environment_reaches_its_container(
    wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FACESTREAM_CAPTURE_PRIVACY_MODE", raising=False)
    if wanted:
        monkeypatch.setenv("FACESTREAM_CAPTURE_PRIVACY_MODE", wanted)
    environment = set_variables(compose.__wrapped__()["services"]["capture"])
    environment = {k: v for k, v in environment.items() if k not in (CONFIG_ENV, CAMERAS_ENV)}
    expected = wanted or CaptureSettings().privacy_mode
    assert CaptureSettings.load(environ=environment).privacy_mode == expected


def test_replicas_are_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPTURE_REPLICAS", "2")
    monkeypatch.setenv("WORKER_REPLICAS", "3")
    found = compose.__wrapped__()["services"]
    assert (found["capture"]["scale"], found["worker"]["scale"]) == (2, 3)


def test_the_example_of_dotenv_names_variables_that_exist() -> None:
    example = (CHECKOUT / ".env.example").read_text()
    named = set(re.findall(r"^#?([A-Z][A-Z_]+)=", example, re.MULTILINE))
    files = ("docker-compose.yml", "compose.openvino.yml", "compose.gpu.yml")
    text = "".join((CHECKOUT / name).read_text() for name in files)
    known = set(re.findall(r"\b[A-Z][A-Z_]+\b", text)) | {"COMPOSE_FILE", "COMPOSE_PROFILES"}
    assert named <= known, named - known


def test_services_and_compose_read_what_init_secrets_writes(tmp_path: Path) -> None:
    script = str(DEPLOY / "init-secrets.sh")
    subprocess.run(["sh", script, str(tmp_path)], check=True)
    secrets = tmp_path / "deploy" / "secrets"
    assert secrets.stat().st_mode & 0o777 == 0o700
    named = {name for name in compose()["secrets"] if name != "cameras.yaml"}
    assert {file.name for file in secrets.iterdir()} == named

    passwords = set()
    for name in ("capture", "worker", "annotator"):
        url = CommonSettings.load(config_file=secrets / f"{name}.yaml", environ={}).broker
        user, _, password = (
            url.get_secret_value().split("@")[0].removeprefix("redis://").partition(":")
        )
        assert user == name
        assert len(password) == 48
        assert f"user {name} on >{password} " in (secrets / "redis-users.acl").read_text()
        assert password not in (secrets / "redis-exporter.json").read_text()
        passwords.add(password)
    assert len(passwords) == 3
    assert len(read_token(secrets / "admin-token")) == 48
    assert load_cameras(tmp_path / "cameras.yaml") == []

    before = {file: file.read_text() for file in secrets.iterdir()}
    (tmp_path / "cameras.yaml").write_text("cameras: [{name: door, url: 'rtsp://a/b'}]\n")
    subprocess.run(["sh", script, str(tmp_path)], check=True)
    assert {file: file.read_text() for file in secrets.iterdir()} == before
    assert [camera.name for camera in load_cameras(tmp_path / "cameras.yaml")] == ["door"]

    users = secrets / "redis-users.acl"  # of version 0.1.0, which had other key names
    users.write_text(users.read_text().replace("phone-frames:", "phone:"))
    subprocess.run(["sh", script, str(tmp_path)], check=True)
    assert users.read_text().count("~facestream:phone-frames:") == 2


def test_the_example_cameras_are_valid_once_uncommented(tmp_path: Path) -> None:
    lines = (CHECKOUT / "cameras.example.yaml").read_text().splitlines()
    shown = lines[lines.index("# cameras:") : -1]
    file = tmp_path / "cameras.yaml"
    file.write_text("\n".join(line.removeprefix("# ") for line in shown))
    assert [camera.name for camera in load_cameras(file)] == ["door", "shop", "phone"]


def test_memory_alerts_use_the_containers_limits() -> None:
    limits = {
        name: int(service["mem_limit"])
        for extra in COMBINATIONS
        for name, service in services(*extra).items()
        if name in SETTINGS
    }
    rules = yaml.safe_load((DEPLOY / "prometheus/rules/recording.yml").read_text())["groups"]
    alert_limits = {
        rule["labels"]["job"]: int(re.fullmatch(r"vector\((\d+)\)", rule["expr"])[1])  # type: ignore[index]
        for group in rules
        for rule in group["rules"]
        if rule["record"] == "job:memory_limit_bytes"
    }
    assert alert_limits == limits


def test_prometheus_scrapes_every_service_at_its_port() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    scraped = {
        target["names"][0]: target["port"]
        for job in config["scrape_configs"]
        for target in job.get("dns_sd_configs", ())
    }
    defaults: dict[str, int] = {
        name: settings().health_port  # type: ignore[attr-defined]
        for name, settings in SETTINGS.items()
    }
    assert scraped == defaults | {"tf-serving": 8501, "redis-exporter": 9121}
    known = {name for extra in COMBINATIONS for name in services(*extra)}
    assert set(scraped) <= known
