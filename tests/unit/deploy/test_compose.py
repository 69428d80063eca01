"""The compose files: valid in every combination, shut to the outside, and true to the services."""

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
NO_SHELL = {"redis-exporter"}  # its image holds one program: nothing to check its health with
ONE_SHOT = {"demo-camera-added"}


def services(*extra: str) -> dict[str, Any]:
    found: dict[str, Any] = compose(*extra, demo=True)["services"]
    return found


@pytest.mark.parametrize("extra", COMBINATIONS, ids="+".join)
def test_only_the_page_and_grafana_can_be_reached_and_only_from_this_machine(
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
def test_what_needs_nobody_outside_reaches_nobody(extra: tuple[str, ...]) -> None:
    merged = compose(*extra, demo=True)
    assert [n for n, net in merged["networks"].items() if net.get("internal")] == ["inside"]
    outside = {
        name: sorted(set(service["networks"]) - {"inside"})
        for name, service in merged["services"].items()
        if set(service["networks"]) != {"inside"}
    }
    assert outside == {
        "annotator": ["front"],
        "capture": ["cameras"],
        "demo-camera": ["cameras"],
        "grafana": ["front"],
    }


@pytest.mark.parametrize("extra", COMBINATIONS, ids="+".join)
def test_every_container_is_bounded_and_has_no_rights(extra: tuple[str, ...]) -> None:
    for name, service in services(*extra).items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert int(service["mem_limit"]) > 0, name
        assert service["pids_limit"] > 0, name
        assert service["logging"]["options"]["max-size"], name
        assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped"), name
        assert re.search(r":v?\d[\w.-]*\d[\w.-]*$", service["image"]), service["image"]


@pytest.mark.parametrize("extra", COMBINATIONS, ids="+".join)
def test_nobody_starts_before_what_it_needs_is_healthy(extra: tuple[str, ...]) -> None:
    found = services(*extra)
    for name, service in found.items():
        own = service["image"].startswith("facestream/")
        assert own or "healthcheck" in service or name in NO_SHELL, name
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy", (name, needed)
            assert needed in found
            assert needed not in NO_SHELL | ONE_SHOT
    server = "model-server" if extra == ("compose.openvino.yml",) else "tf-serving"
    assert set(found["worker"]["depends_on"]) == {"redis", server}
    assert ("tf-serving" in found) == (server == "tf-serving")
    assert (
        found["worker"]["environment"]["FACESTREAM_WORKER_MODEL_SERVER_ADDRESS"] == f"{server}:8500"
    )


@pytest.mark.parametrize("extra", COMBINATIONS, ids="+".join)
def test_every_variable_is_a_setting_and_none_is_a_password(extra: tuple[str, ...]) -> None:
    for name, service in services(*extra).items():
        environment = dict(service.get("environment", {}))
        for variable, value in environment.items():
            is_file = str(value).startswith("/run/secrets/")
            assert is_file or not re.search(r"PASSWORD|SECRET|TOKEN|BROKER", variable), variable
        if name in SETTINGS:
            if name != "model-server":
                assert environment.pop(CONFIG_ENV) == f"/run/secrets/{name}.yaml"
            environment.pop(CAMERAS_ENV, None)
            SETTINGS[name].load(environ=environment)


def test_the_variables_at_the_top_are_those_that_the_files_ask_for() -> None:
    files = ("docker-compose.yml", *(name for extra in COMBINATIONS for name in extra))
    asked = {
        v for name in files for v in re.findall(r"\$\{([A-Z_]+)", (CHECKOUT / name).read_text())
    }
    head = (CHECKOUT / "docker-compose.yml").read_text().split("\nname:")[0].split("# Variables")[1]
    assert asked == set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b|\bTZ\b", head))
    # Whoever exports one must not be told by the services that they know no such setting.
    assert not any(variable.startswith(ENV_PREFIX) for variable in asked)


@pytest.mark.parametrize("wanted", ["live", "stats-only"])
def test_privacy_of_the_installation_is_what_the_variable_says(
    wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAPTURE_PRIVACY_MODE", "" if wanted == "live" else wanted)
    merged = compose.__wrapped__()
    environment = merged["services"]["capture"]["environment"]
    environment = {k: v for k, v in environment.items() if k not in (CONFIG_ENV, CAMERAS_ENV)}
    assert CaptureSettings.load(environ=environment).privacy_mode == wanted


def test_what_prepare_writes_is_what_the_services_and_the_stack_read(tmp_path: Path) -> None:
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

    users = secrets / "redis-users.acl"  # of a version that knew the broker's boot by another name
    users.write_text(users.read_text().replace("{facestream:cameras}:*", "facestream:boot"))
    subprocess.run(["sh", script, str(tmp_path)], check=True)
    assert users.read_text().count("~{facestream:cameras}:") == 2


def test_the_cameras_of_the_example_are_right_once_uncommented(tmp_path: Path) -> None:
    lines = (CHECKOUT / "cameras.example.yaml").read_text().splitlines()
    shown = lines[lines.index("# cameras:") : -1]
    file = tmp_path / "cameras.yaml"
    file.write_text("\n".join(line.removeprefix("# ") for line in shown))
    assert [camera.name for camera in load_cameras(file)] == ["door", "shop", "phone"]


def test_memory_alerts_know_the_limits_of_the_containers() -> None:
    limits = {
        name: int(service["mem_limit"])
        for extra in COMBINATIONS
        for name, service in services(*extra).items()
        if name in SETTINGS
    }
    rules = yaml.safe_load((DEPLOY / "prometheus/rules/recording.yml").read_text())["groups"]
    caps = {
        rule["labels"]["job"]: int(re.fullmatch(r"vector\((\d+)\)", rule["expr"])[1])  # type: ignore[index]
        for group in rules
        for rule in group["rules"]
        if rule["record"] == "job:memory_limit_bytes"
    }
    assert caps == limits


def test_prometheus_asks_every_service_at_the_port_it_listens_on() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    asked = {
        target["names"][0]: target["port"]
        for job in config["scrape_configs"]
        for target in job.get("dns_sd_configs", ())
    }
    defaults: dict[str, int] = {
        name: settings().health_port  # type: ignore[attr-defined]
        for name, settings in SETTINGS.items()
    }
    assert asked == defaults | {"tf-serving": 8501, "redis-exporter": 9121}
    known = {name for extra in COMBINATIONS for name in services(*extra)}
    assert set(asked) <= known
