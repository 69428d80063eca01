from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from facestream.common.cameras.models import Camera
from facestream.common.core.errors import SettingsError, StartError
from facestream.common.observability.health import Health, serve_health
from facestream.launcher import process_specs
from facestream.launcher.process_specs import ProbeResult, ProcessSpec, build_process_specs
from facestream.launcher.settings import UpSettings
from facestream.launcher.web_endpoint import WebEndpoint
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from tests.fixtures.stack import MODELS, free_port

OPEN = WebEndpoint("http://localhost:8080", "http://127.0.0.1:8080", {})
CAMERA = Camera.parse("door=rtsp://admin:hidden-word@10.0.0.9/1")


def planned(settings: UpSettings, folder: Path, *, demo: bool = False) -> dict[str, ProcessSpec]:
    return {
        part.name: part for part in build_process_specs(settings, [CAMERA], folder, OPEN, demo=demo)
    }


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> UpSettings:
    monkeypatch.setenv("FACESTREAM_MODEL_SERVER_MODELS_DIR", str(MODELS))
    return UpSettings(port=free_port())


def test_passwords_are_in_no_argument_and_only_where_they_are_needed(
    settings: UpSettings, tmp_path: Path
) -> None:
    found = planned(settings, tmp_path)
    for name, part in found.items():
        assert "hidden-word" not in " ".join(part.command)
        holds = any("hidden-word" in value for value in part.environment.values())
        assert holds == (name == "capture")


def test_only_what_is_not_given_is_started(settings: UpSettings, tmp_path: Path) -> None:
    assert set(planned(settings, tmp_path, demo=True)) == {
        "broker", "model-server", "demo-camera", "worker", "annotator", "capture",
    }  # fmt: skip
    given = settings.model_copy(
        update={"broker": SecretStr("redis://b:6379/0"), "model_server_address": "m:8500"}
    )
    found = planned(given, tmp_path)
    assert set(found) == {"worker", "annotator", "capture"}
    assert found["worker"].environment["FACESTREAM_BROKER"] == "redis://b:6379/0"
    assert found["worker"].environment["FACESTREAM_WORKER_MODEL_SERVER_ADDRESS"] == "m:8500"


def test_services_find_each_other(settings: UpSettings, tmp_path: Path) -> None:
    found = planned(settings, tmp_path, demo=True)
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
def test_no_port_is_given_to_two_parts(
    port: int, settings: UpSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_specs, "_is_free", lambda port: True)
    monkeypatch.setattr(process_specs, "_check_port", lambda host, port: None)
    found = planned(settings.model_copy(update={"port": port}), tmp_path, demo=True)
    taken = [
        value
        for part in found.values()
        for name, value in part.environment.items()
        if name.startswith("FACESTREAM_") and name.endswith("_PORT")
    ]
    assert len(taken) == len(set(taken)) >= 5
    assert str(port) not in taken, "it is the page's"


def test_a_blank_in_a_cameras_url_does_not_part_it(settings: UpSettings, tmp_path: Path) -> None:
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
        ("capture", "camera_state_file", "cameras.json", "cameras.json"),
    ],
)
def test_what_lasts_is_kept_in_the_users_data_folder_unless_told_otherwise(
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
    kept = planned(settings, tmp_path)[name].environment[variable]
    assert kept == str(tmp_path / "facestream" / file)
    demo = planned(settings, tmp_path, demo=True)[name].environment[variable]
    assert demo == str(tmp_path / "facestream" / demo_file)
    config = tmp_path / "config.yaml"
    config.write_text(f"{name}: {{{setting}: /srv/{file}}}")
    parts_ = build_process_specs(settings, [CAMERA], tmp_path, OPEN, demo=False, config_file=config)
    (part,) = [part for part in parts_ if part.name == name]
    assert variable not in part.environment
    monkeypatch.setenv(variable, f"/mnt/{file}")
    kept = planned(settings, tmp_path)[name].environment[variable]
    assert kept == f"/mnt/{file}"


def test_a_file_of_cameras_is_captures_to_read(
    settings: UpSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = build_process_specs(
        settings, [], tmp_path, OPEN, demo=False, cameras_file=Path("cameras.yaml")
    )
    told = {part.name: part.environment.get("FACESTREAM_CAPTURE_CAMERAS_FILE") for part in found}
    assert told.pop("capture") == os.fspath(tmp_path / "cameras.yaml")
    assert set(told.values()) == {None}


def test_a_camera_named_as_the_demo_camera_is_told(settings: UpSettings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'demo' is given twice"):
        build_process_specs(settings, [Camera.parse("demo=rtsp://h/1")], tmp_path, OPEN, demo=True)


def test_no_model_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESTREAM_MODEL_SERVER_MODELS_DIR", str(tmp_path))
    with pytest.raises(StartError, match="holds no model"):
        planned(UpSettings(port=free_port()), tmp_path)


@pytest.fixture
def health() -> Iterator[tuple[Health, str]]:
    state = Health(("broker",))
    server = serve_health(state, CollectorRegistry(), "127.0.0.1", 0)
    yield state, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_service_is_asked_what_it_misses(health: tuple[Health, str]) -> None:
    state, base = health
    state.mark_unavailable("broker", "connection refused")
    assert process_specs._answer_of_health(base) == ProbeResult(True, "broker: connection refused")
    state.mark_available("broker")
    assert process_specs._answer_of_health(base) == ProbeResult(True)


def test_parts_are_asked_directly_whatever_proxy_the_machine_has(
    health: tuple[Health, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state, base = health
    state.mark_available("broker")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    assert process_specs._answer_of_health(base) == ProbeResult(True)
    door = WebEndpoint("", base, {}, token="t" * 24)
    assert door.get("/readyz") == {"ready": True, "missing": {}}


def test_a_stuck_service_is_not_alive() -> None:
    class Stuck(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(json.dumps({"missing": {}}).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Stuck) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        answer = process_specs._answer_of_health(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert not answer.alive


@pytest.mark.parametrize("status", [200, 503])
def test_a_service_that_dies_while_it_answers_is_not_alive(status: int) -> None:
    class Dying(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"{")
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Dying) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        answer = process_specs._answer_of_health(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert not answer.alive
    assert "IncompleteRead" in answer.missing


def test_an_absent_service_is_not_alive() -> None:
    assert not process_specs._answer_of_health(f"http://127.0.0.1:{free_port()}").alive
    assert not process_specs._answer_of_rtsp(free_port()).alive
