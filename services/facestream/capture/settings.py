"""The settings of capture, with their defaults and bounds."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from facestream.common.broker.keys import CROP_PX, DEFAULT_SHARDS, MAX_CAMERAS
from facestream.common.cameras.privacy import Privacy
from facestream.common.core.settings import CommonSettings

_DETECTOR_STEP_PX = 32  # the detector's STEP_PX, which is not loaded for the sake of settings


class CaptureSettings(CommonSettings):
    """What capture needs to know."""

    section: ClassVar[str] = "capture"

    cameras_file: Path | None = Field(
        None, description="YAML file with the cameras to read from the start"
    )
    camera_state_file: Path | None = Field(
        None, description="file to keep the page's cameras in, passwords too, for the next start"
    )
    max_cameras: int = Field(32, ge=1, le=MAX_CAMERAS, description="read at most so many cameras")
    allow_local_sources: bool = Field(
        False,
        description="let cameras of this machine (file://, device://, loopback addresses) be added "
        "at run time too",
    )
    allow_link_local_sources: bool = Field(
        False,
        description="let cameras at link-local addresses (169.254.…, fe80:…) be added at run time "
        "too",
    )
    lease_ttl_s: float = Field(
        5.0, ge=1, le=60, description="a capture service silent for so long loses its cameras"
    )
    open_timeout_s: float = Field(
        8.0, gt=0, le=60, description="give up opening a camera after so long"
    )
    stall_timeout_s: float = Field(
        2.0, gt=0, le=60, description="a camera without a frame for so long is stalled"
    )
    read_timeout_s: float = Field(
        5.0, gt=0, le=60, description="a camera without a frame for so long is opened again"
    )

    detection_fps: float = Field(
        5.0,
        gt=0,
        le=60,
        description="look for faces so often a second on each camera where they come, go or move",
    )
    detection_idle_fps: float = Field(
        3.0, gt=0, le=60, description="and so often where they do not; a new face waits so long"
    )
    detector_long_side_px: int = Field(
        640, ge=64, le=1920, description="detector input, longer side"
    )
    detector_short_side_px: int = Field(
        384, ge=64, le=1920, description="detector input, shorter side"
    )
    min_detection_score: float = Field(
        0.6, gt=0, lt=1, description="ignore what the detector is less sure of (0-1)"
    )

    crop_interval_s: float = Field(
        1.0, gt=0, le=60, description="ask for age and gender of a face so often"
    )
    min_face_px: float = Field(
        24.0, ge=0, description="do not ask for a face smaller than this in the picture"
    )
    min_frontality: float = Field(
        0.15, ge=0, le=1, description="do not ask for a face turned further away (0-1)"
    )
    crop_size_px: int = Field(CROP_PX, ge=32, le=512, description="side of a face crop")
    crop_jpeg_quality: int = Field(90, ge=1, le=100, description="JPEG quality of face crops")
    face_shards: int = Field(
        DEFAULT_SHARDS, ge=1, le=256, description="face streams; the same for capture and workers"
    )

    privacy_mode: Privacy = Field(
        "full",
        description="image data that may leave capture: full = frames, blur = frames with "
        "pixelated faces, stats-only = no frames; a camera may be stricter",
    )
    live_view_max_fps: float = Field(
        30.0, gt=0, le=120, description="most pictures a second of a camera that somebody watches"
    )
    jpeg_quality: int = Field(80, ge=1, le=100, description="JPEG quality of whole pictures")

    health_host: str = Field("127.0.0.1", description="address of /livez, /readyz and /metrics")
    health_port: int = Field(
        9101, ge=0, le=65535, description="port of /livez, /readyz and /metrics; 0 takes any"
    )

    @field_validator("detector_long_side_px", "detector_short_side_px")
    @classmethod
    def _is_whole_strides(cls, size_px: int) -> int:
        if size_px % _DETECTOR_STEP_PX:
            raise ValueError(f"must be a multiple of {_DETECTOR_STEP_PX}")
        return size_px
