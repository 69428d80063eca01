"""Tests of the release builder's parts; the wheel is tested in tests/integration."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from facestream import __version__
from facestream.common.core.paths import CHECKOUT

from tests.fixtures.deploy import DEPLOY
from tools import release


def test_checksums_are_read_by_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "sbom").mkdir()
    (tmp_path / "a.whl").write_bytes(b"wheel")
    (tmp_path / "sbom" / "b.json").write_bytes(b"{}")
    release.write_checksums(tmp_path)
    check = ["sha256sum", "--check", "--quiet", release.CHECKSUMS_NAME]
    subprocess.run(check, cwd=tmp_path, check=True)
    (tmp_path / "a.whl").write_bytes(b"changed")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True, check=False).returncode == 1


def test_every_image_of_the_dockerfile_is_built() -> None:
    stages = (DEPLOY / "docker" / "Dockerfile").read_text().split("FROM service AS ")[1:]
    assert sorted(stage.split()[0] for stage in stages) == sorted(release.IMAGES)


def test_images_carry_the_version_as_tag_and_label(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[tuple[str, ...]] = []

    def record(*command: str, **_: object) -> str:
        commands.append(command)
        return "abc\n"

    monkeypatch.setattr(release, "_run", record)
    release.build_images()
    builds = [command for command in commands if command[0] == "docker"]
    assert len(builds) == len(release.IMAGES)
    for build in builds:
        assert f"--label=org.opencontainers.image.version={__version__}" in build
        assert any(word.endswith(f":{__version__}") for word in build)


def test_the_version_has_one_source() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    compose = (CHECKOUT / "docker-compose.yml").read_text()
    assert f"${{IMAGE_TAG:-{__version__}}}" in compose


def test_the_workflow_runs_make_release() -> None:
    workflow = yaml.safe_load((CHECKOUT / ".github" / "workflows" / "release.yml").read_text())
    steps = [step.get("run", "") for step in workflow["jobs"]["build"]["steps"]]
    assert "make release" in steps
    assert workflow["permissions"] == {"contents": "read"}
