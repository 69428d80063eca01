"""`make` creates .venv again when it is broken, and says why it cannot."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from facestream.common.core.paths import CHECKOUT

from tests.fixtures.deploy import tool


def make_venv(folder: Path, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    shutil.copy(CHECKOUT / "Makefile", folder)
    return subprocess.run(
        [tool("make"), ".venv/.made", f"PYTHON={python}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def has_pip(folder: Path) -> bool:
    command = [str(folder / ".venv" / "bin" / "python"), "-m", "pip", "--version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("damage", ["half made", "python is gone"])
def test_a_broken_venv_is_created_again(tmp_path: Path, damage: str) -> None:
    scripts = tmp_path / ".venv" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "python").symlink_to("/nonexistent/python3")
    if damage == "python is gone":
        (tmp_path / ".venv" / ".made").touch()
        (tmp_path / ".venv" / ".demo").touch()
    result = make_venv(tmp_path)
    assert result.returncode == 0, result.stderr + result.stdout
    assert has_pip(tmp_path)
    assert not (tmp_path / ".venv" / ".demo").exists(), "packages are installed again"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            "Error: [Errno 13] Permission denied: '/x/.venv'",
            "cannot write .venv: permission denied",
        ),
        ("The virtual environment was not created: ensurepip is not available.", "no venv module"),
        ("No module named venv", "no venv module"),
        ("No space left on device", "cannot create .venv: No space left on device"),
    ],
)
def test_each_cause_has_its_own_message(tmp_path: Path, error: str, message: str) -> None:
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit 0\necho "{error}" >&2\nexit 1\n')
    python.chmod(0o755)
    result = make_venv(tmp_path, str(python))
    assert result.returncode != 0
    assert message in result.stdout
