"""Where the stack's page is, who may come in, and how this process itself asks the API.

On this machine alone the door is open. On any other address, or where users or a token are set,
it is locked, and there is always an admin's token: the one that is set, else a new one in the
stack's private folder, which is gone with the stack.
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
from facestream.launcher.data_dir import data_folder
from facestream.launcher.local_http import ask
from facestream.launcher.self_signed_certificate import ensure_self_signed
from facestream.launcher.settings import UpSettings

CERTIFICATES_NAME = "tls"
TOKEN_NAME = "admin-token"  # noqa: S105  the name of a file
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TIMEOUT_S = 2.0
_LOCAL = "127.0.0.1"
_ANY = ("0.0.0.0", "::", "")
# Documentation addresses (RFC 5737, RFC 3849): connecting a UDP socket sends nothing.
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


@dataclass(frozen=True)
class WebEndpoint:
    """The page's address and what opens it.

    shown: the address for a person.
    asked: the address for this process.
    environment: what the annotator is told.
    token: of the admin; empty where the door is open.
    is_new: the token was made just now, so that nobody knows it yet.
    certificate: of the page, where it speaks TLS.
    """

    display_url: str
    local_url: str
    environment: dict[str, str]
    token: str = field(default="", repr=False)
    is_new: bool = False
    certificate: Path | None = None

    @property
    def link(self) -> str:
        """The link that lets in who has it; empty where it would tell nobody anything new."""
        return f"{self.display_url}/login#token={self.token}" if self.is_new else ""

    def get(self, path: str) -> Any:
        """A JSON answer of the API.

        Raises:
            OSError, HTTPException, ValueError: there is none.
        """
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        with ask(self.local_url + path, _TIMEOUT_S, headers, self._trust()) as answer:
            return json.load(answer)

    def _trust(self) -> ssl.SSLContext | None:
        """Trusts the certificate that the annotator was given, whatever name is in it."""
        if self.certificate is None:
            return None
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


def resolve_endpoint(settings: UpSettings, folder: Path, config_file: Path | None) -> WebEndpoint:
    """The door of this stack.

    Args:
        folder: private to this stack, for the token that is made where none is set.

    Raises:
        SettingsError: the annotator's settings or its token are wrong.
        StartError: the host is none of this machine's, or no certificate can be made.
    """
    annotator = AnnotatorSettings.load(config_file=config_file)
    address = _resolved(settings.host)
    scheme = "https" if annotator.tls_cert_file or settings.https else "http"
    environment = {
        "FACESTREAM_ANNOTATOR_HOST": settings.host,
        "FACESTREAM_ANNOTATOR_PORT": str(settings.port),
    }
    certificate = annotator.tls_cert_file
    if settings.https and certificate is None:
        certificate, key = ensure_self_signed(
            data_folder() / CERTIFICATES_NAME, socket.gethostname(), _names(address, settings.host)
        )
        environment["FACESTREAM_ANNOTATOR_TLS_CERT_FILE"] = str(certificate)
        environment["FACESTREAM_ANNOTATOR_TLS_KEY_FILE"] = str(key)
    locked = not address.is_loopback or any(
        (annotator.admin_token_file, annotator.viewer_token_file, annotator.users_file)
    )
    token = ""
    if locked and annotator.admin_token_file is not None:
        token = read_token(annotator.admin_token_file)
    elif locked:
        file = folder / TOKEN_NAME
        token = write_token(file)
        environment["FACESTREAM_ANNOTATOR_ADMIN_TOKEN_FILE"] = str(file)
    shown = "localhost" if str(address) == _LOCAL else settings.host
    asked = settings.host
    if settings.host in _ANY:
        shown, asked = _own_address(address), _LOCAL if address.version == 4 else "::1"
    shown = f"{scheme}://{_bracketed(shown)}:{settings.port}"
    if not address.is_loopback and not annotator.phone_base_url:
        environment["FACESTREAM_ANNOTATOR_PHONE_BASE_URL"] = shown
    return WebEndpoint(
        shown,
        f"{scheme}://{_bracketed(asked)}:{settings.port}",
        environment,
        token,
        is_new=locked and annotator.admin_token_file is None,
        certificate=certificate,
    )


def _resolved(host: str) -> Address:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        raise StartError(f"cannot listen on {host}: {error.strerror}") from None
    return ipaddress.ip_address(str(found).partition("%")[0])


def _own_address(address: Address) -> str:
    """Under which others reach this machine, as far as it knows."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_ELSEWHERE[family], 9))
            return str(probe.getsockname()[0])
    except OSError:  # no network at all
        return "localhost"


def _names(address: Address, host: str) -> set[str]:
    """What the page may be opened under, by this machine and by others in its network."""
    own = socket.gethostname()
    names = {"localhost", _LOCAL, "::1", own, f"{own.partition('.')[0]}.local"}
    names |= {_own_address(address)} if host in _ANY else {host, str(address)}
    return names


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
