"""Settings of the annotator: where it listens, how it draws, when it is sure enough to speak.

Those of the counting stand in `counting/settings.py`.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from services.annotator.counting.settings import CountingSettings


class AnnotatorSettings(CountingSettings):
    """`facestream annotator`; in the environment `FACESTREAM_ANNOTATOR_…`."""

    section: ClassVar[str] = "annotator"

    host: str = Field(
        "127.0.0.1", description="address to listen on; 0.0.0.0 for the whole network"
    )
    port: int = Field(
        8080, ge=0, le=65535, description="port of the page and the API; 0 = any free"
    )
    allowed_hosts: str = Field(
        "",
        description="public host names, comma-separated, under which the page may be opened; "
        "addresses, localhost and local names always may",
    )
    jpeg_quality: int = Field(80, ge=30, le=95, description="quality of the annotated pictures")
    max_viewers: int = Field(64, ge=1, le=4096, description="picture streams open at once")
    max_listeners: int = Field(64, ge=1, le=4096, description="event streams open at once")
    viewer_timeout_s: float = Field(
        20.0, gt=0, description="a viewer that takes no byte for so long is dropped"
    )
    snapshot_deadline_s: float = Field(
        4.0, gt=0, le=30, description="how long a snapshot waits for a fresh picture"
    )
    stale_after_s: float = Field(
        2.0, gt=0, description="without a new frame for so long, viewers are told that it stalled"
    )
    commit_weight: float = Field(
        0.4, ge=0, description="sum of answer qualities (0-1 each) before anything is shown"
    )
    commit_interval_years: float = Field(
        30.0, gt=0, description="age is shown once its 80 % interval is this narrow"
    )
    commit_gender_probability: float = Field(
        0.8, gt=0.5, lt=1, description="gender is shown once this probable"
    )
    forget_after_s: float = Field(
        10.0, gt=0, description="a track unseen for so long is forgotten with its answers"
    )
