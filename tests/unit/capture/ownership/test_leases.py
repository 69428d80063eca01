"""Leases of capture replicas, on a real broker."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import redis
from facestream.capture.metrics import CaptureMetrics
from facestream.capture.ownership.leases import MARGIN, Leases
from facestream.common.broker.keys import LEASES_KEY, REPLICAS_KEY
from prometheus_client import CollectorRegistry

LEASE_S = 0.6


class _Clock:
    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


@pytest.fixture
def join(broker_url: str) -> Callable[..., Leases]:
    def leases_of(name: str, lease_ttl_s: float = 30.0, clock: _Clock | None = None) -> Leases:
        metrics = CaptureMetrics(CollectorRegistry())
        client = redis.Redis.from_url(broker_url)
        return Leases(client, name, 32, lease_ttl_s, metrics, clock or _Clock())

    return leases_of


def _metric(leases: Leases, name: str) -> float | None:
    return leases._metrics.registry.get_sample_value(f"facestream_capture_{name}")


def test_a_camera_is_held_by_who_claims_it_first(join: Callable[..., Leases]) -> None:
    a, b = join("a"), join("b")
    assert not a.holds("door")
    a.renew(["door"])
    table = b.renew(["door", "yard"])
    assert table.holders == {"door": "a", "yard": "b"}
    assert table.replicas == {"a": 32, "b": 32}
    assert (a.holds("door"), b.holds("door"), b.holds("yard")) == (True, False, True)
    assert _metric(b, "leases_held") == 1
    assert _metric(b, "replicas") == 2
    assert _metric(b, "leases_lost_total") == 0


def test_what_is_not_claimed_again_is_free(join: Callable[..., Leases]) -> None:
    a, b = join("a"), join("b")
    a.renew(["door", "yard"])
    a.renew(["yard"])
    assert b.renew(["door", "yard"]).holders == {"door": "b", "yard": "a"}


def test_who_leaves_gives_everything_back_at_once(join: Callable[..., Leases]) -> None:
    a, b = join("a"), join("b")
    a.renew(["door"])
    a.leave()
    assert not a.holds("door")
    table = b.renew(["door"])
    assert (table.replicas, table.holders) == ({"b": 32}, {"door": "b"})


def test_who_is_silent_loses_its_cameras_and_knows_it(join: Callable[..., Leases]) -> None:
    a, b = join("a", LEASE_S), join("b")
    a.renew(["door"])
    assert b.renew(["door"]).holders == {"door": "a"}
    a.renew(["door"])
    time.sleep(LEASE_S + 0.05)
    assert not a.holds("door"), "before it has asked"
    assert b.renew(["door"]).holders == {"door": "b"}
    a.renew(["door"])
    assert not a.holds("door")
    assert a.in_grace_period
    assert _metric(a, "leases_lost_total") == 1
    assert _metric(a, "leases_held") == 0


def test_a_lease_ends_here_before_it_ends_in_the_broker(join: Callable[..., Leases]) -> None:
    clock = _Clock()
    a = join("a", 10.0, clock)
    a.renew(["door"])
    clock.ahead_s = 10.0 * (1 - MARGIN) - 1
    assert a.holds("door")
    clock.ahead_s = 10.0 * (1 - MARGIN)
    assert not a.holds("door")
    assert join("b").renew(["door"]).holders == {"door": "a"}


def test_who_comes_back_late_keeps_what_nobody_took(join: Callable[..., Leases]) -> None:
    a = join("a", LEASE_S)
    a.renew(["door"])
    time.sleep(LEASE_S + 0.05)
    a.renew(["door"])
    assert a.holds("door")
    assert _metric(a, "leases_lost_total") == 0
    assert not a.in_grace_period, "it was alone"


def test_who_is_started_anew_in_its_place_goes_on_at_once(join: Callable[..., Leases]) -> None:
    join("a").renew(["door"])
    anew = join("a")
    assert anew.renew([]).holders == {"door": "a"}
    assert anew.holds("door")


def test_a_broker_that_forgot_everything_is_told_and_others_are_left_their_own(
    join: Callable[..., Leases], broker_url: str
) -> None:
    a, b = join("a"), join("b")
    a.renew(["door"])
    b.renew(["yard"])
    a.renew(["door"])
    redis.Redis.from_url(broker_url).flushall()
    assert a.renew(["door"]).holders == {"door": "a"}
    assert a.in_grace_period, "the yard is not free: who reads it was not back yet"
    assert b.renew(["yard"]).holders == {"door": "a", "yard": "b"}


def test_nothing_is_left_when_all_are_gone(join: Callable[..., Leases], broker_url: str) -> None:
    join("a").renew(["door"])
    client = redis.Redis.from_url(broker_url)
    assert client.pttl(REPLICAS_KEY) > 0
    assert client.pttl(LEASES_KEY) > 0
