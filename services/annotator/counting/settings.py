"""Settings of the counting: what a person is, where counts are kept, and who is told."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from services.common.redaction import remember_url
from services.common.settings import CommonSettings


class CountingSettings(CommonSettings):
    """A part of the annotator's settings."""

    person_after_s: float = Field(
        0.6, ge=0, le=60, description="a face seen for so long is a person and is counted"
    )
    rejoin_s: float = Field(
        5.0, ge=0, le=60, description="a person out of sight for so long at most is still the same"
    )
    settle_s: float = Field(
        30.0, gt=0, le=3600, description="somebody who stays is counted after so long at the latest"
    )
    counts_file: Path | None = Field(
        None,
        description="SQLite file that keeps the counts; without one they are lost with the process",
    )
    counts_keep_days: int = Field(
        400, ge=1, le=3660, description="counts older than so many days are deleted"
    )
    webhook_url: SecretStr | None = Field(
        None, description="http(s):// address that is told of every person counted"
    )
    webhook_secret: SecretStr | None = Field(
        None, description="key of the signature (HMAC-SHA256) of what is sent there"
    )

    @field_validator("webhook_url")
    @classmethod
    def _is_http(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None or not url.get_secret_value():
            return None
        parts = urlsplit(url.get_secret_value())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write it as http://host/path or https://host/path")
        remember_url(url.get_secret_value())
        return url
