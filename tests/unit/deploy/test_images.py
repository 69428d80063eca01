"""The Dockerfile: lint-free and complete; its health check agrees with the service."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from facestream.common.core.paths import CHECKOUT
from facestream.common.observability.health import Health, serve_health
from facestream.demo.h264_packetizer import Clip
from facestream.demo.rtsp_server import RtspServer, running
from prometheus_client import CollectorRegistry

from tests.fixtures.deploy import DEPLOY, run, tool
from tests.fixtures.stack import make_clip

DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
PROBE = DEPLOY / "docker" / "healthcheck.py"
MODULES = {
    "worker": "facestream.worker.service",
    "capture": "facestream.capture.service",
    "annotator": "facestream.annotator.service",
    "model-server": "facestream.model_server.service",
    "demo-camera": "facestream.demo.demo_camera",
}


def stages() -> dict[str, list[str]]:
    """The instructions of each stage, continued lines joined."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in DOCKERFILE.read_text().replace("\\\n", " ").splitlines():
        if match := re.match(r"FROM (\S+) AS (\S+)", line):
            name = match[2]
            found[name] = [line]
        elif name and line and not line.startswith("#"):
            found[name].append(line)
    return found


def test_hadolint_reports_no_problem() -> None:
    run(tool("hadolint"), str(DOCKERFILE))


@pytest.mark.parametrize("target", MODULES)
def test_each_image_sets_user_health_check_and_command(target: str) -> None:
    made = stages()
    own = made["service"] + made[target]
    assert "USER 10001:10001" in own
    assert sum(line.startswith("HEALTHCHECK") for line in own) == 1
    assert sum(line.startswith("CMD [") for line in own) == 1
    assert not any(line.startswith("RUN") for line in own), "nothing is installed in a last stage"
    assert f"COPY --from={target}-packages /opt/venv /opt/venv" in own
    (listed,) = re.findall(r"COPY (requirements/\S+)", "\n".join(made[f"{target}-packages"]))
    assert "--hash=sha256:" in (CHECKOUT / listed).read_text()


def test_dockerignore_admits_every_copied_file() -> None:
    rules = [line for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line]
    sent = [line[1:] for line in rules if line.startswith("!")]
    copied = [
        source
        for lines in stages().values()
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    assert copied
    for source in copied:
        assert (CHECKOUT / source).exists(), source
        assert any(Path(source).match(rule) or source.startswith(rule) for rule in sent), source


@pytest.mark.parametrize("target", MODULES)
def test_each_image_has_all_code_that_its_service_imports(target: str, tmp_path: Path) -> None:
    made = stages()
    for line in made["service"] + made[target]:
        if line.startswith("COPY --from=code"):
            *sources, destination = line.split()[2:]
            for source in sources:
                if source.endswith("__pycache__"):
                    continue
                inside, outside = source.removeprefix("/app/"), destination.removeprefix("/app/")
                if (CHECKOUT / inside).is_dir():
                    skip = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(CHECKOUT / inside, tmp_path / outside, ignore=skip)
                else:
                    (tmp_path / outside).mkdir(parents=True, exist_ok=True)
                    shutil.copy(CHECKOUT / inside, tmp_path / outside)
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'services')!r})\n"
        f"import facestream.cli, {MODULES[target]} as own\n"
        f"assert own.__file__.startswith({str(tmp_path)!r}), own.__file__"
    )
    environment = {"PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def probe(port: int, request: str) -> int:
    return subprocess.run([sys.executable, "-I", "-S", str(PROBE), str(port), request]).returncode


def test_the_health_check_distinguishes_ready_not_ready_and_down() -> None:
    health = Health(("broker",))
    server = serve_health(health, CollectorRegistry(), "127.0.0.1", 0)
    try:
        assert probe(server.server_port, "GET /readyz HTTP/1.0") == 1
        assert probe(server.server_port, "GET /livez HTTP/1.0") == 0
        health.mark_available("broker")
        assert probe(server.server_port, "GET /readyz HTTP/1.0") == 0
    finally:
        server.shutdown()
        server.server_close()
    assert probe(server.server_port, "GET /readyz HTTP/1.0") == 1


def test_the_health_check_supports_rtsp(tmp_path: Path) -> None:
    clip = Clip.load(make_clip(tmp_path / "clip.mp4", seconds=0.5))
    with running(RtspServer({"demo": clip}, port=0)) as server:
        began_s = time.monotonic()
        assert probe(server.port, "OPTIONS * RTSP/1.0") == 0
        assert time.monotonic() - began_s < 2
        assert probe(server.port, "NONSENSE") == 1


def test_the_worker_image_has_no_opencv_and_no_tensorflow() -> None:
    """OpenCV is larger than the rest of the worker image, TensorFlow far larger."""
    locked = (CHECKOUT / "requirements" / "worker.txt").read_text()
    assert not re.search("^(opencv|tensorflow)", locked, re.MULTILINE)
    script = "import sys, facestream.worker.service; print(*{'cv2', 'tensorflow'} & {*sys.modules})"
    assert run(sys.executable, "-c", script).strip() == ""


def test_every_image_has_oci_labels() -> None:
    text = " ".join(stages()["service"])
    for name in ("title", "description", "licenses"):
        assert f"org.opencontainers.image.{name}=" in text
    assert all(stages()[name][0].startswith("FROM service ") for name in MODULES)
