"""Request security: trusted-host check, CSRF protection and security headers.

- CSRF: a page of another site must not change anything here. Unsafe methods need a JSON body (a
  JPEG for frames of phones), and `Origin` and `Sec-Fetch-Site`, if sent, must name our own origin.
- DNS rebinding: a foreign name that resolves to this machine must not read it. `Host` must be an
  address, a local name, or a name in `allowed_hosts` (trusted host).
- Cross-site requests: a page of another site, or of another port of this machine, must not embed
  or occupy the streams. `Sec-Fetch-Site` of every request must be our own origin, unless the user
  follows a link.
- Response headers forbid foreign resources, embedding, framing and content sniffing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facestream.annotator.phone.pairing_link import FRAME_PATH
from facestream.common.broker.phone_frames import MAX_PHONE_FRAME_BYTES
from facestream.common.security.trusted_hosts import is_trusted_host

MAX_BODY_BYTES = 16 * 1024
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Orchestrators use any host name here. These paths show no people and change nothing.
_ANY_HOST_PATHS = ("/livez", "/readyz")
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
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


class RequestSecurityMiddleware:
    """ASGI middleware around the whole application.

    Args:
        app: the application.
        allowed_hosts: public host names in lower case, in addition to addresses and local names.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Iterable[str]) -> None:
        self._app = app
        self._allowed = frozenset(allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reject an unsafe request, or pass it on and add security headers to the response."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(pair for pair in _HEADERS if pair[0] not in present),
                ]
            await send(message)

        rejection = self._check(scope)
        if rejection is None:
            await self._app(scope, receive, send_with_headers)
            return
        status, detail = rejection
        body = json.dumps({"detail": detail}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send_with_headers(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        await send({"type": "http.response.body", "body": body})

    def _check(self, scope: Scope) -> tuple[int, str] | None:
        """Return status and detail of a rejection, or None for a safe request."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if scope["path"] not in _ANY_HOST_PATHS and not is_trusted_host(host, self._allowed):
            return 403, (
                f"invalid Host header {host[:80]!r}; if this host name is yours, add it to "
                "FACESTREAM_ANNOTATOR_ALLOWED_HOSTS"
            )
        origin = headers.get(b"origin")
        if origin is not None and _host_of(origin) != host:
            return 403, (
                f"cross-origin request rejected: Origin is {origin[:80]!r}, Host is "
                f"{host[:80]!r}; a proxy must pass the Host header unchanged"
            )
        if not _is_same_origin(headers) and not _is_navigation(scope, headers):
            return 403, "cross-site request rejected"
        if scope["method"] in _SAFE_METHODS:
            return None
        if scope["method"] in ("POST", "PUT", "PATCH"):
            media_type, limit = "application/json", MAX_BODY_BYTES
            if scope["path"] == FRAME_PATH:
                media_type, limit = "image/jpeg", MAX_PHONE_FRAME_BYTES
            if headers.get(b"content-type", "").partition(";")[0].strip() != media_type:
                return 415, f"unsupported media type; expected {media_type}"
            length = headers.get(b"content-length", "")
            if not length.isdecimal():
                return 411, "Content-Length header required"
            if int(length) > limit:
                return 413, f"request body too large (limit {limit} bytes)"
        return None


def _is_same_origin(headers: Mapping[bytes, str]) -> bool:
    # Browsers send the header over HTTPS and to loopback; programs do not send it.
    return headers.get(b"sec-fetch-site", "none") in ("same-origin", "none")


def _is_navigation(scope: Scope, headers: Mapping[bytes, str]) -> bool:
    """Return whether the user follows a link to this page in the address bar's document."""
    return (
        scope["method"] == "GET"
        and headers.get(b"sec-fetch-mode") == "navigate"
        and headers.get(b"sec-fetch-dest") == "document"
    )


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # for example `http://[`
        return None
