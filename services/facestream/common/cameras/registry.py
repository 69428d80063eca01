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

_MAX_CAMERA_BYTES = 32 * 1024  # a URL of 2,048 characters, and 16 regions
_MAX_STATUS_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class RegistrySnapshot:
    """Registry at one time.

    The epoch changes with every restart of the broker. It is None until a capture replica has
    restored the cameras.

    Attributes:
        cameras: all valid cameras by name.
        epoch: read before the cameras.
        epoch_after: read after the cameras; if it differs, the cameras may be incomplete.
        statuses: of the requested cameras.
    """

    cameras: dict[str, Camera]
    epoch: bytes | None
    epoch_after: bytes | None
    statuses: list[CameraStatus]


class CameraRegistry:
    """Cameras and their states in the broker. Every method may raise BROKER_ERRORS."""

    def __init__(self, broker: redis.Redis) -> None:
        self._broker = broker

    def cameras(self) -> dict[str, Camera]:
        """Return all cameras by name; invalid entries are ignored."""
        raw: dict[bytes, bytes] = self._broker.hgetall(keys.CAMERAS_KEY)  # type: ignore[assignment]
        return _by_name(raw.values())

    def snapshot(self, statuses_of: Sequence[str] = ()) -> RegistrySnapshot:
        """Return all cameras, and the states of some of them, in one round trip."""
        with self._broker.pipeline(transaction=False) as pipe:
            pipe.get(keys.EPOCH_KEY)
            pipe.hgetall(keys.CAMERAS_KEY)
            pipe.get(keys.EPOCH_KEY)
            for name in statuses_of:
                pipe.get(keys.status_key(name))
            before, raw, after, *replies = pipe.execute()
        statuses = [_parse_status(name, s) for name, s in zip(statuses_of, replies, strict=True)]
        return RegistrySnapshot(_by_name(raw.values()), before, after, statuses)

    def upsert(self, camera: Camera) -> None:
        """Add a camera, or replace the one with its name."""
        self._broker.hset(keys.CAMERAS_KEY, camera.name, camera.to_json())

    def apply_configured(self, cameras: list[Camera]) -> None:
        """Add configured cameras that are new, and update those whose configuration changed.

        Other cameras keep the changes that admins made in the web UI since then.
        """
        known: dict[bytes, bytes] = self._broker.hgetall(keys.CONFIGURED_KEY)  # type: ignore[assignment]
        cameras_now = self.cameras()
        for camera in cameras:
            if known.get(camera.name.encode()) != _digest(camera):
                self.upsert(camera)
            elif camera.name not in cameras_now:
                _log.info("camera %s: not added, an admin has removed or renamed it", camera.name)
        self.record_configured(cameras)

    def record_configured(self, cameras: list[Camera]) -> None:
        """Store digests of configured cameras, to detect changes at the next start."""
        if cameras:
            digests: Any = {camera.name: _digest(camera) for camera in cameras}
            self._broker.hset(keys.CONFIGURED_KEY, mapping=digests)

    def remove(self, name: str) -> bool:
        """Remove a camera and all its keys; return False if it does not exist."""
        with self._broker.pipeline(transaction=False) as pipe:
            pipe.hdel(keys.CAMERAS_KEY, name)
            for key_of in (
                keys.status_key,
                keys.watched_key,
                keys.frames_key,
                keys.results_key,
                keys.phone_frames_key,
            ):
                pipe.delete(key_of(name))  # one key per command, as a cluster's pipeline requires
            return bool(pipe.execute()[0])

    def publish_statuses(self, statuses: list[CameraStatus]) -> None:
        """Publish the states of cameras; repeat within `STATUS_TTL_S`."""
        with self._broker.pipeline(transaction=False) as pipe:
            for status in statuses:
                pipe.set(
                    keys.status_key(status.name),
                    status.model_dump_json(),
                    px=int(keys.STATUS_TTL_S * 1000),
                )
            pipe.execute()

    def delete_statuses(self, names: list[str]) -> None:
        """Delete the states of cameras that this replica no longer reads."""
        with self._broker.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.delete(keys.status_key(name))
            pipe.execute()

    def statuses(self, names: Iterable[str] | None = None) -> list[CameraStatus]:
        """Return the states of these or all cameras, sorted by name; by default `connecting`."""
        names = sorted(self.cameras() if names is None else names)
        with self._broker.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.get(keys.status_key(name))
            replies: list[Any] = pipe.execute()
        return [_parse_status(name, reply) for name, reply in zip(names, replies, strict=True)]

    def mark_watched(self, name: str) -> None:
        """Record that a client watches this camera; repeat within `WATCHED_TTL_S`."""
        self._broker.set(keys.watched_key(name), b"1", px=int(keys.WATCHED_TTL_S * 1000))

    def watched_cameras(self, names: list[str]) -> set[str]:
        """Return those of the cameras that a client watches."""
        with self._broker.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.exists(keys.watched_key(name))
            replies: list[Any] = pipe.execute()
        return {name for name, reply in zip(names, replies, strict=True) if reply}


def _by_name(entries: Iterable[bytes]) -> dict[str, Camera]:
    """Return the valid cameras, at most `MAX_CAMERAS`, the first by name."""
    found = (_parse_camera(entry) for entry in entries if len(entry) <= _MAX_CAMERA_BYTES)
    cameras = {camera.name: camera for camera in found if camera is not None}
    if len(cameras) > keys.MAX_CAMERAS:
        cameras = {name: cameras[name] for name in sorted(cameras)[: keys.MAX_CAMERAS]}
    return cameras


@lru_cache(maxsize=1024)  # cameras are read several times per second and rarely change
def _parse_camera(data: bytes) -> Camera | None:
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


def _parse_status(name: str, data: bytes | None) -> CameraStatus:
    if data is not None and len(data) <= _MAX_STATUS_BYTES:
        try:
            status = CameraStatus.model_validate_json(data)
        except ValidationError:
            pass
        else:
            if status.name == name:
                return status
    return CameraStatus(
        name=name, state="connecting", since=time.time(), reason="no capture service reads it yet"
    )
