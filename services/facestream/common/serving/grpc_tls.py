"""TLS credentials for gRPC from PEM files, with optional client certificates (mutual TLS)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc

from facestream.common.core.errors import SettingsError


def client_credentials(ca_file: Path, cert_file: Path | None, key_file: Path | None) -> Any:
    """Return credentials for a channel to a server.

    Args:
        ca_file: the CA that signed the server's certificate, or that certificate itself.
        cert_file: client certificate for mutual TLS; requires `key_file`.
        key_file: private key of the client certificate.

    Raises:
        SettingsError: a file cannot be read or is not PEM.
    """
    return grpc.ssl_channel_credentials(
        _pem(ca_file), _pem(key_file) if key_file else None, _pem(cert_file) if cert_file else None
    )


def server_credentials(cert_file: Path, key_file: Path, client_ca_file: Path | None) -> Any:
    """Return credentials for a port; with `client_ca_file`, clients need a certificate of that CA.

    Raises:
        SettingsError: a file cannot be read or is not PEM.
    """
    return grpc.ssl_server_credentials(
        [(_pem(key_file), _pem(cert_file))],
        _pem(client_ca_file) if client_ca_file else None,
        require_client_auth=client_ca_file is not None,
    )


def _pem(file: Path) -> bytes:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    if b"-----BEGIN" not in data:
        raise SettingsError(f"{file}: not a PEM file")
    return data
