"""Settings of the counts database."""

from __future__ import annotations

from pathlib import Path

import pytest
from facestream.annotator.settings import AnnotatorSettings
from facestream.common.core.errors import SettingsError
from facestream.common.security.redaction import redact
from pydantic import SecretStr

URL = "postgresql://anna:geheim-7@db.example/audience"


def test_the_database_url_is_read_from_a_file_and_redacted(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{URL}\n")
    settings = AnnotatorSettings(counts_db_url_file=tmp_path / "url")
    assert settings.database_url() == URL
    assert redact("it said geheim-7") == "it said ***"
    given = AnnotatorSettings(counts_db_url=SecretStr(URL))
    assert given.database_url() == URL
    assert "geheim-7" not in repr(given)
    assert AnnotatorSettings(counts_db_url=SecretStr("")).database_url() is None


def test_a_file_without_a_url_is_reported(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("\n")
    for name, said in (("url", "file is empty"), ("none", "No such file")):
        with pytest.raises(SettingsError, match=said):
            AnnotatorSettings(counts_db_url_file=tmp_path / name).database_url()


def test_two_urls_are_rejected() -> None:
    environment = {
        "FACESTREAM_ANNOTATOR_COUNTS_DB_URL": URL,
        "FACESTREAM_ANNOTATOR_COUNTS_DB_URL_FILE": "/run/secrets/counts-db-url",
    }
    with pytest.raises(SettingsError, match="set counts_db_url or counts_db_url_file, not both"):
        AnnotatorSettings.load(environ=environment)
