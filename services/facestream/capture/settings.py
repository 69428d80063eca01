"""Settings of capture, with their defaults and bounds."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from facestream.common.broker.keys import CROP_PX, DEFAULT_SHARDS, MAX_CAMERAS
from facestream.common.cameras.privacy import Privacy
from facestream.common.core.settings import CommonSettings

_DETECTOR_STRIDE_PX = 32  # the detector's STEP_PX; importing it would load OpenVINO


class CaptureSettings(CommonSettings):
    """Settings of the capture service."""

    section: ClassVar[str] = "capture"

    cameras_file: Path | None = Field(None, description="YAML file with the configured cameras")
    camera_state_file: Path | None = Field(
        None,
        description="file that persists cameras added in the web UI, passwords included; without "
        "it they are lost when Redis restarts",
    )
    max_cameras: int = Field(32, ge=1, le=MAX_CAMERAS, description="maximum cameras per replica")
    allow_local_sources: bool = Field(
        False,
        description="allow cameras added at run time to be on this machine (file://, device://, "
        "loopback addresses)",
    )
    allow_link_local_sources: bool = Field(
        False,
        description="allow cameras added at run time at link-local addresses (169.254.…, fe80:…)",
    )
    lease_ttl_s: float = Field(
        5.0,
        ge=1,
        le=60,
        description="lease duration: a capture replica without a heartbeat for this long loses its "
        "cameras",
    )
    open_timeout_s: float = Field(8.0, gt=0, le=60, description="timeout for opening a camera")
    stall_timeout_s: float = Field(
        2.0, gt=0, le=60, description="a camera without a frame for this long is stalled"
    )
    read_timeout_s: float = Field(
        5.0, gt=0, le=60, description="a camera without a frame for this long is reconnected"
    )

    detection_fps: float = Field(
        5.0,
        gt=0,
        le=60,
        description="detections per second and camera while faces appear, disappear or move",
    )
    detection_idle_fps: float = Field(
        3.0,
        gt=0,
        le=60,
        description="detections per second and camera otherwise; a low rate delays new faces",
    )
    detector_long_side_px: int = Field(
        640, ge=64, le=1920, description="detector input, longer side"
    )
    detector_short_side_px: int = Field(
        384, ge=64, le=1920, description="detector input, shorter side"
    )
    min_detection_score: float = Field(
        0.6, gt=0, lt=1, description="minimum detector score of a face (0-1)"
    )

    crop_interval_s: float = Field(
        1.0, gt=0, le=60, description="interval between two crops of a face"
    )
    min_face_px: float = Field(24.0, ge=0, description="minimum size of a face to send its crop")
    min_frontality: float = Field(
        0.15,
        ge=0,
        le=1,
        description="minimum frontality of a face to send its crop: 0 in profile, 1 frontal",
    )
    crop_size_px: int = Field(CROP_PX, ge=32, le=512, description="side of a face crop")
    crop_jpeg_quality: int = Field(90, ge=1, le=100, description="JPEG quality of face crops")
    face_shards: int = Field(
        DEFAULT_SHARDS,
        ge=1,
        le=256,
        description="number of face streams; must be equal for capture and workers",
    )

    privacy_mode: Privacy = Field(
        "full",
        description="image data that may leave capture: full = frames, blur = frames with "
        "pixelated faces, stats-only = no frames; a camera may be stricter",
    )
    live_view_max_fps: float = Field(
        30.0, gt=0, le=120, description="maximum frame rate of the live view"
    )
    jpeg_quality: int = Field(80, ge=1, le=100, description="JPEG quality of live-view frames")

    health_host: str = Field("127.0.0.1", description="address of /livez, /readyz and /metrics")
    health_port: int = Field(
        9101, ge=0, le=65535, description="port of /livez, /readyz and /metrics; 0 = any free port"
    )

    @field_validator("detector_long_side_px", "detector_short_side_px")
    @classmethod
    def _is_whole_strides(cls, size_px: int) -> int:
        if size_px % _DETECTOR_STRIDE_PX:
            raise ValueError(f"must be a multiple of {_DETECTOR_STRIDE_PX}")
        return size_px
