"""Certificates and keys for gRPC, read from PEM files; each side may prove who it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc

from facestream.common.core.errors import SettingsError


def client_credentials(ca_file: Path, cert_file: Path | None, key_file: Path | None) -> Any:
    """For a channel to a server whose certificate this CA (or the certificate itself) vouches for.

    Args:
        ca_file: whom to trust.
        cert_file, key_file: who we are, for a server that asks for it; both or none.

    Raises:
        SettingsError: a file cannot be read or is not PEM.
    """
    return grpc.ssl_channel_credentials(
        _pem(ca_file), _pem(key_file) if key_file else None, _pem(cert_file) if cert_file else None
    )


def server_credentials(cert_file: Path, key_file: Path, client_ca_file: Path | None) -> Any:
    """For a port with this certificate; with a CA for clients it takes only those it vouches for.

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
