"""Trusted-host check of the Host header against DNS rebinding. No I/O.

A foreign page can make its own public name resolve to this machine and then read it. Names that an
attacker cannot register are safe: addresses, names without a dot, and local suffixes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

# `.svc` is Kubernetes' short form of a service name; it is no public domain.
_LOCAL_SUFFIXES = (
    ".local", ".localhost", ".lan", ".home", ".internal", ".home.arpa", ".svc",
)  # fmt: skip


def is_trusted_host(host: str, allowed: Collection[str] = ()) -> bool:
    """Return whether a Host header is an address, a local name or an allowed name.

    Args:
        host: value of the header, with or without a port.
        allowed: further names in lower case.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in allowed or name.endswith(_LOCAL_SUFFIXES):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        # A name without a dot cannot be registered, so an attacker cannot own it.
        return bool(name) and "." not in name
    return True


def parse_allowed_hosts(text: str) -> frozenset[str]:
    """Return the names of a comma-separated list, in lower case."""
    return frozenset(host.strip().lower() for host in text.split(",") if host.strip())
