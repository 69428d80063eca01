"""Tests of the self-signed certificate."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from facestream.common.core.errors import StartError
from facestream.launcher import self_signed_certificate
from facestream.launcher.data_dir import data_dir
from facestream.launcher.self_signed_certificate import ensure_self_signed
from facestream.launcher.settings import UpSettings
from facestream.launcher.web_endpoint import resolve_endpoint

NAMES = ("localhost", "127.0.0.1", "::1", "laptop.local", "192.168.1.7")


def certificate_text(file: Path) -> str:
    openssl = shutil.which("openssl")
    assert openssl is not None
    return subprocess.run(
        [openssl, "x509", "-in", str(file), "-noout", "-text"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_certificate_covers_every_name_and_the_key_is_private(tmp_path: Path) -> None:
    crt, key = ensure_self_signed(tmp_path / "tls", "laptop", NAMES)
    text = certificate_text(crt)
    for name in ("IP Address:192.168.1.7", "DNS:laptop.local", "TLS Web Server Auth", "CA:FALSE"):
        assert name in text
    assert key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700
    assert sorted(p.suffix for p in (tmp_path / "tls").iterdir()) == [".crt", ".key"]
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(crt, key)


def test_long_host_name_is_supported(tmp_path: Path) -> None:
    host = "a-machine-of-a-cloud.europe-west4-a.c.a-project-of-ours.internal"
    crt, _ = ensure_self_signed(tmp_path, host, (*NAMES, host))
    assert f"DNS:{host}" in certificate_text(crt)


def test_certificate_is_reused_until_damaged_or_near_expiry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crt, key = ensure_self_signed(tmp_path, "laptop", NAMES)
    first = crt.read_bytes()
    assert ensure_self_signed(tmp_path, "laptop", reversed(NAMES)) == (crt, key)  # type: ignore[arg-type]
    assert crt.read_bytes() == first
    elsewhere, _ = ensure_self_signed(tmp_path, "laptop", (*NAMES, "10.0.0.5"))
    assert elsewhere != crt
    key.write_text("damaged")
    ensure_self_signed(tmp_path, "laptop", NAMES)
    second = crt.read_bytes()
    assert second != first
    monkeypatch.setattr(
        self_signed_certificate, "_RENEW_BEFORE_S", (self_signed_certificate.VALID_DAYS + 1) * 86400
    )
    ensure_self_signed(tmp_path, "laptop", NAMES)
    assert crt.read_bytes() != second


def test_errors_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="Not a directory"):
        ensure_self_signed(tmp_path / "file" / "tls", "laptop", NAMES)
    with pytest.raises(StartError, match="openssl cannot create a certificate"):
        ensure_self_signed(tmp_path, "laptop", ["a,b:c"])
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(StartError, match="--https needs the openssl command"):
        ensure_self_signed(tmp_path, "laptop", NAMES)


def test_https_sets_the_certificate_and_the_phone_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "run").mkdir()
    endpoint = resolve_endpoint(
        UpSettings(host="0.0.0.0", port=7000, https=True), tmp_path / "run", None
    )
    assert endpoint.display_url.startswith("https://")
    assert endpoint.environment["FACESTREAM_ANNOTATOR_PHONE_BASE_URL"] == endpoint.display_url
    crt = Path(endpoint.environment["FACESTREAM_ANNOTATOR_TLS_CERT_FILE"])
    assert endpoint.certificate == crt
    assert data_dir() in crt.parents
    assert endpoint.display_url.removeprefix("https://").rpartition(":")[0] in certificate_text(crt)
    local = resolve_endpoint(UpSettings(port=7000, https=True), tmp_path, None)
    assert local.display_url == "https://localhost:7000"
    assert "FACESTREAM_ANNOTATOR_PHONE_BASE_URL" not in local.environment
