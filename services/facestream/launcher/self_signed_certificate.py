"""Create a self-signed certificate for the web UI, so that phones can open it by HTTPS.

A browser warns of it once and remembers the decision. The certificate is therefore stored and
reused until shortly before it expires. Each set of names has its own certificate: a laptop that
returns to a network then uses the one that its phones accepted there. The `openssl` command creates
it, because a Python library for this would be larger than the annotator.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Collection
from pathlib import Path

from facestream.common.core.errors import StartError

VALID_DAYS = 397  # browsers reject certificates that are valid for longer
_RENEW_BEFORE_S = 30 * 86400
_OPENSSL_TIMEOUT_S = 20.0
_COMMON_NAME_PREFIX = "facestream on "
_MAX_COMMON_NAME_CHARS = 64  # RFC 5280, A.1; names of cloud machines can be longer

_CONFIGURATION = """
[req]
distinguished_name = subject
x509_extensions = extensions
prompt = no
[subject]
CN = {common_name}
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = {alternative_names}
"""


def ensure_self_signed(folder: Path, host: str, names: Collection[str]) -> tuple[Path, Path]:
    """Return the files of a certificate for these names and its key; create them if necessary.

    Args:
        folder: where the files are stored; created with mode 0700 if missing.
        host: name of this machine, for the certificate's common name.
        names: host names and addresses under which the web UI is opened.

    Raises:
        StartError: `openssl` is missing or fails, or the folder cannot be written.
    """
    alternative_names = ",".join(sorted({_format_alternative_name(name) for name in names}))
    base = f"page-{hashlib.sha256(alternative_names.encode()).hexdigest()[:12]}"
    certificate, key = folder / f"{base}.crt", folder / f"{base}.key"
    openssl = shutil.which("openssl")
    if openssl is None:
        raise StartError(
            "--https needs the openssl command to create a certificate; install it, or set "
            "FACESTREAM_ANNOTATOR_TLS_CERT_FILE and FACESTREAM_ANNOTATOR_TLS_KEY_FILE"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _is_usable(openssl, certificate, key):
            common_name = (_COMMON_NAME_PREFIX + host)[:_MAX_COMMON_NAME_CHARS]
            configuration = _CONFIGURATION.format(
                common_name=common_name, alternative_names=alternative_names
            )
            _create(openssl, folder, certificate, key, configuration)
    except OSError as error:
        raise StartError(f"{folder}: {error.strerror or error}") from None
    return certificate, key


def _format_alternative_name(name: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def _is_usable(openssl: str, certificate: Path, key: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError:
        return False
    check = ["x509", "-checkend", str(_RENEW_BEFORE_S), "-noout", "-in", str(certificate)]
    return _run(openssl, check).returncode == 0


def _create(openssl: str, folder: Path, certificate: Path, key: Path, configuration: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        new = Path(name)
        (new / "openssl.cnf").write_text(configuration)
        result = _run(
            openssl,
            [
                *("req", "-x509", "-new", "-newkey", "ec", "-pkeyopt"),
                *("ec_paramgen_curve:prime256v1", "-nodes", "-sha256", "-days", str(VALID_DAYS)),
                *("-config", str(new / "openssl.cnf")),
                *("-keyout", str(new / "key"), "-out", str(new / "certificate")),
            ],
        )
        if result.returncode != 0:
            lines = result.stderr.strip().splitlines() or ["no reason given"]
            raise StartError(f"openssl cannot create a certificate: {lines[-1]}")
        (new / "key").chmod(0o600)
        os.replace(new / "key", key)
        os.replace(new / "certificate", certificate)


def _run(openssl: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603
            [openssl, *arguments],
            capture_output=True,
            text=True,
            timeout=_OPENSSL_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StartError(f"openssl took more than {_OPENSSL_TIMEOUT_S:g} s") from None
