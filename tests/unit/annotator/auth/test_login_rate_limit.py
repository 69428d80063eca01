from __future__ import annotations

from facestream.annotator.auth.login_rate_limit import MAX_ADDRESSES, LoginRateLimiter, network_of


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_burst_of_attempts_is_allowed_then_one_per_interval() -> None:
    clock = Clock()
    limiter = LoginRateLimiter(clock, burst=3, interval_s=10)
    assert [limiter.try_acquire("10.0.0.1") for _ in range(5)] == [0, 0, 0, 10, 10]
    assert limiter.try_acquire("10.0.0.2") == 0
    clock.now_s = 10
    assert limiter.try_acquire("10.0.0.1") == 0
    assert limiter.try_acquire("10.0.0.1") == 10
    clock.now_s = 1e6
    assert [limiter.try_acquire("10.0.0.1") for _ in range(4)] == [0, 0, 0, 10]


def test_known_device_is_not_locked_out_by_guesses_from_other_addresses() -> None:
    limiter = LoginRateLimiter(Clock(), burst=2, interval_s=10, global_burst=6)
    for i in range(100):
        limiter.try_acquire(f"10.0.1.{i}")
    assert limiter.try_acquire("10.0.2.1") > 0
    assert limiter.try_acquire_device("a") == 0
    limiter.refund_device("a")
    assert [limiter.try_acquire_device("a") for _ in range(3)] == [0, 0, 10]
    for i in range(2 * MAX_ADDRESSES):
        limiter.try_acquire_device(str(i))
    assert len(limiter._devices) == MAX_ADDRESSES


def test_successful_login_is_refunded() -> None:
    limiter = LoginRateLimiter(Clock(), burst=1, interval_s=10)
    assert limiter.try_acquire("10.0.0.1") == 0
    limiter.refund("10.0.0.1")
    assert limiter.try_acquire("10.0.0.1") == 0
    assert limiter.try_acquire("10.0.0.1") > 0


def test_successful_logins_do_not_refund_failed_attempts() -> None:
    limiter = LoginRateLimiter(Clock(), burst=3, interval_s=10)
    guesses = 0
    for _ in range(100):
        guesses += limiter.try_acquire("10.0.0.1") == 0
        if limiter.try_acquire("10.0.0.1") == 0:
            limiter.refund("10.0.0.1")
    assert guesses == 3


def test_global_limit_holds_and_one_address_cannot_drain_it() -> None:
    limiter = LoginRateLimiter(Clock(), burst=2, interval_s=10, global_burst=6, global_interval_s=1)
    for _ in range(100):
        limiter.try_acquire("10.0.0.1")
    done = sum(limiter.try_acquire(f"10.0.1.{i}") == 0 for i in range(200))
    assert done == 4


def test_memory_is_bounded() -> None:
    limiter = LoginRateLimiter(Clock(), global_burst=10**9)
    for i in range(MAX_ADDRESSES + 500):
        limiter.try_acquire(f"10.1.{i // 256}.{i % 256}")
    assert len(limiter._buckets) == MAX_ADDRESSES


def test_addresses_of_one_ipv6_network_share_a_bucket() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1")
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8::1")
    assert network_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of("testclient") == ""
