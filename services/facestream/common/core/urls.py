"""URLs that carry a password, taken apart without being quoted when they cannot be."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

NOT_A_URL = (
    "not a URL that can be read; in a password write # as %23, / as %2F, ? as %3F; "
    "a port is at most 65535"
)


def split_url(url: str) -> SplitResult:
    """The parts of a URL.

    Raises:
        ValueError: it is none, or its port is no number. A password with a bare `/` or `#` is taken
            for one, and Python's own text would quote it.
    """
    if not url.isprintable():
        raise ValueError(NOT_A_URL)
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises on a port that is no number
    except ValueError:
        raise ValueError(NOT_A_URL) from None
    return parts
