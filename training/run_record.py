"""Record of a training run: configuration, data, commit, machine, duration and metrics.

Stored as `record.json` in the run's folder; the export and the model card read it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from facestream.common.core.errors import DataError, ModelError
from facestream.common.core.paths import CHECKOUT

FILE = "record.json"
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "final.weights.h5"
_PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python-headless", "openvino")


def git_commit() -> str:
    """Return the commit of this code, `-dirty` if files differ from it, `unknown` outside git."""
    command = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty", "--abbrev=40"]
    command += ["--exclude", "*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None


def machine_info() -> dict[str, Any]:
    """Return processor, cores, memory, system and package versions of this machine."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def write(run: Path, record: Mapping[str, Any]) -> None:
    """Create or extend the record of a run atomically."""
    path = run / FILE
    known = json.loads(path.read_text()) if path.exists() else {}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(known | dict(record), indent=2, ensure_ascii=False) + "\n")
    partial.replace(path)


def read(run: Path) -> dict[str, Any]:
    """Return the record of a run.

    Raises:
        ModelError: the folder holds no record.
    """
    try:
        record: dict[str, Any] = json.loads((run / FILE).read_text())
    except OSError:
        raise ModelError(f"{run}: no finished training run here (no {FILE})") from None
    return record


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
