"""Tests that OpenVINO's telemetry is disabled."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from facestream.common.core.paths import CHECKOUT

# Imports everything that uses OpenVINO and lists what telemetry would do: name look-ups,
# connections and processes.
SCRIPT = """
import sys
events = []
WATCHED = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.fork", "os.posix_spawn")
sys.addaudithook(lambda event, args: events.append(event) if event in WATCHED else None)
import facestream.common.vision.exported_model
import facestream.common.vision.face_detector
import facestream.model_server.model
import facestream.predict
import openvino.tools.ovc
events += ["telemetry imported"] if sys.modules["openvino_telemetry"] else []
print(events)
"""
DIRECT_IMPORT = re.compile(r"^\s*(import openvino|from openvino)\b", re.MULTILINE)


def test_importing_openvino_sends_nothing_and_writes_nothing(tmp_path: Path) -> None:
    fake = tmp_path / "packages" / "openvino_telemetry"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text("import os; os.posix_spawn('/bin/true', ['true'], {})")
    home = tmp_path / "home"
    home.mkdir()
    path = os.pathsep.join((str(fake.parent), str(CHECKOUT / "services")))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "HOME": str(home), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert list(home.iterdir()) == []


def test_openvino_is_imported_from_one_module_only() -> None:
    runtime = CHECKOUT / "services/facestream/common/vision/openvino_runtime.py"
    folders = ("services", "training", "benchmarks", "tests", "tools", "examples")
    files = {file for folder in folders for file in (CHECKOUT / folder).rglob("*.py")}
    assert runtime in files
    exempt = {runtime, Path(__file__)}
    assert [f for f in files - exempt if DIRECT_IMPORT.search(f.read_text())] == []


def test_no_lock_file_has_the_telemetry_package() -> None:
    locks = list((CHECKOUT / "requirements").glob("*.txt"))
    assert locks
    assert [lock for lock in locks if "openvino-telemetry" in lock.read_text()] == []
