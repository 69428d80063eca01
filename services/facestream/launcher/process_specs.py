"""Specify the processes that `facestream up` runs: command, environment and readiness probe.

Configuration goes through the environment, never through arguments: every user of the machine can
read arguments, and camera URLs carry passwords.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from facestream.annotator.settings import AnnotatorSettings
from facestream.capture.settings import CaptureSettings
from facestream.common.cameras.models import Camera, check_unique_names
from facestream.common.core.errors import StartError
from facestream.common.core.paths import IS_INSTALLED, SOURCE_ROOT
from facestream.common.core.settings import CAMERAS_ENV, CONFIG_ENV
from facestream.launcher import embedded_broker, probes
from facestream.launcher.data_dir import data_dir
from facestream.launcher.probes import ProbeResult
from facestream.launcher.settings import EMBEDDED, UpSettings
from facestream.launcher.web_endpoint import WebEndpoint
from facestream.model_server.settings import ModelServerSettings

DEMO_CAMERA_NAME = "demo"
CAMERA_STATE_ENV = "FACESTREAM_CAPTURE_CAMERA_STATE_FILE"
CAMERA_STATE_NAME = "camera-state.json"
COUNTS_DB_NAME = "counts.sqlite3"
DEMO_COUNTS_DB_NAME = "demo-counts.sqlite3"  # keeps demo people out of the real counts

_BROKER, _MODEL_SERVER, _DEMO_CAMERA = "broker", "model-server", "demo-camera"
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """Specification of one process.

    start_after: processes that must have been ready before the first start of this one.
    stop_last: stop this process after the others, which need it to finish work in flight.
    suppress: output lines that contain one of these strings are discarded.
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
    endpoint: WebEndpoint,
    *,
    demo: bool,
    config_file: Path | None = None,
    cameras_file: Path | None = None,
    persists_cameras: bool = True,
) -> list[ProcessSpec]:
    """Return the processes to run, in starting order.

    Args:
        settings: settings of the launcher.
        cameras: cameras to read at start-up.
        folder: private folder for the broker's socket.
        endpoint: where the annotator listens, and its token.
        demo: add the demo camera.
        config_file: settings file of the services.
        cameras_file: YAML file of cameras, for capture.
        persists_cameras: save the cameras of the web UI in the user's data folder, unless a file is
            configured.

    Raises:
        StartError: a port is taken, no model exists, or this machine has no embedded broker.
        SettingsError: a camera has the demo camera's name.
    """
    _check_port(settings.host, settings.port)
    taken = {settings.port}
    common = _common_environment(settings, config_file)
    specs: list[ProcessSpec] = []
    broker: tuple[str, ...] = ()
    if settings.broker.get_secret_value() == EMBEDDED:
        common["FACESTREAM_BROKER"] = embedded_broker.broker_url(folder)
        specs.append(_broker_spec(folder, settings.broker_memory_mb))
        broker = (_BROKER,)
    model_server, worker_after = settings.model_server_address, broker
    if model_server == EMBEDDED:
        _check_model(config_file)
        port = _free_port(8500, taken)
        specs.append(_model_server_spec(common, port, _free_port(9103, taken)))
        model_server, worker_after = f"{_LOOPBACK}:{port}", (*broker, _MODEL_SERVER)
    capture_after = broker
    if demo:
        port = _free_port(8554, taken)
        specs.append(_demo_camera_spec(common, port))
        cameras = check_unique_names(
            [*cameras, Camera(name=DEMO_CAMERA_NAME, url=f"rtsp://{_LOOPBACK}:{port}/demo")]
        )
        capture_after = (*broker, _DEMO_CAMERA)
    urls = {c.name: c.url.get_secret_value().replace(" ", "%20") for c in cameras}
    capture = common | {CAMERAS_ENV: " ".join(f"{name}={url}" for name, url in urls.items())}
    if cameras_file is not None:
        capture["FACESTREAM_CAPTURE_CAMERAS_FILE"] = str(cameras_file.resolve())
    if persists_cameras and CaptureSettings.load(config_file=config_file).camera_state_file is None:
        capture[CAMERA_STATE_ENV] = str(data_dir() / CAMERA_STATE_NAME)
    worker = common | {"FACESTREAM_WORKER_MODEL_SERVER_ADDRESS": model_server}
    annotator = common | endpoint.environment
    if AnnotatorSettings.load(config_file=config_file).counts_db_file is None:
        counts = DEMO_COUNTS_DB_NAME if demo else COUNTS_DB_NAME
        annotator["FACESTREAM_ANNOTATOR_COUNTS_DB_FILE"] = str(data_dir() / counts)
    return [
        *specs,
        _service_spec("worker", worker, _free_port(9102, taken), start_after=worker_after),
        _service_spec("annotator", annotator, _free_port(9104, taken), start_after=broker),
        _service_spec("capture", capture, _free_port(9101, taken), start_after=capture_after),
    ]


def _common_environment(settings: UpSettings, config_file: Path | None) -> dict[str, str]:
    """Return the environment of every service, without cameras: only capture gets passwords."""
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


def _broker_spec(folder: Path, memory_mb: int) -> ProcessSpec:
    return ProcessSpec(
        _BROKER,
        embedded_broker.broker_command(),
        os.environ,
        lambda: probes.probe_broker(folder),
        stop_last=True,
        standard_input=embedded_broker.broker_configuration(folder, memory_mb),
        suppress=embedded_broker.SUPPRESSED_OUTPUT,
    )


def _model_server_spec(common: Mapping[str, str], port: int, health_port: int) -> ProcessSpec:
    environment = {
        **common,
        "FACESTREAM_MODEL_SERVER_HOST": _LOOPBACK,
        "FACESTREAM_MODEL_SERVER_PORT": str(port),
    }
    return _service_spec(_MODEL_SERVER, environment, health_port, stop_last=True)


def _demo_camera_spec(common: Mapping[str, str], port: int) -> ProcessSpec:
    return ProcessSpec(
        _DEMO_CAMERA,
        [
            sys.executable,
            "-m",
            "facestream",
            _DEMO_CAMERA,
            "--host",
            _LOOPBACK,
            "--port",
            str(port),
        ],
        common,
        lambda: probes.probe_rtsp(port),
    )


def _service_spec(
    name: str,
    environment: Mapping[str, str],
    health_port: int,
    *,
    start_after: tuple[str, ...] = (),
    stop_last: bool = False,
) -> ProcessSpec:
    prefix = f"FACESTREAM_{name.upper().replace('-', '_')}_HEALTH_"
    return ProcessSpec(
        name,
        [sys.executable, "-m", "facestream", name],
        {**environment, f"{prefix}HOST": _LOOPBACK, f"{prefix}PORT": str(health_port)},
        lambda: probes.probe_health(f"http://{_LOOPBACK}:{health_port}"),
        start_after,
        stop_last,
    )


def _check_port(host: str, port: int) -> None:
    try:
        _bind(host, port)
    except OSError as error:
        raise StartError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another port with --port"
        ) from None


def _check_model(config_file: Path | None) -> None:
    folder = ModelServerSettings.load(config_file=config_file).models_dir
    if not any(folder.glob("*/[0-9]*/saved_model.pb")):
        raise StartError(
            f"no model in {folder}; export one, or set --model-server-address to a running server"
        )


def _free_port(preferred: int, taken: set[int]) -> int:
    """Return a port that is free now and not in `taken`, and add it there."""
    port = preferred
    while port in taken or not _is_free(port):
        port = _bind(_LOOPBACK, 0)
    taken.add(port)
    return port


def _is_free(port: int) -> bool:
    try:
        _bind(_LOOPBACK, port)
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
