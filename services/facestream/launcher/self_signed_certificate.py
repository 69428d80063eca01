"""A certificate of this machine's own for the page, so that phones can open it by https.

It vouches for itself: a browser warns of it once and keeps the answer, so it is kept and used again
until it nears its end. Each set of names has a certificate of its own: a laptop that is carried to
another network and back meets the phones there with the certificate that they know. The `openssl`
command makes it; a library for this would be larger than the annotator.
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

DAYS = 397  # browsers take no longer ones
_RENEW_BEFORE_S = 30 * 86400
_OPENSSL_S = 20.0
_NAME = "facestream on "
_MAX_NAME_CHARS = 64  # of a common name, RFC 5280, A.1; a machine in a cloud may have a longer one

_CONFIGURATION = """
[req]
distinguished_name = subject
x509_extensions = extensions
prompt = no
[subject]
CN = {name}
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = {names}
"""


def ensure_self_signed(folder: Path, host: str, names: Collection[str]) -> tuple[Path, Path]:
    """Files of a certificate for these names and of its key; made where there is none that is good.

    Args:
        folder: where they are kept; made if need be, shut to others.
        host: the name of this machine, for whoever looks at the certificate.
        names: host names and addresses under which the page is opened.

    Raises:
        StartError: there is no `openssl`, or it cannot make one, or the folder cannot be written.
    """
    wanted = ",".join(sorted({_alternative(name) for name in names}))
    base = f"page-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    certificate, key = folder / f"{base}.crt", folder / f"{base}.key"
    openssl = shutil.which("openssl")
    if openssl is None:
        raise StartError(
            "--https needs the command openssl to make a certificate: install it, or give "
            "FACESTREAM_ANNOTATOR_TLS_CERT_FILE and FACESTREAM_ANNOTATOR_TLS_KEY_FILE"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _is_good(openssl, certificate, key):
            shown = host[: _MAX_NAME_CHARS - len(_NAME)]
            configuration = _CONFIGURATION.format(name=_NAME + shown, names=wanted)
            _make(openssl, folder, certificate, key, configuration)
    except OSError as error:
        raise StartError(f"{folder}: {error.strerror or error}") from None
    return certificate, key


def _alternative(name: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def _is_good(openssl: str, certificate: Path, key: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError:
        return False
    lasts = ["x509", "-checkend", str(_RENEW_BEFORE_S), "-noout", "-in", str(certificate)]
    return _run(openssl, lasts).returncode == 0


def _make(openssl: str, folder: Path, certificate: Path, key: Path, configuration: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        new = Path(name)
        (new / "openssl.cnf").write_text(configuration)
        made = _run(
            openssl,
            [
                *("req", "-x509", "-new", "-newkey", "ec", "-pkeyopt"),
                *("ec_paramgen_curve:prime256v1", "-nodes", "-sha256", "-days", str(DAYS)),
                *("-config", str(new / "openssl.cnf")),
                *("-keyout", str(new / "key"), "-out", str(new / "certificate")),
            ],
        )
        if made.returncode != 0:
            said = made.stderr.strip().splitlines() or ["no word why"]
            raise StartError(f"openssl cannot make a certificate: {said[-1]}")
        (new / "key").chmod(0o600)
        os.replace(new / "key", key)
        os.replace(new / "certificate", certificate)


def _run(openssl: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603
            [openssl, *arguments], capture_output=True, text=True, timeout=_OPENSSL_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise StartError(f"openssl took more than {_OPENSSL_S:g} s") from None
