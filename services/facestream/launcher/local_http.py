"""Send HTTP GET requests to the launcher's own services, never through a proxy.

By default `urllib` sends requests for this machine to the proxy of the environment (`http_proxy`).
A proxy cannot reach these services, and it would see the admin token.
"""

from __future__ import annotations

import ssl
import urllib.request
from http.client import HTTPResponse


def get(
    url: str,
    timeout_s: float,
    headers: dict[str, str] | None = None,
    tls_context: ssl.SSLContext | None = None,
) -> HTTPResponse:
    """Return the response to a GET request; the caller closes it.

    Args:
        url: address of the service.
        timeout_s: limit of each network operation.
        headers: additional request headers.
        tls_context: certificate checks for https.

    Raises:
        OSError: the service cannot be reached, or (`urllib.error.HTTPError`) its status is not 2xx.
        HTTPException: the response is not HTTP.
    """
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if tls_context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=tls_context))
    opener = urllib.request.build_opener(*handlers)
    request = urllib.request.Request(url, headers=headers or {})  # noqa: S310  our own services
    response: HTTPResponse = opener.open(request, timeout=timeout_s)
    return response
