"""The cameras on disk, so that those of the page are there again after everything was restarted.

While the broker runs its word counts, and the file only follows it; read it is where the broker
knows nothing. Beside the cameras it says which of them were given, by a command line or a file: one
that is given no longer is not brought back. URLs carry passwords: the file is its owner's alone.
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

_DAMAGED = ".damaged"


class CameraStore:
    """The file of one capture service; without a path, nothing is kept.

    Args:
        given: the cameras that this service was given at its start.
    """

    def __init__(self, path: Path | None, given: Iterable[Camera]) -> None:
        self._path = path
        self._given = {camera.name: camera for camera in given}
        self._cameras_then, self._given_then = self._read()  # of the file as it was at the start
        self._kept: dict[str, Camera] | None = None  # as this service wrote them
        self._has_failed = False

    def initial_cameras(self) -> dict[str, Camera]:
        """The cameras to begin with, by name: those given, and those kept that were never given.

        Of a camera that was given alike then, what was done to it on the page since is the user's
        newer word, its name too: it is known by its address.
        """
        kept, given_then = self._cameras_then, self._given_then
        wanted = {name: camera for name, camera in kept.items() if name not in given_then}
        renamed = {camera.url for camera in wanted.values()}
        for name, camera in self._given.items():
            then = given_then.get(name)
            if then == camera and name in kept:
                wanted[name] = kept[name]
            elif then != camera or camera.url not in renamed:
                wanted[name] = camera
                if then is not None and name not in kept:  # renamed then, and given otherwise now
                    wanted = {n: c for n, c in wanted.items() if n == name or c.url != then.url}
        return wanted

    def save(self, cameras: Mapping[str, Camera]) -> None:
        """Have the file say what the broker says now."""
        if self._path is None or cameras == self._kept:
            return
        # One that is given no longer is read on while the broker knows it, but was not added.
        once_given = {
            name: camera
            for name, camera in self._given_then.items()
            if name in cameras and cameras[name].url == camera.url
        }
        self._given_then = once_given
        given = once_given | self._given
        text = json.dumps({"cameras": _plain(cameras), "given": _plain(given)}, indent=1)
        try:
            _write(self._path, text)
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
                {camera.name: camera for camera in map(Camera.from_stored, document[key])}
                for key in ("cameras", "given")
            )
        except FileNotFoundError:
            return {}, {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            # Put aside, not thrown away: it may be of a newer version, or can be mended by hand.
            reason = getattr(error, "strerror", None) or type(error).__name__
            _log.warning("%s holds no cameras (%s): begun anew beside it", self._path, reason)
            with suppress(OSError):  # it cannot be written either, which `keep` says
                os.replace(self._path, self._path.with_name(self._path.name + _DAMAGED))
            return {}, {}
        return kept, given


def _plain(cameras: Mapping[str, Camera]) -> list[object]:
    return [json.loads(camera.to_json()) for camera in cameras.values()]


def _write(path: Path, text: str) -> None:
    """Put `text` in the place of the file, whole; several services may do so at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number, part = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # of mode 0600
    try:
        with open(number, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise
