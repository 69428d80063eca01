"""Settings of the annotator: listening, authentication, streams, and display thresholds.

The settings of counting are in `counting/settings.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from facestream.annotator.counting.settings import CountingSettings
from facestream.common.broker.keys import MAX_CAMERAS


class AnnotatorSettings(CountingSettings):
    """Settings of `facestream annotator`; in the environment `FACESTREAM_ANNOTATOR_…`."""

    section: ClassVar[str] = "annotator"

    host: str = Field(
        "127.0.0.1",
        description="address to listen on; 0.0.0.0 for the whole network, "
        "which requires a token or users",
    )
    port: int = Field(
        8080, ge=0, le=65535, description="port of the web UI and the API; 0 = any free port"
    )
    allowed_hosts: str = Field(
        "",
        description="public host names of the web UI, comma-separated; addresses, localhost and "
        "local names are always allowed",
    )
    trusted_proxies: str = Field(
        "",
        description="addresses and networks of trusted proxies, comma-separated: their "
        "X-Forwarded-For and X-Forwarded-Proto headers are used; 127.0.0.1 for a proxy on this "
        "machine, empty for none",
    )
    admin_token_file: Path | None = Field(
        None, description="file with a token that grants the admin role"
    )
    viewer_token_file: Path | None = Field(
        None, description="file with a different token that grants the viewer role"
    )
    users_file: Path | None = Field(
        None, description="YAML file of users with hashed passwords; see docs/security.md"
    )
    tls_cert_file: Path | None = Field(
        None, description="PEM file with certificate and chain; enables HTTPS"
    )
    tls_key_file: Path | None = Field(None, description="PEM file with the private key")
    max_phone_cameras: int = Field(
        8, ge=0, le=MAX_CAMERAS, description="limit of phone browser cameras"
    )
    phone_fps: float = Field(
        15.0, ge=1, le=30, description="frames per second requested from a phone"
    )
    phone_base_url: str = Field(
        "",
        pattern=r"^(https?://[^/#?\s]+/?)?$",
        description="https://HOST:PORT under which phones reach the web UI; used in pairing links "
        "while the web UI is open under localhost",
    )
    jpeg_quality: int = Field(80, ge=30, le=95, description="JPEG quality of annotated frames")
    max_video_streams: int = Field(64, ge=1, le=4096, description="limit of open video streams")
    max_event_streams: int = Field(64, ge=1, le=4096, description="limit of open event streams")
    max_streams_per_client: int = Field(
        32,
        ge=1,
        le=4096,
        description="limit of open video streams, and of open event streams, per client address",
    )
    send_timeout_s: float = Field(
        20.0, gt=0, description="a client that reads no byte for this long is disconnected"
    )
    snapshot_timeout_s: float = Field(
        4.0, gt=0, le=30, description="time that a snapshot waits for a new frame"
    )
    stale_frame_timeout_s: float = Field(
        2.0, gt=0, description="without a new frame for this long, clients get a placeholder"
    )
    display_min_evidence: float = Field(
        0.4, ge=0, description="sum of crop qualities (0-1 each) before an estimate is shown"
    )
    display_max_age_interval_years: float = Field(
        30.0, gt=0, description="age is shown once its 80 % interval is at most this wide"
    )
    display_min_gender_probability: float = Field(
        0.8, gt=0.5, lt=1, description="gender is shown once its probability reaches this"
    )
    track_retention_s: float = Field(
        10.0, gt=0, description="a track is dropped, with its results, after this long out of view"
    )

    health_host: str = Field("127.0.0.1", description="address of /livez, /readyz and /metrics")
    health_port: int = Field(
        9104, ge=0, le=65535, description="port of /livez, /readyz and /metrics; 0 = any free port"
    )

    @model_validator(mode="after")
    def _check_tls_pair(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("TLS needs both tls_cert_file and tls_key_file")
        return self
