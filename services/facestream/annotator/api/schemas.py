"""Request and response models of the camera routes, as they appear in the OpenAPI document."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from facestream.common.cameras import models
from facestream.common.cameras.privacy import Privacy
from facestream.common.cameras.regions import Line, Lines, Zone, Zones
from facestream.common.core.frame_limits import Rotation
from facestream.common.core.names import Name


class Person(BaseModel):
    """One face in view; estimates are null while they are too uncertain."""

    track_id: int
    box: list[int] = Field(description="x, y, width, height in pixels of the frame")
    dwell_s: float = Field(description="seconds since this face was first detected")
    age: float | None = Field(description="years")
    age_low: float | None = Field(description="lower end of the 80 % interval, years")
    age_high: float | None = Field(description="upper end of the 80 % interval, years")
    female_probability: float | None
    predictions: int = Field(description="number of predictions in this estimate")


class CameraCreate(models.Camera):
    """A camera to add."""


class Camera(BaseModel):
    """The configuration of a camera."""

    name: str
    url: str = Field(description="without its password")
    rotate: Rotation
    pixel_aspect: float | None = Field(
        description="width of a pixel divided by its height; null: as the stream states"
    )
    deinterlace: bool
    transport: str
    paused: bool
    privacy: Privacy = Field(description="as configured; the status has the mode in force")
    zones: tuple[Zone, ...]
    lines: tuple[Line, ...]

    @classmethod
    def from_config(cls, camera: models.Camera) -> Camera:
        """Return the public part of a camera's configuration."""
        return cls(
            name=camera.name,
            url=camera.redacted_url(),
            rotate=camera.rotate,
            pixel_aspect=camera.pixel_aspect,
            deinterlace=camera.deinterlace,
            transport=camera.transport,
            paused=camera.paused,
            privacy=camera.privacy,
            zones=camera.zones,
            lines=camera.lines,
        )


class CameraUpdate(BaseModel):
    """Changes to a camera; omitted fields stay as they are."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    rotate: Rotation | None = None
    paused: bool | None = None
    privacy: Privacy | None = None
    zones: Zones | None = None
    lines: Lines | None = None
