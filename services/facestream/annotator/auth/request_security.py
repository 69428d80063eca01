"""What a web server that shows people's faces must refuse, before any route is reached.

- A page of another site must not change anything here: unsafe methods need JSON (or, from
  phones, a JPEG) and, where the
  browser says where the request comes from, our own origin.
- A foreign name that was made to point to this machine (DNS rebinding) must not read it: the Host
  must be an address, a name that only exists locally, or one that the settings allow.
- No resource from elsewhere, no framing, no sniffing: response headers.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facestream.annotator.phone.pairing_link import PICTURE_PATH
from facestream.common.broker.phone_frames import MAX_PHONE_FRAME_BYTES

MAX_BODY_BYTES = 16 * 1024
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Asked by orchestrators under any name; they show nobody and change nothing.
_OPEN_PATHS = ("/livez", "/readyz")
_LOCAL_SUFFIXES = (".local", ".localhost", ".lan", ".home", ".internal", ".home.arpa")
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
        b"form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


class RequestSecurityMiddleware:
    """ASGI middleware around the whole application.

    Args:
        allowed_hosts: names allowed beside addresses and local names.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Iterable[str]) -> None:
        self._app = app
        self._allowed = frozenset(host.strip().lower() for host in allowed_hosts if host.strip())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(pair for pair in _HEADERS if pair[0] not in present),
                ]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
            return
        status, detail = refusal
        body = json.dumps({"detail": detail}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send_with_headers(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        await send({"type": "http.response.body", "body": body})

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if scope["path"] not in _OPEN_PATHS and not self._is_trusted_host(host):
            return 403, (
                f"this server is not known as {host[:80]!r}; "
                "if it is yours, set FACESTREAM_ANNOTATOR_ALLOWED_HOSTS to it"
            )
        if scope["method"] in _SAFE_METHODS:
            return None
        origin = headers.get(b"origin")
        if origin is not None and _host_of(origin) != host:
            return 403, (
                f"pages of other sites may change nothing here: Origin is {origin[:80]!r}, Host is "
                f"{host[:80]!r}; a proxy must pass the Host on as it came"
            )
        if headers.get(b"sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, "requests of other sites may change nothing here"
        if scope["method"] in ("POST", "PUT", "PATCH"):
            wanted, limit = "application/json", MAX_BODY_BYTES
            if scope["path"] == PICTURE_PATH:
                wanted, limit = "image/jpeg", MAX_PHONE_FRAME_BYTES
            if headers.get(b"content-type", "").partition(";")[0].strip() != wanted:
                return 415, f"send it as Content-Type: {wanted}"
            length = headers.get(b"content-length", "")
            if not length.isdecimal():
                return 411, "send a Content-Length"
            if int(length) > limit:
                return 413, f"send {limit} bytes at most"
        return None

    def _is_trusted_host(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._allowed or name.endswith(_LOCAL_SUFFIXES):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            # A name without a dot cannot be bought.
            return bool(name) and "." not in name
        return True


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # as of `http://[`
        return None
