"""`make up` after another: what this one does not have is taken away, and when."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from facestream.common.core.paths import CHECKOUT

from tests.fixtures.deploy import DEPLOY, tool

# Docker without an engine: says what was started, writes down what it is told to do. The real
# Docker Compose says what is configured.
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
        with open("told", "a") as told:
            print(verb, *names, file=told)
"""
DEMO = "demo-camera demo-camera-added"


def make_up(folder: Path, *variables: str, started: str, dotenv: str = "") -> list[str]:
    """What Docker Compose is told to do by `make up`, in this order."""
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
    return (folder / "told").read_text().splitlines()


@pytest.mark.parametrize(
    ("variables", "dotenv"),
    [((), ""), (("WITH=openvino",), ""), ((), "COMPOSE_FILE=docker-compose.yml:compose.gpu.yml")],
)
def test_the_demo_camera_ends_before_its_people_would_be_counted_among_real_ones(
    tmp_path: Path, variables: tuple[str, ...], dotenv: str
) -> None:
    told = make_up(tmp_path, *variables, started=f"annotator {DEMO}", dotenv=dotenv)
    assert told == [f"rm {DEMO}", "up"]


@pytest.mark.parametrize(
    ("variables", "dotenv"), [(("DEMO=1",), ""), ((), "COMPOSE_PROFILES=demo")]
)
def test_the_demo_camera_stays_where_it_is_wanted(
    tmp_path: Path, variables: tuple[str, ...], dotenv: str
) -> None:
    told = make_up(tmp_path, *variables, started=f"tf-serving {DEMO}", dotenv=dotenv)
    assert told == ["up"]


@pytest.mark.parametrize(
    ("variables", "dotenv", "old"),
    [
        (("WITH=openvino",), "", "tf-serving"),
        ((), "COMPOSE_FILE=docker-compose.yml:compose.openvino.yml", "tf-serving"),
        ((), "", "model-server"),
        (("WITH=gpu", "DEMO=1"), "", "model-server"),
    ],
)
def test_the_old_model_server_ends_once_the_new_one_is_there_and_is_asked_for_nothing_more(
    tmp_path: Path, variables: tuple[str, ...], dotenv: str, old: str
) -> None:
    told = make_up(tmp_path, *variables, started="tf-serving model-server", dotenv=dotenv)
    assert told == ["up", f"rm {old}", "restart prometheus"]
