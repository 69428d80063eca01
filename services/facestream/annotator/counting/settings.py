"""Settings of the counting: what a person is, where counts are kept, and who is told."""

from __future__ import annotations

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from facestream.common.core.config_files import read_text
from facestream.common.core.errors import SettingsError
from facestream.common.core.settings import CommonSettings
from facestream.common.security.egress_policy import EgressPolicy
from facestream.common.security.redaction import register_url_password


class CountingSettings(CommonSettings):
    """A part of the annotator's settings."""

    min_visit_s: float = Field(
        0.6, ge=0, le=60, description="a face seen for so long is a person and is counted"
    )
    max_visit_gap_s: float = Field(
        5.0, ge=0, le=60, description="a person out of sight for so long at most is still the same"
    )
    count_after_s: float = Field(
        30.0, gt=0, le=3600, description="somebody who stays is counted after so long at the latest"
    )
    counts_db_file: Path | None = Field(
        None,
        description="SQLite file that keeps the counts; without one they are lost with the process",
    )
    counts_db_url: SecretStr | None = Field(
        None,
        description="database that keeps the counts in place of the file: "
        "postgresql://user:password@host/name, or any that SQLAlchemy has a driver for",
    )
    counts_db_url_file: Path | None = Field(
        None, description="file with one line, that URL: keeps its password out of the environment"
    )
    counts_retention_days: int = Field(
        400, ge=1, le=3660, description="counts older than so many days are deleted"
    )
    webhook_url: SecretStr | None = Field(
        None, description="http(s):// address that is told of every person counted"
    )
    webhook_secret: SecretStr | None = Field(
        None, description="key of the signature (HMAC-SHA256) of what is sent there"
    )
    webhook_allow_local: bool = Field(
        False, description="let the webhook be on this machine (loopback addresses)"
    )
    webhook_allow_link_local: bool = Field(
        False, description="let the webhook be at link-local addresses (169.254.…, fe80:…)"
    )

    def database_url(self) -> str | None:
        """The URL of the database, from wherever it is given; None where there is none.

        Raises:
            SettingsError: its file cannot be read or is empty.
        """
        if self.counts_db_url_file is None:
            return self.counts_db_url.get_secret_value() if self.counts_db_url else None
        url = read_text(self.counts_db_url_file).strip()
        if not url:
            raise SettingsError(f"{self.counts_db_url_file}: holds no URL")
        register_url_password(url)
        return url

    @property
    def webhook_egress_policy(self) -> EgressPolicy:
        """Where the webhook may be."""
        return EgressPolicy(
            "the webhook",
            self.webhook_allow_local,
            self.webhook_allow_link_local,
            "FACESTREAM_ANNOTATOR_WEBHOOK_ALLOW_LOCAL=true",
            "FACESTREAM_ANNOTATOR_WEBHOOK_ALLOW_LINK_LOCAL=true",
        )

    @model_validator(mode="after")
    def _webhook_may_be_there(self) -> Self:
        """An address that is written out is judged here; a name when it is connected to."""
        if self.webhook_url is None:
            return self
        host = str(urlsplit(self.webhook_url.get_secret_value()).hostname)
        try:
            reason = self.webhook_egress_policy.denial_reason(host)
        except ValueError:  # a name
            return self
        if reason:
            raise ValueError(f"webhook_url: {host}: {reason}")
        return self

    @model_validator(mode="after")
    def _counts_are_in_one_database(self) -> Self:
        if self.counts_db_url is not None and self.counts_db_url_file is not None:
            raise ValueError("counts_db_url or counts_db_url_file, not both")
        return self

    @field_validator("counts_db_url", "webhook_url")
    @classmethod
    def _is_kept_secret(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None or not url.get_secret_value():
            return None
        register_url_password(url.get_secret_value())
        return url

    @field_validator("webhook_url")
    @classmethod
    def _is_http(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        parts = urlsplit(url.get_secret_value())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write it as http://host/path or https://host/path")
        if parts.username is not None:
            raise ValueError("it may carry no user and password; webhook_secret signs what is sent")
        return url
