"""Cameras: what a camera is, what state it is in, and where both stand in the broker.

`Camera` is what the user asked for; `CameraStatus` what capture last said of it. `CameraRegistry`
reads and writes both in the broker; it is the only code that knows their keys.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import redis
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from facestream.common.broker import keys
from facestream.common.cameras.privacy import Privacy
from facestream.common.cameras.regions import Lines, Zones, check_distinct_names
from facestream.common.core.errors import SettingsError
from facestream.common.core.names import Name
from facestream.common.core.urls import NOT_A_URL, split_url
from facestream.common.core.yaml_file import read_yaml
from facestream.common.security.redaction import (
    redact,
    register_secret,
    register_url_password,
    validation_message,
)

_log = logging.getLogger(__name__)

CameraState = Literal["connecting", "live", "stalled", "failed", "stopped"]
STATES: tuple[CameraState, ...] = get_args(CameraState)
Rotation = Literal[0, 90, 180, 270]
PHONE_SCHEME = (
    "phone"  # its browser sends the pictures: services/facestream/common/broker/phone_frames.py
)
SCHEMES = ("rtsp", "rtsps", "http", "https", "file", "device", PHONE_SCHEME)
LOCAL_SCHEMES = ("file", "device")  # of this machine: no host, no password

MAX_URL_CHARS = 2048

_PHONE_KEY = re.compile(r"[A-Za-z0-9_-]{24,64}")


class Camera(BaseModel):
    """A camera as the user gave it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    url: SecretStr = Field(
        description="rtsp://, rtsps://, http(s):// (MJPEG), file:///path, device:///dev/video0 or "
        "phone:KEY"
    )
    rotate: Rotation = Field(0, description="degrees clockwise to turn the picture upright")
    transport: Literal["tcp", "udp"] = Field("tcp", description="RTSP media transport")
    paused: bool = Field(False, description="known but not read")
    privacy: Privacy = Field(
        "live", description="live, blur or stats-only, where capture's own setting is not stricter"
    )
    zones: Zones = Field((), description="areas that people enter and leave, to be counted")
    lines: Lines = Field((), description="lines that people cross, to be counted")

    @field_validator("url")
    @classmethod
    def _url_is_supported(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        if len(text) > MAX_URL_CHARS:
            raise ValueError(f"has more than {MAX_URL_CHARS} characters")
        parts = split_url(text)
        if parts.scheme not in SCHEMES:
            raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}")
        if parts.scheme == PHONE_SCHEME:
            key = text.partition(":")[2]
            if not _PHONE_KEY.fullmatch(key):
                raise ValueError("write it as phone:KEY; a key is 24 to 64 letters and digits")
            register_secret(key)
        elif parts.scheme in LOCAL_SCHEMES:
            if not parts.path:
                raise ValueError(f"write it as {parts.scheme}:///path")
        elif not parts.hostname:
            raise ValueError("names no host")
        elif "#" in text:  # means nothing in a camera's address: it is part of a password
            raise ValueError(NOT_A_URL)
        register_url_password(text)
        return url

    @classmethod
    def parse(cls, text: str) -> Camera:
        """`NAME=URL` from a command line.

        Raises:
            SettingsError: it is not.
        """
        name, equals, url = text.partition("=")
        if not equals or "://" in name:
            raise SettingsError(f"camera {redact(text)!r}: write it as NAME=URL")
        if ":" in name or "@" in name:  # an address without its scheme; it may hold a password
            raise SettingsError("a camera has no NAME: write it as NAME=URL")
        return _validated({"name": name, "url": url}, f"camera {name!r}")

    @property
    def scheme(self) -> str:
        """Of the URL, in lower case however it was written: one of `SCHEMES`."""
        return urlsplit(self.url.get_secret_value()).scheme

    @property
    def is_local(self) -> bool:
        """Whether it is a file or device of the machine that reads it."""
        return self.scheme in LOCAL_SCHEMES

    @property
    def is_phone(self) -> bool:
        """Whether a phone's browser sends its pictures."""
        return self.scheme == PHONE_SCHEME

    def redacted_url(self) -> str:
        """The URL without its password."""
        return redact(self.url.get_secret_value())

    def to_json(self) -> str:
        """For the broker only: the password is in it."""
        return json.dumps(self.model_dump() | {"url": self.url.get_secret_value()})


class CameraStatus(BaseModel):
    """What capture says of a camera: the answer of `GET /api/cameras`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    state: CameraState
    since: float = Field(description="Unix time at which this state began")
    fps: float = Field(0.0, description="frames per second received, last seconds")
    width: int = 0
    height: int = 0
    reason: str = Field("", description="why it is not live, in plain words; never a password")
    privacy: Privacy = Field("live", description="what leaves capture of its picture")


def load_cameras(path: Path) -> list[Camera]:
    """Cameras from a YAML file: `cameras: [{name, url, rotate, transport}]`.

    Raises:
        SettingsError: unreadable, or a camera is wrong; names the file and the camera.
    """
    document = read_yaml(path)
    entries = document.get("cameras") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise SettingsError(f"{path}: must hold a list under 'cameras'")
    cameras = []
    for i, entry in enumerate(entries):
        name = entry.get("name", i) if isinstance(entry, dict) else i
        cameras.append(_validated(entry, f"{path}: camera {name!r}"))
    return check_unique_names(cameras)


def check_unique_names(cameras: list[Camera]) -> list[Camera]:
    """The same list.

    Raises:
        SettingsError: a name stands twice.
    """
    names = [camera.name for camera in cameras]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"camera {name!r} is given twice")
    return cameras


@dataclass(frozen=True, slots=True)
class RegistrySnapshot:
    """The registry as it was read.

    boot, boot_after: the boot's id from before and after the cameras were read; it changes with
    every restart of the broker, and is None until capture has seen to its cameras. statuses: of
    those cameras that were asked for.
    """

    cameras: dict[str, Camera]
    epoch: bytes | None
    boot_after: bytes | None
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
                keys.phone_key,
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
        return Camera.model_validate_json(data)
    except ValidationError as error:
        _log.warning(
            "a camera of the broker is left out: %s",
            validation_message(error.errors(include_input=False)[0]),
        )
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


def _validated(entry: Any, where: str) -> Camera:
    try:
        camera = Camera.model_validate(entry)
        check_distinct_names(camera.zones, camera.lines)
        return camera
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{where}: {field}: {validation_message(first)}") from None
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from None
