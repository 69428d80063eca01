"""Where something may be that we are told to call: a camera added at run time, a webhook. It must
not make us call on this machine's own services, or on the link-local addresses where clouds keep
the keys of a machine.

The host is looked up here, every address of it is judged, and one that passed is what gets
connected: a name that leads elsewhere at its second look-up is of no use.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from facestream.common.core.errors import AddressError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LookUp = Callable[[str, int], Iterable[str]]

# Beside 169.254.0.0/16 and fe80::/10: where clouds answer a machine that asks about itself.
_CLOUD = (
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::/32",
    "fd20:ce::/32",
)
_CLOUD_NETWORKS = tuple(ipaddress.ip_network(text) for text in _CLOUD)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_NEVER = tuple(ipaddress.ip_network(text) for text in ("224.0.0.0/4", "240.0.0.0/4", "ff00::/8"))


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What something may be on.

    called: what it is, in words for a user.
    this_machine: whether on loopback addresses, and those that mean this machine.
    link_local: whether on 169.254.0.0/16, fe80::/10 and known addresses of clouds.
    allow_local_sources, allow_link_local_sources: the settings that would allow it, as to be written.
    """

    subject: str
    this_machine: bool = False
    link_local: bool = False
    allow_local_sources: str = ""
    allow_link_local_sources: str = ""

    @property
    def is_everywhere(self) -> bool:
        """Whether there is nothing to judge."""
        return self.this_machine and self.link_local

    def denial_reason(self, address: str) -> str:
        """Why an address may not be connected to; empty where it may.

        Raises:
            ValueError: it is no address.
        """
        real = _real(ipaddress.ip_address(address.partition("%")[0]))
        if any(real in network for network in _NEVER):
            return "no address of a host"
        if (real.is_loopback or real.is_unspecified or _is_zero(real)) and not self.this_machine:
            return (
                f"an address of this machine; {self.subject} there needs {self.allow_local_sources}"
            )
        is_cloud = any(real in network for network in _CLOUD_NETWORKS)
        if (real.is_link_local or is_cloud) and not self.link_local:
            where = "a link-local or cloud-internal address"
            return f"{where}; {self.subject} there needs {self.allow_link_local_sources}"
        return ""

    def resolve_allowed(self, host: str, port: int, look_up: LookUp | None = None) -> list[str]:
        """The addresses of a host that may be connected to, the best first; never none.

        Raises:
            AddressError: there is none, in words for a user.
        """
        try:
            addresses = list((look_up or _look_up)(host, port))
        except (OSError, UnicodeError):
            raise AddressError(f"{host}: no such host: check the name") from None
        reasons = {address: self.denial_reason(address) for address in addresses}
        allowed = [address for address, reason in reasons.items() if not reason]
        if allowed:
            return allowed
        address, reason = next(iter(reasons.items()), ("", "it has no address"))
        shown = host if address in (host, "") else f"{host} ({address})"
        raise AddressError(f"{shown}: {reason}")


ALLOW_ALL = EgressPolicy("anything", this_machine=True, link_local=True)


def _look_up(host: str, port: int) -> Iterable[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return dict.fromkeys(str(entry[4][0]) for entry in found)


def _is_zero(address: Address) -> bool:
    """All of 0.0.0.0/8 means this machine where it means anything."""
    return address.version == 4 and address.packed[0] == 0


def _real(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, else itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is not None:
        return inner
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
