"""The certificate that a stack makes for itself."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from facestream.common.core.errors import StartError
from facestream.launcher import self_signed_certificate
from facestream.launcher.data_dir import data_folder
from facestream.launcher.self_signed_certificate import ensure_self_signed
from facestream.launcher.settings import UpSettings
from facestream.launcher.web_endpoint import resolve_endpoint

NAMES = ("localhost", "127.0.0.1", "::1", "laptop.local", "192.168.1.7")


def told(file: Path) -> str:
    openssl = shutil.which("openssl")
    assert openssl is not None
    return subprocess.run(
        [openssl, "x509", "-in", str(file), "-noout", "-text"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_it_holds_for_every_name_and_its_key_is_shut(tmp_path: Path) -> None:
    crt, key = ensure_self_signed(tmp_path / "tls", "laptop", NAMES)
    text = told(crt)
    for name in ("IP Address:192.168.1.7", "DNS:laptop.local", "TLS Web Server Auth", "CA:FALSE"):
        assert name in text
    assert key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700
    assert sorted(p.suffix for p in (tmp_path / "tls").iterdir()) == [".crt", ".key"]
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(crt, key)


def test_a_machine_with_a_long_name_gets_one_too(tmp_path: Path) -> None:
    host = "a-machine-of-a-cloud.europe-west4-a.c.a-project-of-ours.internal"
    crt, _ = ensure_self_signed(tmp_path, host, (*NAMES, host))
    assert f"DNS:{host}" in told(crt)


def test_it_is_kept_until_it_is_spoilt_or_nears_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crt, key = ensure_self_signed(tmp_path, "laptop", NAMES)
    first = crt.read_bytes()
    assert ensure_self_signed(tmp_path, "laptop", reversed(NAMES)) == (crt, key)  # type: ignore[arg-type]
    assert crt.read_bytes() == first
    elsewhere, _ = ensure_self_signed(tmp_path, "laptop", (*NAMES, "10.0.0.5"))
    assert elsewhere != crt
    key.write_text("spoilt")
    ensure_self_signed(tmp_path, "laptop", NAMES)
    second = crt.read_bytes()
    assert second != first
    monkeypatch.setattr(
        self_signed_certificate, "_RENEW_BEFORE_S", (self_signed_certificate.DAYS + 1) * 86400
    )
    ensure_self_signed(tmp_path, "laptop", NAMES)
    assert crt.read_bytes() != second


def test_what_hinders_it_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="Not a directory"):
        ensure_self_signed(tmp_path / "file" / "tls", "laptop", NAMES)
    with pytest.raises(StartError, match="openssl cannot make a certificate"):
        ensure_self_signed(tmp_path, "laptop", ["a,b:c"])
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(StartError, match="--https needs the command openssl"):
        ensure_self_signed(tmp_path, "laptop", NAMES)


def test_https_gives_the_annotator_a_certificate_and_phones_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "run").mkdir()
    door = resolve_endpoint(
        UpSettings(host="0.0.0.0", port=7000, https=True), tmp_path / "run", None
    )
    assert door.display_url.startswith("https://")
    assert door.environment["FACESTREAM_ANNOTATOR_PHONE_BASE_URL"] == door.display_url
    crt = Path(door.environment["FACESTREAM_ANNOTATOR_TLS_CERT_FILE"])
    assert door.certificate == crt
    assert data_folder() in crt.parents
    assert door.display_url.removeprefix("https://").rpartition(":")[0] in told(crt)
    local = resolve_endpoint(UpSettings(port=7000, https=True), tmp_path, None)
    assert local.display_url == "https://localhost:7000"
    assert "FACESTREAM_ANNOTATOR_PHONE_BASE_URL" not in local.environment
