"""Models of a camera: `Camera` is the configuration, `CameraStatus` the state that it is in."""

from __future__ import annotations

import json
import re
from typing import Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from facestream.common.broker.keys import MAX_FRAME_PIXELS, MAX_UNIX_TIME_S
from facestream.common.cameras.privacy import Privacy
from facestream.common.cameras.regions import Lines, Zones, check_distinct_names
from facestream.common.core.errors import SettingsError
from facestream.common.core.frame_limits import MAX_PIXEL_ASPECT, Rotation
from facestream.common.core.names import Name
from facestream.common.core.urls import NOT_A_URL, split_url
from facestream.common.security.redaction import (
    redact,
    register_secret,
    register_url_password,
    validation_message,
)

CameraState = Literal["connecting", "live", "stalled", "failed", "paused"]
STATES: tuple[CameraState, ...] = get_args(CameraState)
PHONE_SCHEME = "phone"  # the frames come from the phone's browser, see `phone_keys`
SCHEMES = ("rtsp", "rtsps", "http", "https", "file", "device", PHONE_SCHEME)
LOCAL_SCHEMES = ("file", "device")  # on the machine of capture: no host, no password

MAX_URL_CHARS = 2048
MAX_REASON_CHARS = 1000
MAX_STATUS_SIDE_PX = 16_384
MAX_FPS = 1000.0

_PHONE_KEY = re.compile(r"[A-Za-z0-9_-]{24,64}")


class Camera(BaseModel):
    """Configuration of one camera."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    url: SecretStr = Field(
        description="rtsp://, rtsps://, http(s):// (MJPEG), file:///path, device:///dev/video0 or "
        "phone:KEY"
    )
    rotate: Rotation = Field(0, description="degrees clockwise to turn the frame upright")
    pixel_aspect: float | None = Field(
        None,
        ge=1 / MAX_PIXEL_ASPECT,
        le=MAX_PIXEL_ASPECT,
        description="width of a pixel divided by its height; default: as the stream states",
    )
    deinterlace: bool = Field(
        False, description="deinterlace all frames, not only those flagged as interlaced"
    )
    transport: Literal["tcp", "udp"] = Field("tcp", description="RTSP media transport")
    paused: bool = Field(False, description="keep the camera, but do not read it")
    privacy: Privacy = Field(
        "full", description="full, blur or stats-only; capture's own setting may be stricter"
    )
    zones: Zones = Field((), description="areas; people who enter and leave are counted")
    lines: Lines = Field((), description="lines; people who cross them are counted")

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
            raise ValueError("has no host")
        elif "#" in text:  # a camera's URL has no fragment: the `#` is part of a password
            raise ValueError(NOT_A_URL)
        register_url_password(text)
        return url

    @classmethod
    def parse(cls, text: str) -> Camera:
        """Parse `NAME=URL` from a command line.

        Raises:
            SettingsError: the text has another form, or the name or URL is invalid.
        """
        name, equals, url = text.partition("=")
        if not equals or "://" in name:
            raise SettingsError(f"camera {redact(text)!r}: write it as NAME=URL")
        if ":" in name or "@" in name:  # a URL without scheme; it may contain a password
            raise SettingsError("camera without NAME: write it as NAME=URL")
        return validate_camera({"name": name, "url": url}, f"camera {name!r}")

    @classmethod
    def from_stored(cls, stored: object) -> Camera:
        """Return the camera that `to_json` wrote, by this version or by 0.1.0.

        Version 0.1.0 called the privacy mode `full` `live`.

        Raises:
            ValidationError: the value is not a valid camera.
        """
        if isinstance(stored, dict) and stored.get("privacy") == "live":
            stored = {**stored, "privacy": "full"}
        return cls.model_validate(stored)

    @property
    def scheme(self) -> str:
        """Scheme of the URL in lower case, one of `SCHEMES`."""
        return urlsplit(self.url.get_secret_value()).scheme

    @property
    def is_local(self) -> bool:
        """Whether the source is a file or device of the machine that reads it."""
        return self.scheme in LOCAL_SCHEMES

    @property
    def is_phone(self) -> bool:
        """Whether a phone's browser uploads its frames."""
        return self.scheme == PHONE_SCHEME

    def redacted_url(self) -> str:
        """Return the URL without its password."""
        return redact(self.url.get_secret_value())

    def to_json(self) -> str:
        """Return JSON for storage in the broker; it contains the password."""
        return json.dumps(self.model_dump() | {"url": self.url.get_secret_value()})


class CameraStatus(BaseModel):
    """State of one camera as capture reports it; the response of `GET /api/cameras`.

    The ranges protect a reader: a status comes from the broker.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    state: CameraState
    since: float = Field(
        ge=0,
        le=MAX_UNIX_TIME_S,
        allow_inf_nan=False,
        description="Unix time at which this state began",
    )
    fps: float = Field(
        0.0,
        ge=0,
        le=MAX_FPS,
        allow_inf_nan=False,
        description="frames per second received, last seconds",
    )
    width: int = Field(0, ge=0, le=MAX_STATUS_SIDE_PX)
    height: int = Field(0, ge=0, le=MAX_STATUS_SIDE_PX)
    reason: str = Field("", description="why the camera is not live; never a password")
    privacy: Privacy = Field("full", description="privacy mode in force")
    coverage: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of the last minute in which detections were close enough to count "
        "people; null where it is not known",
    )

    @field_validator("reason")
    @classmethod
    def _truncate(cls, reason: str) -> str:
        return reason[:MAX_REASON_CHARS]

    @model_validator(mode="after")
    def _is_decodable_size(self) -> Self:
        if self.width * self.height > MAX_FRAME_PIXELS or (self.width == 0) != (self.height == 0):
            raise ValueError("invalid frame size")
        return self


def validate_camera(entry: Any, where: str) -> Camera:
    """Return the camera that a mapping describes.

    Args:
        entry: from a YAML file or a command line.
        where: source of the entry, for the error.

    Raises:
        SettingsError: the entry is not a valid camera; one line that names `where` and the field.
    """
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


def check_unique_names(cameras: list[Camera]) -> list[Camera]:
    """Return the same list after the check that no name occurs twice.

    Raises:
        SettingsError: two cameras have the same name.
    """
    names = [camera.name for camera in cameras]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"camera {name!r} is given twice")
    return cameras
