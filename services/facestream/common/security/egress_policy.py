"""Egress policy: protection against server-side request forgery (SSRF).

Users can add cameras and a webhook at run time. Their URLs must not make facestream connect to
services of this machine, or to link-local addresses where clouds publish credentials.

The host name is resolved here and every address is checked. The caller connects to a checked
address, not to the name, so DNS rebinding (another address at the second lookup) has no effect.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from facestream.common.core.errors import AddressError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Iterable[str]]

# Metadata services of clouds outside 169.254.0.0/16 and fe80::/10.
_METADATA_ADDRESSES = (
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::/32",
    "fd20:ce::/32",
)
_METADATA_NETWORKS = tuple(ipaddress.ip_network(text) for text in _METADATA_ADDRESSES)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")
_NOT_UNICAST = tuple(
    ipaddress.ip_network(text) for text in ("224.0.0.0/4", "240.0.0.0/4", "ff00::/8")
)


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Network addresses that may be connected to.

    Attributes:
        subject: what is connected to, for messages: "a camera".
        allow_loopback: whether loopback and other addresses of this machine are allowed.
        allow_link_local: whether 169.254.0.0/16, fe80::/10 and metadata services of clouds are.
        loopback_setting: the setting that allows loopback addresses, as a user writes it.
        link_local_setting: the setting that allows link-local addresses, as a user writes it.
    """

    subject: str
    allow_loopback: bool = False
    allow_link_local: bool = False
    loopback_setting: str = ""
    link_local_setting: str = ""

    @property
    def allows_all(self) -> bool:
        """Whether no address needs a check."""
        return self.allow_loopback and self.allow_link_local

    def denial_reason(self, address: str) -> str:
        """Return why an address is denied; empty if it is allowed.

        Raises:
            ValueError: the text is not an IP address.
        """
        target = _embedded_ipv4(ipaddress.ip_address(address.partition("%")[0]))
        if any(target in network for network in _NOT_UNICAST):
            return "not the address of a host"
        if _is_this_machine(target) and not self.allow_loopback:
            where = "an address of this machine"
            return f"{where}; {self.subject} there needs {self.loopback_setting}"
        is_metadata = any(target in network for network in _METADATA_NETWORKS)
        if (target.is_link_local or is_metadata) and not self.allow_link_local:
            where = "a link-local or cloud-internal address"
            return f"{where}; {self.subject} there needs {self.link_local_setting}"
        return ""

    def resolve_allowed(self, host: str, port: int, resolver: Resolver | None = None) -> list[str]:
        """Resolve a host and return its allowed addresses, preferred first, at least one.

        Raises:
            AddressError: the host is unknown or no address is allowed; a message for the user.
        """
        try:
            addresses = list((resolver or _resolve)(host, port))
        except (OSError, UnicodeError):
            raise AddressError(f"{host}: no such host; check the name") from None
        reasons = {address: self.denial_reason(address) for address in addresses}
        allowed = [address for address, reason in reasons.items() if not reason]
        if allowed:
            return allowed
        address, reason = next(iter(reasons.items()), ("", "the host has no address"))
        label = host if address in (host, "") else f"{host} ({address})"
        raise AddressError(f"{label}: {reason}")


ALLOW_ALL = EgressPolicy("anything", allow_loopback=True, allow_link_local=True)


def _resolve(host: str, port: int) -> Iterable[str]:
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return dict.fromkeys(str(entry[4][0]) for entry in entries)


def _is_this_machine(address: Address) -> bool:
    """Return whether an address means this machine; all of 0.0.0.0/8 may."""
    is_zero = address.version == 4 and address.packed[0] == 0
    return address.is_loopback or address.is_unspecified or is_zero


def _embedded_ipv4(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address embeds; any other address unchanged."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is not None:
        return inner
    if address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
