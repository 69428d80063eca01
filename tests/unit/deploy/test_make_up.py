"""`make up` after another configuration: which services it removes, and when."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from facestream.common.core.paths import CHECKOUT

from tests.fixtures.deploy import DEPLOY, tool

# Docker without an engine: lists the services in STARTED and records the commands it gets. The real
# Docker Compose evaluates the configuration.
DOCKER = """\
#!{python} -IS
import os, subprocess, sys

options, arguments = [], sys.argv[2:]
while arguments[0].startswith("-"):
    options += [arguments.pop(0), arguments.pop(0)]
verb = arguments.pop(0)
names = [argument for argument in arguments if not argument.startswith("-")]
config = ["{compose}", *options, "config", "--services"]
known = subprocess.run(config, check=True, capture_output=True, text=True).stdout
if verb == "config":
    print(known, end="")
elif verb == "port":
    print("127.0.0.1:8080")
else:
    assert set(names) <= set(known.split()), "no such service"
    if verb == "ps":
        print("\\n".join(name for name in names if name in os.environ["STARTED"].split()))
    else:
        with open("commands", "a") as commands:
            print(verb, *names, file=commands)
"""
DEMO = "demo-camera demo-camera-added"


def make_up(folder: Path, *variables: str, started: str, dotenv: str = "") -> list[str]:
    """Return the Docker Compose commands of `make up`, in order."""
    for name in ("Makefile", "cameras.example.yaml", "docker-compose.yml", "compose.gpu.yml"):
        shutil.copy(CHECKOUT / name, folder)
    shutil.copy(CHECKOUT / "compose.openvino.yml", folder)
    (folder / "deploy").mkdir()
    shutil.copy(DEPLOY / "init-secrets.sh", folder / "deploy")
    (folder / ".env").write_text(dotenv)
    docker = folder / "docker"
    docker.write_text(DOCKER.format(python=sys.executable, compose=tool("docker-compose")))
    docker.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        [tool("make"), "up", *variables],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), "STARTED": started},
        check=True,
        timeout=60,
    )
    return (folder / "commands").read_text().splitlines()


@pytest.mark.parametrize(
    ("variables", "dotenv"),
    [
        ((), ""),
        (("MODEL_SERVER=openvino",), ""),
        ((), "COMPOSE_FILE=docker-compose.yml:compose.gpu.yml"),
    ],
)
def test_the_demo_camera_is_removed_before_counting_into_the_real_file(
    tmp_path: Path, variables: tuple[str, ...], dotenv: str
) -> None:
    commands = make_up(tmp_path, *variables, started=f"annotator {DEMO}", dotenv=dotenv)
    assert commands == [f"rm {DEMO}", "up"]


@pytest.mark.parametrize(
    ("variables", "dotenv"), [(("DEMO=1",), ""), ((), "COMPOSE_PROFILES=demo")]
)
def test_the_demo_camera_stays_when_configured(
    tmp_path: Path, variables: tuple[str, ...], dotenv: str
) -> None:
    commands = make_up(tmp_path, *variables, started=f"tf-serving {DEMO}", dotenv=dotenv)
    assert commands == ["up"]


@pytest.mark.parametrize(
    ("variables", "dotenv", "old"),
    [
        (("MODEL_SERVER=openvino",), "", "tf-serving"),
        ((), "COMPOSE_FILE=docker-compose.yml:compose.openvino.yml", "tf-serving"),
        ((), "", "model-server"),
        (("MODEL_SERVER=gpu", "DEMO=1"), "", "model-server"),
    ],
)
def test_the_old_model_server_is_removed_after_the_new_one_started_and_is_no_longer_scraped(
    tmp_path: Path, variables: tuple[str, ...], dotenv: str, old: str
) -> None:
    commands = make_up(tmp_path, *variables, started="tf-serving model-server", dotenv=dotenv)
    assert commands == ["up", f"rm {old}", "restart prometheus"]
