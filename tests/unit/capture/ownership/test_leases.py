"""Leases of capture replicas, with a real broker."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import redis
from facestream.capture.metrics import CaptureMetrics
from facestream.capture.ownership.leases import SAFETY_MARGIN, Leases
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


def test_the_first_replica_that_claims_a_camera_holds_it(join: Callable[..., Leases]) -> None:
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


def test_a_camera_that_is_not_claimed_again_is_released(join: Callable[..., Leases]) -> None:
    a, b = join("a"), join("b")
    a.renew(["door", "yard"])
    a.renew(["yard"])
    assert b.renew(["door", "yard"]).holders == {"door": "b", "yard": "a"}


def test_a_replica_that_leaves_releases_its_cameras_at_once(join: Callable[..., Leases]) -> None:
    a, b = join("a"), join("b")
    a.renew(["door"])
    a.leave()
    assert not a.holds("door")
    table = b.renew(["door"])
    assert (table.replicas, table.holders) == ({"b": 32}, {"door": "b"})


def test_a_silent_replica_loses_its_cameras_and_detects_it(join: Callable[..., Leases]) -> None:
    a, b = join("a", LEASE_S), join("b")
    a.renew(["door"])
    assert b.renew(["door"]).holders == {"door": "a"}
    a.renew(["door"])
    time.sleep(LEASE_S + 0.05)
    assert not a.holds("door"), "before the next renewal"
    assert b.renew(["door"]).holders == {"door": "b"}
    a.renew(["door"])
    assert not a.holds("door")
    assert a.in_grace_period
    assert _metric(a, "leases_lost_total") == 1
    assert _metric(a, "leases_held") == 0


def test_a_lease_expires_locally_before_it_does_in_the_broker(join: Callable[..., Leases]) -> None:
    clock = _Clock()
    a = join("a", 10.0, clock)
    a.renew(["door"])
    clock.ahead_s = 10.0 * (1 - SAFETY_MARGIN) - 1
    assert a.holds("door")
    clock.ahead_s = 10.0 * (1 - SAFETY_MARGIN)
    assert not a.holds("door")
    assert join("b").renew(["door"]).holders == {"door": "a"}


def test_a_late_replica_keeps_the_cameras_that_no_other_has_claimed(
    join: Callable[..., Leases],
) -> None:
    a = join("a", LEASE_S)
    a.renew(["door"])
    time.sleep(LEASE_S + 0.05)
    a.renew(["door"])
    assert a.holds("door")
    assert _metric(a, "leases_lost_total") == 0
    assert not a.in_grace_period, "there was no other replica"


def test_a_restarted_replica_with_the_same_name_continues_at_once(
    join: Callable[..., Leases],
) -> None:
    join("a").renew(["door"])
    restarted = join("a")
    assert restarted.renew([]).holders == {"door": "a"}
    assert restarted.holds("door")


def test_after_a_broker_restart_replicas_leave_each_other_time_to_renew(
    join: Callable[..., Leases], broker_url: str
) -> None:
    a, b = join("a"), join("b")
    a.renew(["door"])
    b.renew(["yard"])
    a.renew(["door"])
    redis.Redis.from_url(broker_url).flushall()
    assert a.renew(["door"]).holders == {"door": "a"}
    assert a.in_grace_period, "the holder of the yard has not renewed its lease yet"
    assert b.renew(["yard"]).holders == {"door": "a", "yard": "b"}


def test_the_keys_expire_without_replicas(join: Callable[..., Leases], broker_url: str) -> None:
    join("a").renew(["door"])
    client = redis.Redis.from_url(broker_url)
    assert client.pttl(REPLICAS_KEY) > 0
    assert client.pttl(LEASES_KEY) > 0
