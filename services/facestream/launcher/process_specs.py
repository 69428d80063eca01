"""The parts of a stack: which processes, in what environment, and how each is asked if it is ready.

Everything that a part is told goes through its environment, never its arguments: those any user of
the machine can read, and camera URLs carry passwords.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import urllib.error
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from facestream.annotator.settings import AnnotatorSettings
from facestream.capture.settings import CaptureSettings
from facestream.common.cameras.models import Camera, check_unique_names
from facestream.common.core.errors import StartError
from facestream.common.core.paths import IS_INSTALLED, SOURCE_ROOT
from facestream.common.core.settings import CAMERAS_ENV, CONFIG_ENV
from facestream.launcher import embedded_broker
from facestream.launcher.data_dir import data_folder
from facestream.launcher.local_http import ask
from facestream.launcher.settings import EMBEDDED, UpSettings
from facestream.launcher.web_endpoint import WebEndpoint
from facestream.model_server.settings import ModelServerSettings

PROBE_TIMEOUT_S = 2.0
DEMO_NAME = "demo"
KEPT_CAMERAS_ENV = "FACESTREAM_CAPTURE_CAMERA_STATE_FILE"
CAMERA_STATE_NAME = "cameras.json"
COUNTS_DB_NAME = "counts.sqlite3"
DEMO_COUNTS_NAME = "demo-counts.sqlite3"  # drawn people stand in nobody's real counts

_BROKER, _MODEL_SERVER, _DEMO = "broker", "model-server", "demo-camera"
_LOCAL = "127.0.0.1"
# IncompleteRead and its kin, of a server that dies while it answers, are no OSErrors.
_NO_ANSWER = (OSError, http.client.HTTPException, ValueError)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a part says of itself: alive or not, and what it misses (empty: it is ready)."""

    alive: bool
    missing: str = ""

    @property
    def ready(self) -> bool:
        """Alive and missing nothing."""
        return self.alive and not self.missing


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process of the stack.

    after: parts that must have been ready before this one is started the first time.
    last: it is stopped after the others, who need it to finish what is in hand.
    chatter: lines with one of these words in them are of no use to anybody.
    """

    name: str
    command: list[str]
    environment: Mapping[str, str]
    probe: Callable[[], ProbeResult]
    start_after: tuple[str, ...] = ()
    stop_last: bool = False
    standard_input: bytes = b""
    suppress: tuple[str, ...] = ()


def build_process_specs(
    settings: UpSettings,
    cameras: list[Camera],
    folder: Path,
    door: WebEndpoint,
    *,
    demo: bool,
    config_file: Path | None = None,
    cameras_file: Path | None = None,
    keeps_cameras: bool = True,
) -> list[ProcessSpec]:
    """The parts of this stack, in starting order.

    Args:
        cameras: to read from the start; `demo` adds the demo camera.
        folder: private to this stack, for the broker's socket.
        door: where the annotator listens, and for whom.
        keeps_cameras: those of the page, in the user's data folder, if nothing else is set.

    Raises:
        StartError: a port is taken, there is no model, or no embedded broker for this machine.
        SettingsError: a camera has the demo camera's name.
    """
    _check_port(settings.host, settings.port)
    taken = {settings.port}
    common = _environment(settings, config_file)
    parts: list[ProcessSpec] = []
    gate: tuple[str, ...] = ()
    if settings.broker.get_secret_value() == EMBEDDED:
        common["FACESTREAM_BROKER"] = embedded_broker.broker_url(folder)
        parts.append(_broker(folder, settings.broker_memory_mb))
        gate = (_BROKER,)
    model_server, worker_after = settings.model_server_address, gate
    if model_server == EMBEDDED:
        _check_model(config_file)
        port = _free_port(8500, taken)
        parts.append(_model_server(common, port, _free_port(9103, taken)))
        model_server, worker_after = f"{_LOCAL}:{port}", (*gate, _MODEL_SERVER)
    capture_after = gate
    if demo:
        port = _free_port(8554, taken)
        parts.append(_demo_camera(common, port))
        cameras = check_unique_names(
            [*cameras, Camera(name=DEMO_NAME, url=f"rtsp://{_LOCAL}:{port}/demo")]
        )
        capture_after = (*gate, _DEMO)
    urls = {c.name: c.url.get_secret_value().replace(" ", "%20") for c in cameras}
    capture = common | {CAMERAS_ENV: " ".join(f"{name}={url}" for name, url in urls.items())}
    if cameras_file is not None:
        capture["FACESTREAM_CAPTURE_CAMERAS_FILE"] = str(cameras_file.resolve())
    if keeps_cameras and CaptureSettings.load(config_file=config_file).camera_state_file is None:
        capture[KEPT_CAMERAS_ENV] = str(data_folder() / CAMERA_STATE_NAME)
    worker = common | {"FACESTREAM_WORKER_MODEL_SERVER_ADDRESS": model_server}
    annotator = common | door.environment
    if AnnotatorSettings.load(config_file=config_file).counts_db_file is None:
        counts = DEMO_COUNTS_NAME if demo else COUNTS_DB_NAME
        annotator["FACESTREAM_ANNOTATOR_COUNTS_DB_FILE"] = str(data_folder() / counts)
    return [
        *parts,
        _service("worker", worker, _free_port(9102, taken), after=worker_after),
        _service("annotator", annotator, _free_port(9104, taken), after=gate),
        _service("capture", capture, _free_port(9101, taken), after=capture_after),
    ]


def _environment(settings: UpSettings, config_file: Path | None) -> dict[str, str]:
    """What every service is told. No cameras: their passwords are for capture alone."""
    common = dict(os.environ) | {
        "FACESTREAM_BROKER": settings.broker.get_secret_value(),
        "FACESTREAM_LOG_LEVEL": settings.log_level,
        "PYTHONUNBUFFERED": "1",
    }
    if not IS_INSTALLED:
        paths = (str(SOURCE_ROOT), os.environ.get("PYTHONPATH"))
        common["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    common.pop(CAMERAS_ENV, None)
    if config_file is not None:
        common[CONFIG_ENV] = str(config_file.resolve())
    return common


def _broker(folder: Path, memory_mb: int) -> ProcessSpec:
    return ProcessSpec(
        _BROKER,
        embedded_broker.broker_command(),
        os.environ,
        lambda: _answer_of_broker(folder),
        stop_last=True,
        standard_input=embedded_broker.broker_configuration(folder, memory_mb),
        suppress=embedded_broker.CHATTER,
    )


def _model_server(common: Mapping[str, str], port: int, health_port: int) -> ProcessSpec:
    environment = {
        **common,
        "FACESTREAM_MODEL_SERVER_HOST": _LOCAL,
        "FACESTREAM_MODEL_SERVER_PORT": str(port),
    }
    return _service(_MODEL_SERVER, environment, health_port, last=True)


def _demo_camera(common: Mapping[str, str], port: int) -> ProcessSpec:
    return ProcessSpec(
        _DEMO,
        [sys.executable, "-m", "facestream", _DEMO, "--host", _LOCAL, "--port", str(port)],
        common,
        lambda: _answer_of_rtsp(port),
    )


def _service(
    name: str,
    environment: Mapping[str, str],
    health_port: int,
    *,
    after: tuple[str, ...] = (),
    last: bool = False,
) -> ProcessSpec:
    prefix = f"FACESTREAM_{name.upper().replace('-', '_')}_HEALTH_"
    return ProcessSpec(
        name,
        [sys.executable, "-m", "facestream", name],
        {**environment, f"{prefix}HOST": _LOCAL, f"{prefix}PORT": str(health_port)},
        lambda: _answer_of_health(f"http://{_LOCAL}:{health_port}"),
        after,
        last,
    )


def _check_port(host: str, port: int) -> None:
    try:
        _bind(host, port)
    except OSError as error:
        raise StartError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port"
        ) from None


def _check_model(config_file: Path | None) -> None:
    folder = ModelServerSettings.load(config_file=config_file).models_dir
    if not any(folder.glob("*/[0-9]*/saved_model.pb")):
        raise StartError(f"{folder}: holds no model; train and export one, or give --model-server")


def _free_port(preferred: int, taken: set[int]) -> int:
    """A port that is free now and none of those `taken`, to which it is added."""
    port = preferred
    while port in taken or not _is_free(port):
        port = _bind(_LOCAL, 0)
    taken.add(port)
    return port


def _is_free(port: int) -> bool:
    try:
        _bind(_LOCAL, port)
    except OSError:
        return False
    return True


def _bind(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        number: int = probe.getsockname()[1]
        return number


def _answer_of_broker(folder: Path) -> ProbeResult:
    missing = embedded_broker.ping(folder)
    return ProbeResult(not missing, missing)


def _answer_of_rtsp(port: int) -> ProbeResult:
    try:
        with socket.create_connection((_LOCAL, port), PROBE_TIMEOUT_S) as connection:
            connection.settimeout(PROBE_TIMEOUT_S)
            connection.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
            alive = connection.recv(64).startswith(b"RTSP/1.0 200")
            return ProbeResult(alive, "" if alive else "gives no answer")
    except OSError as error:
        return ProbeResult(False, error.strerror or str(error))


def _answer_of_health(base: str) -> ProbeResult:
    missing = ""
    try:
        try:
            _get(f"{base}/readyz")
        except urllib.error.HTTPError as error:
            with error:
                missing = _missing_of(error.read())
            _get(f"{base}/livez")
    except _NO_ANSWER as error:
        return ProbeResult(
            False, missing or str(getattr(error, "reason", error)) or "gives no answer"
        )
    return ProbeResult(True, missing)


def _missing_of(body: bytes) -> str:
    try:
        missing = json.loads(body)["missing"]
        return "; ".join(f"{need}: {why}" for need, why in missing.items()) or "not ready"
    except (ValueError, KeyError, AttributeError, TypeError):
        return "not ready"


def _get(url: str) -> bytes:
    with ask(url, PROBE_TIMEOUT_S) as answer:
        return answer.read()
