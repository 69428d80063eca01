"""Egress policy: which addresses may be connected to, and how hosts are resolved."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

import pytest
from facestream.common.core.errors import AddressError
from facestream.common.security.egress_policy import ALLOW_ALL, EgressPolicy


def policy(*, loopback: bool = False, link_local: bool = False) -> EgressPolicy:
    return EgressPolicy(
        "a camera", loopback, link_local, "ALLOW_LOCAL=true", "ALLOW_LINK_LOCAL=true"
    )


DEFAULT = policy()


def resolver(*addresses: str) -> Callable[[str, int], Iterable[str]]:
    return lambda host, port: addresses


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "0.1.2.3", "::", "::ffff:127.0.0.1",
     "::ffff:0.0.0.0", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1"],
)  # fmt: skip
def test_every_spelling_of_a_loopback_address_needs_a_setting(address: str) -> None:
    assert "ALLOW_LOCAL=true" in DEFAULT.denial_reason(address)
    assert "ALLOW_LOCAL" in policy(link_local=True).denial_reason(address)
    assert policy(loopback=True).denial_reason(address) == ""


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "169.254.1.2", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254",
     "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fd00:ec2::254", "100.100.100.200",
     "168.63.129.16", "192.0.0.192", "fd20:ce::254"],
)  # fmt: skip
def test_link_local_and_metadata_addresses_need_another_setting(address: str) -> None:
    assert "ALLOW_LINK_LOCAL=true" in DEFAULT.denial_reason(address)
    assert "LINK_LOCAL" in policy(loopback=True).denial_reason(address)
    assert policy(link_local=True).denial_reason(address) == ""


@pytest.mark.parametrize("address", ["224.0.0.1", "255.255.255.255", "240.1.1.1", "ff02::1"])
def test_multicast_and_reserved_addresses_are_always_denied(address: str) -> None:
    assert ALLOW_ALL.denial_reason(address)


@pytest.mark.parametrize(
    "address", ["192.168.1.20", "10.0.0.9", "172.18.0.4", "8.8.8.8", "fd12::7", "2001:db8::1"]
)
def test_addresses_of_a_network_are_allowed(address: str) -> None:
    assert DEFAULT.denial_reason(address) == ""


def test_a_host_is_checked_by_its_addresses() -> None:
    with pytest.raises(AddressError, match=r"^cam\.example \(169\.254\.169\.254\): a link-local"):
        DEFAULT.resolve_allowed("cam.example", 80, resolver("169.254.169.254"))
    # A phone's name has a link-local address too; it is not returned.
    assert DEFAULT.resolve_allowed(
        "phone.local", 80, resolver("fe80::1", "10.0.0.9", "fd12::7")
    ) == [
        "10.0.0.9",
        "fd12::7",
    ]
    with pytest.raises(AddressError, match="no address"):
        DEFAULT.resolve_allowed("cam.example", 80, resolver())


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost", "0177.0.0.1"])
def test_unusual_spellings_of_a_loopback_address_are_resolved_like_names(host: str) -> None:
    try:
        socket.getaddrinfo(host, 80)
    except OSError:
        pytest.skip(f"{host} cannot be resolved here")
    with pytest.raises(AddressError, match="ALLOW_LOCAL"):
        DEFAULT.resolve_allowed(host, 80)


def test_an_unknown_host_is_reported() -> None:
    with pytest.raises(AddressError, match="no such host"):
        DEFAULT.resolve_allowed("nowhere.invalid", 80)
    with pytest.raises(AddressError, match="no such host"):
        DEFAULT.resolve_allowed("a" * 70 + ".example", 80)
