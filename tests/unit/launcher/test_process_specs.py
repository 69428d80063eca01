from __future__ import annotations

import os
from pathlib import Path

import pytest
from facestream.common.cameras.models import Camera
from facestream.common.core.errors import SettingsError, StartError
from facestream.launcher import process_specs
from facestream.launcher.process_specs import ProcessSpec, build_process_specs
from facestream.launcher.settings import UpSettings
from facestream.launcher.web_endpoint import WebEndpoint
from pydantic import SecretStr

from tests.fixtures.stack import MODELS, free_port

OPEN = WebEndpoint("http://localhost:8080", "http://127.0.0.1:8080", {})
CAMERA = Camera.parse("door=rtsp://admin:hidden-word@10.0.0.9/1")


def specs_by_name(
    settings: UpSettings, folder: Path, *, demo: bool = False
) -> dict[str, ProcessSpec]:
    return {
        spec.name: spec for spec in build_process_specs(settings, [CAMERA], folder, OPEN, demo=demo)
    }


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> UpSettings:
    monkeypatch.setenv("FACESTREAM_MODEL_SERVER_MODELS_DIR", str(MODELS))
    return UpSettings(port=free_port())


def test_passwords_are_only_in_the_environment_of_capture(
    settings: UpSettings, tmp_path: Path
) -> None:
    found = specs_by_name(settings, tmp_path)
    for name, spec in found.items():
        assert "hidden-word" not in " ".join(spec.command)
        holds = any("hidden-word" in value for value in spec.environment.values())
        assert holds == (name == "capture")


def test_configured_broker_and_model_server_are_not_started(
    settings: UpSettings, tmp_path: Path
) -> None:
    assert set(specs_by_name(settings, tmp_path, demo=True)) == {
        "broker", "model-server", "demo-camera", "worker", "annotator", "capture",
    }  # fmt: skip
    configured = settings.model_copy(
        update={"broker": SecretStr("redis://b:6379/0"), "model_server_address": "m:8500"}
    )
    found = specs_by_name(configured, tmp_path)
    assert set(found) == {"worker", "annotator", "capture"}
    assert found["worker"].environment["FACESTREAM_BROKER"] == "redis://b:6379/0"
    assert found["worker"].environment["FACESTREAM_WORKER_MODEL_SERVER_ADDRESS"] == "m:8500"


def test_services_find_each_other(settings: UpSettings, tmp_path: Path) -> None:
    found = specs_by_name(settings, tmp_path, demo=True)
    port = found["model-server"].environment["FACESTREAM_MODEL_SERVER_PORT"]
    assert (
        found["worker"].environment["FACESTREAM_WORKER_MODEL_SERVER_ADDRESS"] == f"127.0.0.1:{port}"
    )
    assert {found[name].environment["FACESTREAM_BROKER"] for name in ("worker", "capture")} == {
        f"unix://{tmp_path}/broker.sock"
    }
    assert "demo=rtsp://127.0.0.1:" in found["capture"].environment["FACESTREAM_CAMERAS"]
    assert found["capture"].start_after == ("broker", "demo-camera")


@pytest.mark.parametrize("port", [8500, 8554, 9101, 9102, 9103, 9104])
def test_every_process_has_its_own_port(
    port: int, settings: UpSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_specs, "_is_free", lambda port: True)
    monkeypatch.setattr(process_specs, "_check_port", lambda host, port: None)
    found = specs_by_name(settings.model_copy(update={"port": port}), tmp_path, demo=True)
    taken = [
        value
        for spec in found.values()
        for name, value in spec.environment.items()
        if name.startswith("FACESTREAM_") and name.endswith("_PORT")
    ]
    assert len(taken) == len(set(taken)) >= 5
    assert str(port) not in taken, "the web UI has it"


def test_spaces_in_a_camera_url_are_encoded(settings: UpSettings, tmp_path: Path) -> None:
    camera = Camera.parse("clip=file:///my clips/a b.mp4")
    capture = build_process_specs(settings, [camera], tmp_path, OPEN, demo=False)[-1]
    assert capture.name == "capture"
    assert capture.environment["FACESTREAM_CAMERAS"].split() == [
        "clip=file:///my%20clips/a%20b.mp4"
    ]


@pytest.mark.parametrize(
    ("name", "setting", "file", "demo_file"),
    [
        ("annotator", "counts_db_file", "counts.sqlite3", "demo-counts.sqlite3"),
        ("capture", "camera_state_file", "camera-state.json", "camera-state.json"),
    ],
)
def test_files_are_in_the_users_data_folder_by_default(
    name: str,
    setting: str,
    file: str,
    demo_file: str,
    settings: UpSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    variable = f"FACESTREAM_{name}_{setting}".upper()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    path = specs_by_name(settings, tmp_path)[name].environment[variable]
    assert path == str(tmp_path / "facestream" / file)
    demo = specs_by_name(settings, tmp_path, demo=True)[name].environment[variable]
    assert demo == str(tmp_path / "facestream" / demo_file)
    config = tmp_path / "config.yaml"
    config.write_text(f"{name}: {{{setting}: /srv/{file}}}")
    specs = build_process_specs(settings, [CAMERA], tmp_path, OPEN, demo=False, config_file=config)
    (spec,) = [spec for spec in specs if spec.name == name]
    assert variable not in spec.environment
    monkeypatch.setenv(variable, f"/mnt/{file}")
    path = specs_by_name(settings, tmp_path)[name].environment[variable]
    assert path == f"/mnt/{file}"


def test_only_capture_gets_the_cameras_file(
    settings: UpSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = build_process_specs(
        settings, [], tmp_path, OPEN, demo=False, cameras_file=Path("cameras.yaml")
    )
    files = {spec.name: spec.environment.get("FACESTREAM_CAPTURE_CAMERAS_FILE") for spec in found}
    assert files.pop("capture") == os.fspath(tmp_path / "cameras.yaml")
    assert set(files.values()) == {None}


def test_camera_named_like_the_demo_camera_is_an_error(
    settings: UpSettings, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="'demo' is given twice"):
        build_process_specs(settings, [Camera.parse("demo=rtsp://h/1")], tmp_path, OPEN, demo=True)


def test_missing_model_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESTREAM_MODEL_SERVER_MODELS_DIR", str(tmp_path))
    with pytest.raises(StartError, match="no model in "):
        specs_by_name(UpSettings(port=free_port()), tmp_path)
