"""Settings of people counting: visit thresholds, count storage and the webhook."""

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
    """The part of the annotator's settings that is about counting."""

    min_visit_s: float = Field(0.6, ge=0, le=60, description="shortest visit that is counted")
    max_visit_gap_s: float = Field(
        5.0, ge=0, le=60, description="longest gap between two tracks of one visit"
    )
    count_after_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="a visit that lasts longer is counted after this time",
    )
    counts_db_file: Path | None = Field(
        None,
        description="SQLite file for the counts; without it they are lost when the process stops",
    )
    counts_db_url: SecretStr | None = Field(
        None,
        description="database for the counts, instead of the file: "
        "postgresql://user:password@host/name, or any other URL that SQLAlchemy supports",
    )
    counts_db_url_file: Path | None = Field(
        None, description="file that contains that URL, so that no password is in the environment"
    )
    counts_retention_days: int = Field(
        400, ge=1, le=3660, description="counts older than this are deleted"
    )
    webhook_url: SecretStr | None = Field(
        None, description="http(s):// URL that gets every visit and crossing"
    )
    webhook_secret: SecretStr | None = Field(
        None, description="key of the HMAC-SHA256 signature of webhook requests"
    )
    webhook_allow_local: bool = Field(
        False, description="allow a webhook on this machine (loopback addresses)"
    )
    webhook_allow_link_local: bool = Field(
        False, description="allow a webhook at link-local addresses (169.254.…, fe80:…)"
    )

    def database_url(self) -> str | None:
        """Return the database URL from the setting or from its file; None if neither is set.

        Raises:
            SettingsError: the file cannot be read or is empty.
        """
        if self.counts_db_url_file is None:
            return self.counts_db_url.get_secret_value() if self.counts_db_url else None
        url = read_text(self.counts_db_url_file).strip()
        if not url:
            raise SettingsError(f"{self.counts_db_url_file}: file is empty; write the URL into it")
        register_url_password(url)
        return url

    @property
    def webhook_egress_policy(self) -> EgressPolicy:
        """Network addresses that the webhook may connect to."""
        return EgressPolicy(
            "the webhook",
            self.webhook_allow_local,
            self.webhook_allow_link_local,
            "FACESTREAM_ANNOTATOR_WEBHOOK_ALLOW_LOCAL=true",
            "FACESTREAM_ANNOTATOR_WEBHOOK_ALLOW_LINK_LOCAL=true",
        )

    @model_validator(mode="after")
    def _is_webhook_allowed(self) -> Self:
        """Check an IP address now; a host name is checked at each connection."""
        if self.webhook_url is None:
            return self
        host = str(urlsplit(self.webhook_url.get_secret_value()).hostname)
        try:
            reason = self.webhook_egress_policy.denial_reason(host)
        except ValueError:  # a host name
            return self
        if reason:
            raise ValueError(f"webhook_url: {host}: {reason}")
        return self

    @model_validator(mode="after")
    def _has_one_database(self) -> Self:
        if self.counts_db_url is not None and self.counts_db_url_file is not None:
            raise ValueError("set counts_db_url or counts_db_url_file, not both")
        return self

    @field_validator("counts_db_url", "webhook_url")
    @classmethod
    def _register_password(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None or not url.get_secret_value():
            return None
        register_url_password(url.get_secret_value())
        return url

    @field_validator("webhook_url")
    @classmethod
    def _is_http_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        parts = urlsplit(url.get_secret_value())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write it as http://host/path or https://host/path")
        if parts.username is not None:
            raise ValueError("remove user and password; webhook_secret signs the requests")
        return url
