"""Persist the camera list across restarts.

Redis is authoritative while it runs; the file mirrors it and is read only when Redis is empty. The
file also records the configured cameras, those of the command line or config file, so that a camera
that was removed from the configuration is not restored. The file contains passwords and has mode
0600.

Version 0.1.0 called the file `cameras.json`, and the configured cameras in it "given": such a file
is still read.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from facestream.common.cameras.models import Camera

_log = logging.getLogger(__name__)

# Default names of the file, and the names that version 0.1.0 gave it.
_NAMES_0_1_0 = {
    "camera-state.json": "cameras.json",
    "demo-camera-state.json": "demo-cameras.json",
}
_CORRUPT_SUFFIX = ".corrupt"


class CameraStore:
    """Camera state file of one capture service. Not thread-safe.

    Args:
        path: the file; None to persist nothing.
        configured: cameras from the command line and config file of this start.
    """

    def __init__(self, path: Path | None, configured: Iterable[Camera]) -> None:
        self._path = path
        self._configured = {camera.name: camera for camera in configured}
        # Of the file as it was at the start: all cameras, and those configured at that time.
        self._persisted, self._configured_before = self._load()
        self._saved: dict[str, Camera] | None = None  # cameras last written by this service
        self._has_failed = False

    def initial_cameras(self) -> dict[str, Camera]:
        """Return the cameras to start with, by name: configured ones and persisted ones.

        A configured camera whose configuration has not changed keeps what was edited in the web UI
        since, its name included; it is then recognized by its URL. A changed configuration wins. A
        persisted camera that was configured and no longer is, is left out.
        """
        persisted, before = self._persisted, self._configured_before
        initial = {name: camera for name, camera in persisted.items() if name not in before}
        renamed_urls = {camera.url for camera in initial.values()}
        for name, camera in self._configured.items():
            previous = before.get(name)
            if previous == camera and name in persisted:
                initial[name] = persisted[name]
            elif previous != camera or camera.url not in renamed_urls:
                initial[name] = camera
                if previous is not None and name not in persisted:
                    # It was renamed in the web UI, and its configuration has changed since.
                    initial = {
                        other_name: other
                        for other_name, other in initial.items()
                        if other_name == name or other.url != previous.url
                    }
        return initial

    def save(self, cameras: Mapping[str, Camera]) -> None:
        """Write the cameras, if they have changed since the last call; log a failure once."""
        if self._path is None or cameras == self._saved:
            return
        # A camera removed from the configuration is read as long as the broker lists it. It stays
        # marked as configured, so that it is not restored.
        self._configured_before = {
            name: camera
            for name, camera in self._configured_before.items()
            if name in cameras and cameras[name].url == camera.url
        }
        configured = self._configured_before | self._configured
        text = json.dumps(
            {"cameras": _to_plain(cameras), "configured": _to_plain(configured)}, indent=1
        )
        try:
            _write_atomically(self._path, text)
        except OSError as error:
            if not self._has_failed:
                _log.warning("cannot write camera state to %s: %s", self._path, error.strerror)
            self._has_failed = True
            return
        self._saved, self._has_failed = dict(cameras), False

    def _load(self) -> tuple[dict[str, Camera], dict[str, Camera]]:
        """Return the cameras of the file, and those that were configured when it was written."""
        if self._path is None:
            return {}, {}
        _migrate_name(self._path)
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            if "given" in document:  # written by 0.1.0
                document["configured"] = document["given"]
            persisted, configured = (
                {camera.name: camera for camera in map(Camera.from_stored, document[key])}
                for key in ("cameras", "configured")
            )
        except FileNotFoundError:
            return {}, {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            # Move it aside: it may be of a newer version, or an admin may be able to repair it.
            reason = getattr(error, "strerror", None) or type(error).__name__
            _log.warning(
                "cannot parse %s (%s); moved aside, starting with an empty camera list",
                self._path,
                reason,
            )
            with suppress(OSError):  # then it cannot be written either, which `save` logs
                os.replace(self._path, self._path.with_name(self._path.name + _CORRUPT_SUFFIX))
            return {}, {}
        return persisted, configured


def _migrate_name(path: Path) -> None:
    """Rename the file of version 0.1.0 in the same folder, unless the new one exists."""
    if path.name not in _NAMES_0_1_0 or path.exists():
        return
    old_path = path.with_name(_NAMES_0_1_0[path.name])
    if not old_path.is_file():
        return
    try:
        os.replace(old_path, path)
    except OSError as error:
        _log.warning("cannot rename %s to %s: %s", old_path, path.name, error.strerror)
    else:
        _log.info("renamed camera state %s of version 0.1.0 to %s", old_path, path.name)


def _to_plain(cameras: Mapping[str, Camera]) -> list[object]:
    return [json.loads(camera.to_json()) for camera in cameras.values()]


def _write_atomically(path: Path, text: str) -> None:
    """Replace the file in one step; several services may do so at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # mode 0600
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, 0o600)  # whatever the umask
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
