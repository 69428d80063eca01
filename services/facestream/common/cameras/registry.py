"""Registry of cameras and their states in the broker; the only module that knows their keys."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import redis
from pydantic import ValidationError
from pydantic_core import from_json

from facestream.common.broker import keys
from facestream.common.cameras.models import Camera, CameraStatus
from facestream.common.security.redaction import validation_message

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RegistrySnapshot:
    """The registry as it was read.

    boot, epoch_after: the boot's id from before and after the cameras were read; it changes with
    every restart of the broker, and is None until capture has seen to its cameras. statuses: of
    those cameras that were asked for.
    """

    cameras: dict[str, Camera]
    epoch: bytes | None
    epoch_after: bytes | None
    statuses: list[CameraStatus]


class CameraRegistry:
    """Cameras and their states in the broker."""

    def __init__(self, broker: redis.Redis) -> None:
        self._broker = broker

    def cameras(self) -> dict[str, Camera]:
        """All cameras that should be read, by name; a foreign entry is left out."""
        raw: dict[bytes, bytes] = self._broker.hgetall(keys.CAMERAS_KEY)  # type: ignore[assignment]
        return _by_name(raw.values())

    def snapshot(self, statuses_of: Sequence[str] = ()) -> RegistrySnapshot:
        """All cameras, and the states of some of them, in one round trip."""
        with self._broker.pipeline(transaction=False) as pipe:
            pipe.get(keys.EPOCH_KEY)
            pipe.hgetall(keys.CAMERAS_KEY)
            pipe.get(keys.EPOCH_KEY)
            for name in statuses_of:
                pipe.get(keys.status_key(name))
            before, raw, after, *answers = pipe.execute()
        statuses = [_status(name, s) for name, s in zip(statuses_of, answers, strict=True)]
        return RegistrySnapshot(_by_name(raw.values()), before, after, statuses)

    def upsert(self, camera: Camera) -> None:
        """Add a camera or replace the one of its name."""
        self._broker.hset(keys.CAMERAS_KEY, camera.name, camera.to_json())

    def apply_configured(self, cameras: list[Camera]) -> None:
        """Put those that are new in their file or were changed there.

        Of the others, what was done to them on the page since is the user's newer word.
        """
        known: dict[bytes, bytes] = self._broker.hgetall(keys.CONFIGURED_KEY)  # type: ignore[assignment]
        there = self.cameras()
        for camera in cameras:
            if known.get(camera.name.encode()) != _digest(camera):
                self.upsert(camera)
            elif camera.name not in there:
                _log.info("camera %s: not read, it was removed or renamed on the page", camera.name)
        self.record_configured(cameras)

    def record_configured(self, cameras: list[Camera]) -> None:
        """Remember these as they stand in their file."""
        if cameras:
            digests: Any = {camera.name: _digest(camera) for camera in cameras}
            self._broker.hset(keys.CONFIGURED_KEY, mapping=digests)

    def remove(self, name: str) -> bool:
        """Take a camera and everything kept of it away; False if there was none."""
        with self._broker.pipeline(transaction=False) as pipe:
            pipe.hdel(keys.CAMERAS_KEY, name)
            for key_of in (
                keys.status_key,
                keys.watched_key,
                keys.frames_key,
                keys.results_key,
                keys.phone_frames_key,
            ):
                pipe.delete(key_of(name))  # one each: a cluster's pipeline takes no more
            return bool(pipe.execute()[0])

    def put_statuses(self, statuses: list[CameraStatus]) -> None:
        """Say how cameras are; to be repeated within `STATUS_TTL_S`."""
        with self._broker.pipeline(transaction=False) as pipe:
            for status in statuses:
                pipe.set(
                    keys.status_key(status.name),
                    status.model_dump_json(),
                    px=int(keys.STATUS_TTL_S * 1000),
                )
            pipe.execute()

    def drop_statuses(self, names: list[str]) -> None:
        """Nobody reads these any more, for now."""
        with self._broker.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.delete(keys.status_key(name))
            pipe.execute()

    def statuses(self, names: Iterable[str] | None = None) -> list[CameraStatus]:
        """The state of these cameras, else of all, by name; one nobody reads is `connecting`."""
        names = sorted(self.cameras() if names is None else names)
        with self._broker.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.get(keys.status_key(name))
            answers: list[Any] = pipe.execute()
        return [_status(name, answer) for name, answer in zip(names, answers, strict=True)]

    def mark_watched(self, name: str) -> None:
        """Somebody looks at this camera now; to be repeated within `WATCHED_TTL_S`."""
        self._broker.set(keys.watched_key(name), b"1", px=int(keys.WATCHED_TTL_S * 1000))

    def watched(self, names: list[str]) -> set[str]:
        """Those of the cameras that somebody looks at."""
        with self._broker.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.exists(keys.watched_key(name))
            answers: list[Any] = pipe.execute()
        return {name for name, answer in zip(names, answers, strict=True) if answer}


def _by_name(entries: Iterable[bytes]) -> dict[str, Camera]:
    cameras = filter(None, map(_parsed, entries))
    return {camera.name: camera for camera in cameras}


@lru_cache(maxsize=1024)  # they are read several times a second, and hardly ever change
def _parsed(data: bytes) -> Camera | None:
    try:
        return Camera.from_stored(from_json(data))
    except ValidationError as error:
        _log.warning(
            "camera in the registry ignored: %s",
            validation_message(error.errors(include_input=False)[0]),
        )
    except ValueError:
        _log.warning("camera in the registry ignored: not JSON")
    return None


def _digest(camera: Camera) -> bytes:
    return hashlib.sha256(camera.to_json().encode()).hexdigest().encode()


def _status(name: str, data: bytes | None) -> CameraStatus:
    if data is not None:
        try:
            return CameraStatus.model_validate_json(data)
        except ValidationError:
            pass
    return CameraStatus(
        name=name, state="connecting", since=time.time(), reason="no capture service reads it yet"
    )
