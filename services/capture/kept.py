"""The cameras on disk, so that those of the page are there again after everything was restarted.

While the broker runs its word counts, and the file only follows it; read it is where the broker
knows nothing. Beside the cameras it says which of them were given, by a command line or a file: one
that is given no longer is not brought back. URLs carry passwords: the file is its owner's alone.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from services.common.cameras import Camera

_log = logging.getLogger(__name__)

_DAMAGED = ".damaged"


class KeptCameras:
    """The file of one capture service; without a path, nothing is kept.

    Args:
        given: the cameras that this service was given at its start.
    """

    def __init__(self, path: Path | None, given: Iterable[Camera]) -> None:
        self._path = path
        self._given = {camera.name: camera for camera in given}
        self._kept: dict[str, Camera] | None = None  # as they stand in the file
        self._has_failed = False

    def wanted(self) -> dict[str, Camera]:
        """The cameras to begin with, by name: those given, and those kept that were never given.

        Of a camera that was given alike then, what was done to it on the page since is the user's
        newer word, its name too.
        """
        kept, given_then = self._read()
        wanted = {name: camera for name, camera in kept.items() if name not in given_then}
        renamed = {camera.url for camera in wanted.values()}
        for name, camera in self._given.items():
            if name in kept and given_then.get(name) == camera:
                wanted[name] = kept[name]
            elif camera.url not in renamed:
                wanted[name] = camera
        return wanted

    def keep(self, cameras: Mapping[str, Camera]) -> None:
        """Have the file say what the broker says now."""
        if self._path is None or cameras == self._kept:
            return
        text = json.dumps(
            {
                "cameras": [json.loads(camera.to_json()) for camera in cameras.values()],
                "given": [json.loads(camera.to_json()) for camera in self._given.values()],
            },
            indent=1,
        )
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part.unlink(missing_ok=True)
            part.touch(mode=0o600)
            part.write_text(text, encoding="utf-8")
            os.replace(part, self._path)
        except OSError as error:
            if not self._has_failed:
                _log.warning("the cameras cannot be kept in %s: %s", self._path, error.strerror)
            self._has_failed = True
            return
        self._kept, self._has_failed = dict(cameras), False

    def _read(self) -> tuple[dict[str, Camera], dict[str, Camera]]:
        """The cameras of the file, and those that were given when it was written."""
        if self._path is None:
            return {}, {}
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            kept, given = (
                {camera.name: camera for camera in map(Camera.model_validate, document[key])}
                for key in ("cameras", "given")
            )
        except FileNotFoundError:
            return {}, {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            # Put aside, not thrown away: it may be of a newer version, or can be mended by hand.
            reason = getattr(error, "strerror", None) or type(error).__name__
            _log.warning("%s holds no cameras (%s): begun anew beside it", self._path, reason)
            try:
                os.replace(self._path, self._path.with_name(self._path.name + _DAMAGED))
            except OSError:
                pass  # it cannot be written either, which `keep` says
            return {}, {}
        return kept, given
