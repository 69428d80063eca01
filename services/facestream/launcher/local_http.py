"""Asks the stack's own parts over HTTP: always directly.

`urllib` by itself sends also what is for this machine to a proxy of the environment (`http_proxy`),
which can answer for none of our parts and would see the page's token.
"""

from __future__ import annotations

import ssl
import urllib.request
from http.client import HTTPResponse


def ask(
    url: str,
    timeout_s: float,
    headers: dict[str, str] | None = None,
    trust: ssl.SSLContext | None = None,
) -> HTTPResponse:
    """The answer to a GET, to be closed by who asks.

    Args:
        trust: whom to believe, for https.

    Raises:
        OSError: there is none, or (`urllib.error.HTTPError`) its status is not 2xx.
        HTTPException: it is no HTTP.
    """
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if trust is not None:
        handlers.append(urllib.request.HTTPSHandler(context=trust))
    opener = urllib.request.build_opener(*handlers)
    request = urllib.request.Request(url, headers=headers or {})  # noqa: S310  our own
    answer: HTTPResponse = opener.open(request, timeout=timeout_s)
    return answer
