"""Test of the wheel as a user installs it: in an empty environment, outside the checkout.

Needs a package index for the dependencies, and about two minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from facestream import __version__
from facestream.common.core.paths import CHECKOUT, SAMPLES_DIR

from tests.fixtures.polling import wait_for
from tests.fixtures.stack import free_port

pytestmark = pytest.mark.slow

MAX_WHEEL_BYTES = 20 * 1024 * 1024
SOURCES = ("services", "models", "samples")
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "NOTICE")
THREE_LINES = """
from facestream import Predictor
for face in Predictor().faces_in_file("obama.jpg"):
    print(face.age, face.female)
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, install it with all extras, and return the folder of its environment."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:  # a copy: a build in the checkout leaves files there
        shutil.copytree(CHECKOUT / name, source / name, ignore=skip)
    for name in FILES:
        shutil.copy(CHECKOUT / name, source)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist")]
    environ = clean_environment(folder)
    subprocess.run([*build, str(source)], check=True, capture_output=True, timeout=300, env=environ)
    (wheel,) = (folder / "dist").glob("*.whl")
    assert wheel.stat().st_size <= MAX_WHEEL_BYTES
    assert len(list((folder / "dist").glob("*.tar.gz"))) == 1
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, timeout=120)
    install = [str(environment / "bin" / "pip"), "install", "--quiet", f"{wheel}[all]"]
    subprocess.run(install, check=True, timeout=900, env=environ)
    return environment


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Create an empty home folder with one image in it."""
    shutil.copy(SAMPLES_DIR / "obama.jpg", tmp_path)
    return tmp_path


def clean_environment(home: Path) -> dict[str, str]:
    """Return an environment without this checkout and without the caches of this user."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FACESTREAM_", "XDG_"))}
    kept.pop("PYTHONPATH", None)
    return {**kept, "HOME": str(home)}


@pytest.fixture
def run(installed: Path, home: Path) -> Run:
    """Return a function that runs a program of the environment in the home folder."""

    def run_program(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(installed / "bin" / program), *arguments],
            cwd=home,
            env=clean_environment(home),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run_program


def test_version_and_predict(run: Run, home: Path) -> None:
    assert run("facestream", "--version").stdout == f"facestream {__version__}\n"
    done = run("facestream", "predict", "obama.jpg", "--json")
    assert done.returncode == 0, done.stderr
    (record,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert record["female"] < 0.1
    assert 35 < record["age"] < 70
    assert not (home / "intel").exists(), "OpenVINO's telemetry writes this folder"


def test_predictor_in_three_lines(run: Run) -> None:
    done = run("python", "-c", THREE_LINES)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_training_needs_a_source_checkout(run: Run) -> None:
    done = run("facestream", "train")
    assert done.returncode == 2
    assert "train needs a source checkout" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_up_with_the_demo_camera_finds_people(installed: Path, home: Path) -> None:
    port = free_port()
    command = [str(installed / "bin" / "facestream"), "up", "--demo", "--port", str(port)]
    with (home / "output").open("w+") as output:
        process = subprocess.Popen(
            command,
            cwd=home,
            env=clean_environment(home),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_for(
                lambda: (
                    "ready after" in (home / "output").read_text() or process.poll() is not None
                ),
                "ready",
                180,
            )
            assert process.poll() is None, (home / "output").read_text()
            wait_for(lambda: estimated_people(port), "a person with an estimated age", 90)
            process.send_signal(signal.SIGINT)
            assert process.wait(15) == 0
        finally:
            process.kill()
    assert not (home / "intel").exists(), "OpenVINO's telemetry writes this folder"


def estimated_people(port: int) -> list[Any]:
    """Return the people in view of the demo camera that have an age."""
    try:
        url = f"http://127.0.0.1:{port}/api/cameras/demo/people"
        with urllib.request.urlopen(url, timeout=3) as response:
            people = json.load(response)
    except (OSError, ValueError):
        return []
    return [person for person in people if person["age"] is not None]
