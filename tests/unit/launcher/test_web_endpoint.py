from __future__ import annotations

from pathlib import Path

import pytest
from facestream.common.core.errors import SettingsError, StartError
from facestream.launcher.settings import UpSettings
from facestream.launcher.web_endpoint import TOKEN_NAME, resolve_endpoint


def test_on_this_machine_alone_the_door_is_open(tmp_path: Path) -> None:
    door = resolve_endpoint(UpSettings(port=7000), tmp_path, None)
    assert (door.display_url, door.local_url) == ("http://localhost:7000", "http://127.0.0.1:7000")
    assert door.link == ""
    assert set(door.environment) == {"FACESTREAM_ANNOTATOR_HOST", "FACESTREAM_ANNOTATOR_PORT"}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "2001:db8::7"])
def test_on_any_other_address_a_token_is_made(tmp_path: Path, host: str) -> None:
    door = resolve_endpoint(UpSettings(host=host, port=7000), tmp_path, None)
    file = tmp_path / TOKEN_NAME
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == door.token
    assert len(door.token) >= 32
    assert door.link == f"{door.display_url}/login#token={door.token}"
    assert door.environment["FACESTREAM_ANNOTATOR_ADMIN_TOKEN_FILE"] == str(file)
    assert door.display_url not in ("http://0.0.0.0:7000", "http://[::]:7000")
    assert door.token not in repr(door)
    (tmp_path / "other").mkdir()
    other = resolve_endpoint(UpSettings(host=host, port=7000), tmp_path / "other", None)
    assert other.token != door.token


def test_a_token_of_ones_own_is_used_also_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("t" * 24)
    monkeypatch.setenv("FACESTREAM_ANNOTATOR_ADMIN_TOKEN_FILE", str(tmp_path / "token"))
    door = resolve_endpoint(UpSettings(), tmp_path, None)
    assert door.token == "t" * 24
    assert door.link == ""  # it would stand in the terminal, or the journal, at every start
    (tmp_path / "token").write_text("short")
    with pytest.raises(SettingsError, match="a token needs at least 24"):
        resolve_endpoint(UpSettings(), tmp_path, None)


def test_users_alone_get_a_token_beside_them_as_the_stack_itself_must_come_in(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.yaml").write_text("annotator: {users_file: /somewhere/users.yaml}")
    assert resolve_endpoint(UpSettings(), tmp_path, tmp_path / "config.yaml").token


def test_with_a_certificate_the_page_is_https(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("annotator: {tls_cert_file: /a.pem, tls_key_file: /b.pem}")
    door = resolve_endpoint(UpSettings(port=7000), tmp_path, tmp_path / "c.yaml")
    assert door.display_url == "https://localhost:7000"
    assert door.certificate == Path("/a.pem")


def test_a_host_of_nobody_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot listen on nowhere"):
        resolve_endpoint(UpSettings(host="nowhere.invalid"), tmp_path, None)
