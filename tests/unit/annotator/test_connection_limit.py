"""Connection limit: an idle connection makes room, in all and per address."""

from __future__ import annotations

import logging

from facestream.annotator.connection_limit import ConnectionLimit
from facestream.annotator.log_rate_limit import LogRateLimit


class Wire:
    """A connection that records whether it was dropped."""

    def __init__(self) -> None:
        self.dropped = False

    def drop(self) -> None:
        self.dropped = True


def test_an_address_at_its_limit_loses_its_longest_idle_connection() -> None:
    limit = ConnectionLimit(10, 2)
    first, second, third, other = Wire(), Wire(), Wire(), Wire()
    assert limit.add(other, "10.0.0.9")
    assert limit.add(first, "10.0.0.1")
    assert limit.add(second, "10.0.0.1")
    limit.mark_busy(first)
    limit.mark_idle(first)  # its response has ended: `second` is idle for longer
    assert limit.add(third, "10.0.0.1")
    assert (first.dropped, second.dropped, other.dropped) == (False, True, False)
    assert len(limit) == 3


def test_busy_connections_are_not_dropped() -> None:
    limit = ConnectionLimit(10, 2)
    wires = [Wire(), Wire(), Wire()]
    for wire in wires[:2]:
        assert limit.add(wire, "10.0.0.1")
        limit.mark_busy(wire)
    assert not limit.add(wires[2], "10.0.0.1")
    limit.remove(wires[0])
    assert limit.add(wires[2], "10.0.0.1")
    assert not any(wire.dropped for wire in wires)


def test_a_full_server_drops_from_the_largest_address() -> None:
    limit = ConnectionLimit(3, 3)
    attacker, viewer, fresh = [Wire(), Wire()], Wire(), Wire()
    assert limit.add(viewer, "10.0.0.2")
    assert all(limit.add(wire, "10.0.0.1") for wire in attacker)
    assert limit.add(fresh, "10.0.0.3")
    assert attacker[0].dropped
    assert not viewer.dropped
    for wire in (viewer, fresh, attacker[1]):
        limit.remove(wire)
    assert len(limit) == 0
    assert not limit._sizes
    assert not limit._idle


def test_one_ipv6_network_is_one_address() -> None:
    limit = ConnectionLimit(10, 1)
    first, second = Wire(), Wire()
    assert limit.add(first, "2001:db8::1")
    assert limit.add(second, "2001:db8::2")
    assert first.dropped


def test_log_lines_are_limited_and_dropped_ones_counted() -> None:
    now = [0.0]
    limit = LogRateLimit(burst=3, interval_s=10, clock=lambda: now[0])

    def record() -> logging.LogRecord:
        return logging.LogRecord("x", logging.WARNING, "", 0, "invalid %s", ("request",), None)

    assert [limit.filter(record()) for _ in range(1000)].count(True) == 3
    now[0] = 10
    after = record()
    assert limit.filter(after)
    assert after.getMessage() == "invalid request (997 similar lines dropped)"
