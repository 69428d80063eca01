"""Read cameras from a YAML file: `cameras: [{name, url, rotate, transport, …}]`."""

from __future__ import annotations

from pathlib import Path

from facestream.common.cameras.models import Camera, check_unique_names, validate_camera
from facestream.common.core.config_files import read_yaml
from facestream.common.core.errors import SettingsError


def load_cameras(path: Path) -> list[Camera]:
    """Return the cameras in a YAML file.

    Raises:
        SettingsError: the file is unreadable or a camera is invalid; names the file and the camera.
    """
    document = read_yaml(path)
    entries = document.get("cameras") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise SettingsError(f"{path}: must contain a list under 'cameras'")
    cameras = []
    for i, entry in enumerate(entries):
        name = entry.get("name", i) if isinstance(entry, dict) else i
        cameras.append(validate_camera(entry, f"{path}: camera {name!r}"))
    return check_unique_names(cameras)
