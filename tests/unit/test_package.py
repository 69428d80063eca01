"""Tests of the Python package: its metadata, dependencies and public import."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import facestream
import pytest
from facestream.common.core.paths import CHECKOUT

REQUIREMENTS = CHECKOUT / "requirements"
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def names(lines: list[str]) -> set[str]:
    """Return the package names of requirement lines."""
    found = (re.match(r"[A-Za-z0-9._-]+", line) for line in lines if not line.startswith("#"))
    return {match[0].lower() for match in found if match}


@pytest.mark.parametrize("extra", sorted(set(EXTRAS) - {"all"}))
def test_each_extra_names_the_packages_of_its_requirements(extra: str) -> None:
    wanted = names((REQUIREMENTS / f"{extra}.in").read_text().splitlines())
    base = names(PROJECT["dependencies"])
    # Only the editable installation needs setuptools.
    assert names(EXTRAS[extra]) | base == (wanted - {"setuptools"}) | base


def test_the_extra_all_names_every_other_extra() -> None:
    (line,) = EXTRAS["all"]
    assert line == f"facestream[{','.join(sorted(set(EXTRAS) - {'all'}))}]"


def test_lower_bounds_are_the_locked_versions() -> None:
    lock = (REQUIREMENTS / "test.txt").read_text()
    locked = dict(re.findall(r"^([a-z0-9._-]+)==([0-9.]+)", lock, re.MULTILINE))
    lines = [line for extra in set(EXTRAS) - {"all"} for line in EXTRAS[extra]]
    for line in [*lines, *PROJECT["dependencies"]]:
        match = re.match(r"([a-z0-9._-]+)>=([0-9.]+)(;|$)", line)
        assert match, line
        assert f"{locked[match[1]]}.".startswith(f"{match[2]}."), line


def test_the_license_files_exist_and_are_named() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert all((CHECKOUT / name).is_file() for name in PROJECT["license-files"])
    notice = (CHECKOUT / "NOTICE").read_text()
    for folder in ("models/face_detector/", "models/age_gender/", "samples/", "proto/serving/"):
        assert folder in notice


def test_the_changelog_describes_the_version() -> None:
    assert f"## {facestream.__version__}\n" in (CHECKOUT / "CHANGELOG.md").read_text()


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, facestream\n"
        "print([m for m in ('numpy', 'openvino', 'av', 'cv2', 'pydantic') if m in sys.modules])\n"
        "from facestream import Predictor\n"
        "print(Predictor.__module__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[]", "facestream.predict.predictor"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = facestream.Nothing
