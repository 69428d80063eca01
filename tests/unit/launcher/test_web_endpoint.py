from __future__ import annotations

from pathlib import Path

import pytest
from facestream.common.core.errors import SettingsError, StartError
from facestream.launcher.settings import UpSettings
from facestream.launcher.web_endpoint import TOKEN_NAME, resolve_endpoint


def test_loopback_needs_no_authentication(tmp_path: Path) -> None:
    endpoint = resolve_endpoint(UpSettings(port=7000), tmp_path, None)
    assert (endpoint.display_url, endpoint.local_url) == (
        "http://localhost:7000",
        "http://127.0.0.1:7000",
    )
    assert endpoint.admin_link == ""
    assert set(endpoint.environment) == {"FACESTREAM_ANNOTATOR_HOST", "FACESTREAM_ANNOTATOR_PORT"}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "2001:db8::7"])
def test_other_addresses_get_an_admin_token(tmp_path: Path, host: str) -> None:
    endpoint = resolve_endpoint(UpSettings(host=host, port=7000), tmp_path, None)
    file = tmp_path / TOKEN_NAME
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == endpoint.token
    assert len(endpoint.token) >= 32
    assert endpoint.admin_link == f"{endpoint.display_url}/login#token={endpoint.token}"
    assert endpoint.environment["FACESTREAM_ANNOTATOR_ADMIN_TOKEN_FILE"] == str(file)
    assert endpoint.display_url not in ("http://0.0.0.0:7000", "http://[::]:7000")
    assert endpoint.token not in repr(endpoint)
    (tmp_path / "other").mkdir()
    other = resolve_endpoint(UpSettings(host=host, port=7000), tmp_path / "other", None)
    assert other.token != endpoint.token


def test_configured_token_is_used_on_loopback_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("t" * 24)
    monkeypatch.setenv("FACESTREAM_ANNOTATOR_ADMIN_TOKEN_FILE", str(tmp_path / "token"))
    endpoint = resolve_endpoint(UpSettings(), tmp_path, None)
    assert endpoint.token == "t" * 24
    assert endpoint.admin_link == ""  # the terminal or the journal would show it at every start
    (tmp_path / "token").write_text("short")
    with pytest.raises(SettingsError, match="a token needs at least 24"):
        resolve_endpoint(UpSettings(), tmp_path, None)


def test_configured_users_get_a_token_for_the_launcher(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.yaml").write_text("annotator: {users_file: /somewhere/users.yaml}")
    assert resolve_endpoint(UpSettings(), tmp_path, tmp_path / "config.yaml").token


def test_configured_certificate_means_https(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("annotator: {tls_cert_file: /a.pem, tls_key_file: /b.pem}")
    endpoint = resolve_endpoint(UpSettings(port=7000), tmp_path, tmp_path / "c.yaml")
    assert endpoint.display_url == "https://localhost:7000"
    assert endpoint.certificate == Path("/a.pem")


def test_unknown_host_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot listen on nowhere"):
        resolve_endpoint(UpSettings(host="nowhere.invalid"), tmp_path, None)
