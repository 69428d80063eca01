"""Settings of the annotator: where it listens, how it draws, when it is sure enough to speak.

Those of the counting stand in `counting/settings.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from facestream.annotator.counting.settings import CountingSettings
from facestream.common.broker.keys import MAX_CAMERAS


class AnnotatorSettings(CountingSettings):
    """`facestream annotator`; in the environment `FACESTREAM_ANNOTATOR_…`."""

    section: ClassVar[str] = "annotator"

    host: str = Field(
        "127.0.0.1",
        description="address to listen on; 0.0.0.0 for the whole network, "
        "which needs a token or users",
    )
    port: int = Field(
        8080, ge=0, le=65535, description="port of the page and the API; 0 = any free"
    )
    allowed_hosts: str = Field(
        "",
        description="public host names, comma-separated, under which the page may be opened; "
        "addresses, localhost and local names always may",
    )
    trusted_proxies: str = Field(
        "127.0.0.1,::1",
        description="addresses and networks, comma-separated, of proxies that are believed when "
        "they say who asks, and that he asks by https",
    )
    admin_token_file: Path | None = Field(
        None, description="file with a token: whoever bears it may look and change cameras"
    )
    viewer_token_file: Path | None = Field(
        None, description="file with another token: whoever bears it may look"
    )
    users_file: Path | None = Field(
        None, description="YAML file of users with hashed passwords; see docs/security.md"
    )
    tls_cert_file: Path | None = Field(
        None, description="PEM file with the certificate and its chain: the page by https"
    )
    tls_key_file: Path | None = Field(None, description="PEM file with the certificate's key")
    max_phone_cameras: int = Field(
        8, ge=0, le=MAX_CAMERAS, description="phones that are cameras by a link, without an app"
    )
    phone_fps: float = Field(
        15.0, ge=1, le=30, description="pictures a second that such a phone is asked for"
    )
    phone_base_url: str = Field(
        "",
        pattern=r"^(https?://[^/#?\s]+/?)?$",
        description="https://HOST:PORT under which phones find the page, for their link where the "
        "page is opened under localhost",
    )
    jpeg_quality: int = Field(80, ge=30, le=95, description="quality of the annotated pictures")
    max_video_streams: int = Field(64, ge=1, le=4096, description="picture streams open at once")
    max_event_streams: int = Field(64, ge=1, le=4096, description="event streams open at once")
    send_timeout_s: float = Field(
        20.0, gt=0, description="a viewer that takes no byte for so long is dropped"
    )
    snapshot_timeout_s: float = Field(
        4.0, gt=0, le=30, description="how long a snapshot waits for a fresh picture"
    )
    stale_frame_timeout_s: float = Field(
        2.0, gt=0, description="without a new frame for so long, viewers are told that it stalled"
    )
    display_min_evidence: float = Field(
        0.4, ge=0, description="sum of answer qualities (0-1 each) before anything is shown"
    )
    display_max_age_interval_years: float = Field(
        30.0, gt=0, description="age is shown once its 80 % interval is this narrow"
    )
    display_min_gender_probability: float = Field(
        0.8, gt=0.5, lt=1, description="gender is shown once this probable"
    )
    track_retention_s: float = Field(
        10.0, gt=0, description="a track unseen for so long is forgotten with its answers"
    )

    health_host: str = Field("127.0.0.1", description="address of /livez, /readyz and /metrics")
    health_port: int = Field(
        9104, ge=0, le=65535, description="port of /livez, /readyz and /metrics; 0 = any free"
    )

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("TLS needs both tls_cert_file and tls_key_file")
        return self
