from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

import pytest
from facestream.common.core.errors import AddressError
from facestream.common.security.egress_policy import ALLOW_ALL, EgressPolicy


def added(*, this_machine: bool = False, link_local: bool = False) -> EgressPolicy:
    return EgressPolicy(
        "a camera", this_machine, link_local, "ALLOW_LOCAL=true", "ALLOW_LINK_LOCAL=true"
    )


ADDED = added()


def names(*addresses: str) -> Callable[[str, int], Iterable[str]]:
    return lambda host, port: addresses


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "0.1.2.3", "::", "::ffff:127.0.0.1",
     "::ffff:0.0.0.0", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1"],
)  # fmt: skip
def test_this_machine_under_every_spelling_needs_a_setting(address: str) -> None:
    assert "ALLOW_LOCAL=true" in ADDED.denial_reason(address)
    assert "ALLOW_LOCAL" in added(link_local=True).denial_reason(address)
    assert added(this_machine=True).denial_reason(address) == ""


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "169.254.1.2", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254",
     "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fd00:ec2::254", "100.100.100.200",
     "168.63.129.16", "192.0.0.192", "fd20:ce::254"],
)  # fmt: skip
def test_link_local_and_cloud_addresses_need_another(address: str) -> None:
    assert "ALLOW_LINK_LOCAL=true" in ADDED.denial_reason(address)
    assert "LINK_LOCAL" in added(this_machine=True).denial_reason(address)
    assert added(link_local=True).denial_reason(address) == ""


@pytest.mark.parametrize("address", ["224.0.0.1", "255.255.255.255", "240.1.1.1", "ff02::1"])
def test_what_is_no_host_is_never_a_camera(address: str) -> None:
    assert ALLOW_ALL.denial_reason(address)


@pytest.mark.parametrize(
    "address", ["192.168.1.20", "10.0.0.9", "172.18.0.4", "8.8.8.8", "fd12::7", "2001:db8::1"]
)
def test_cameras_of_a_network_are_reached(address: str) -> None:
    assert ADDED.denial_reason(address) == ""


def test_a_name_is_what_it_leads_to() -> None:
    with pytest.raises(AddressError, match=r"^cam\.example \(169\.254\.169\.254\): a link-local"):
        ADDED.resolve_allowed("cam.example", 80, names("169.254.169.254"))
    # A phone's name leads to its link-local address too: that one is left out.
    assert ADDED.resolve_allowed("phone.local", 80, names("fe80::1", "10.0.0.9", "fd12::7")) == [
        "10.0.0.9",
        "fd12::7",
    ]
    with pytest.raises(AddressError, match="no address"):
        ADDED.resolve_allowed("cam.example", 80, names())


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost", "0177.0.0.1"])
def test_odd_spellings_of_this_machine_are_looked_up_like_any_name(host: str) -> None:
    try:
        socket.getaddrinfo(host, 80)
    except OSError:
        pytest.skip(f"{host} means nothing here")
    with pytest.raises(AddressError, match="ALLOW_LOCAL"):
        ADDED.resolve_allowed(host, 80)


def test_a_name_of_nobody_is_told() -> None:
    with pytest.raises(AddressError, match="no such host"):
        ADDED.resolve_allowed("nowhere.invalid", 80)
    with pytest.raises(AddressError, match="no such host"):
        ADDED.resolve_allowed("a" * 70 + ".example", 80)
