"""Parse URLs that may contain a password; errors never quote the URL."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

NOT_A_URL = (
    "not a valid URL; in a password write # as %23, / as %2F, ? as %3F; a port is at most 65535"
)


def split_url(url: str) -> SplitResult:
    """Return the parts of a URL.

    Raises:
        ValueError: the URL is malformed, or its port is not a number. A bare `/` or `#` in a
            password makes Python read the password as the port, and its own message would quote it.
    """
    if not url.isprintable():
        raise ValueError(NOT_A_URL)
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises if the port is not a number
    except ValueError:
        raise ValueError(NOT_A_URL) from None
    return parts
