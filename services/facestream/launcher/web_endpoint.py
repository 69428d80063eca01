"""Resolve the web UI's URL, admin token and TLS, for the user and for the launcher itself.

On the loopback address there is no authentication. On any other address, or where users or a token
are configured, there is, and an admin token always exists: the configured one, or else a new one in
the launcher's private folder, which is removed with it.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facestream.annotator.settings import AnnotatorSettings
from facestream.common.core.errors import StartError
from facestream.common.security.token_files import read_token, write_token
from facestream.launcher import local_http
from facestream.launcher.data_dir import data_dir
from facestream.launcher.self_signed_certificate import ensure_self_signed
from facestream.launcher.settings import UpSettings

CERTIFICATES_NAME = "tls"
TOKEN_NAME = "admin-token"  # noqa: S105  the name of a file
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TIMEOUT_S = 2.0
_LOOPBACK = "127.0.0.1"
_ANY_ADDRESS = ("0.0.0.0", "::", "")
# Documentation addresses (RFC 5737, RFC 3849): connecting a UDP socket sends nothing.
_REMOTE_ADDRESS = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


@dataclass(frozen=True)
class WebEndpoint:
    """Address and credentials of the web UI.

    display_url: URL for the user.
    local_url: URL for this process.
    environment: environment variables for the annotator.
    token: admin token; empty without authentication.
    is_new_token: the token was generated for this run, so the user does not know it.
    certificate: certificate of the web UI if it uses TLS.
    """

    display_url: str
    local_url: str
    environment: dict[str, str]
    token: str = field(default="", repr=False)
    is_new_token: bool = False
    certificate: Path | None = None

    @property
    def admin_link(self) -> str:
        """URL that signs in as admin; empty unless the token was generated for this run."""
        return f"{self.display_url}/login#token={self.token}" if self.is_new_token else ""

    def get(self, path: str) -> Any:
        """Return the JSON response of the API.

        Raises:
            OSError, HTTPException, ValueError: the API cannot be reached or returns no JSON.
        """
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        url = self.local_url + path
        with local_http.get(url, _TIMEOUT_S, headers, self._tls_context()) as response:
            return json.load(response)

    def _tls_context(self) -> ssl.SSLContext | None:
        """Return a context that trusts the annotator's certificate under any host name."""
        if self.certificate is None:
            return None
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


def resolve_endpoint(settings: UpSettings, folder: Path, config_file: Path | None) -> WebEndpoint:
    """Return the endpoint of the web UI that these settings describe.

    Args:
        settings: settings of the launcher.
        folder: private folder, where a new token is written if none is configured.
        config_file: settings file of the services.

    Raises:
        SettingsError: the annotator's settings or its token are invalid.
        StartError: the host is not an address of this machine, or no certificate can be created.
    """
    annotator = AnnotatorSettings.load(config_file=config_file)
    address = _resolve_host(settings.host)
    scheme = "https" if annotator.tls_cert_file or settings.https else "http"
    environment = {
        "FACESTREAM_ANNOTATOR_HOST": settings.host,
        "FACESTREAM_ANNOTATOR_PORT": str(settings.port),
    }
    certificate = annotator.tls_cert_file
    if settings.https and certificate is None:
        names = _host_names(address, settings.host)
        folder_of_certificates = data_dir() / CERTIFICATES_NAME
        certificate, key = ensure_self_signed(folder_of_certificates, socket.gethostname(), names)
        environment["FACESTREAM_ANNOTATOR_TLS_CERT_FILE"] = str(certificate)
        environment["FACESTREAM_ANNOTATOR_TLS_KEY_FILE"] = str(key)
    needs_token = not address.is_loopback or any(
        (annotator.admin_token_file, annotator.viewer_token_file, annotator.users_file)
    )
    token = ""
    if needs_token and annotator.admin_token_file is not None:
        token = read_token(annotator.admin_token_file)
    elif needs_token:
        file = folder / TOKEN_NAME
        token = write_token(file)
        environment["FACESTREAM_ANNOTATOR_ADMIN_TOKEN_FILE"] = str(file)
    display_host = "localhost" if str(address) == _LOOPBACK else settings.host
    local_host = settings.host
    if settings.host in _ANY_ADDRESS:
        display_host = _network_address(address)
        local_host = _LOOPBACK if address.version == 4 else "::1"
    display_url = f"{scheme}://{_bracket_ipv6(display_host)}:{settings.port}"
    if not address.is_loopback and not annotator.phone_base_url:
        environment["FACESTREAM_ANNOTATOR_PHONE_BASE_URL"] = display_url
    return WebEndpoint(
        display_url,
        f"{scheme}://{_bracket_ipv6(local_host)}:{settings.port}",
        environment,
        token,
        is_new_token=needs_token and annotator.admin_token_file is None,
        certificate=certificate,
    )


def _resolve_host(host: str) -> Address:
    try:
        resolved = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        raise StartError(f"cannot listen on {host}: {error.strerror}") from None
    return ipaddress.ip_address(str(resolved).partition("%")[0])


def _network_address(address: Address) -> str:
    """Return the address under which other machines reach this one, as the routing table says."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_REMOTE_ADDRESS[family], 9))
            return str(probe.getsockname()[0])
    except OSError:  # no network
        return "localhost"


def _host_names(address: Address, host: str) -> set[str]:
    """Return the names and addresses under which browsers may open the web UI."""
    own = socket.gethostname()
    names = {"localhost", _LOOPBACK, "::1", own, f"{own.partition('.')[0]}.local"}
    names |= {_network_address(address)} if host in _ANY_ADDRESS else {host, str(address)}
    return names


def _bracket_ipv6(host: str) -> str:
    return f"[{host}]" if ":" in host else host
