"""Buckets in bounded memory: what is allowed, how long to wait, and who is never kept out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_score_api.limits import GOOD_SECONDS, Buckets, GoodCredentials, Limits, network_of


def test_a_bucket_allows_a_burst_and_then_its_rate() -> None:
    limits = Limits(requests_per_minute=60)
    assert [limits.of_request("a", 100.0) for _ in range(10)] == [0] * 10
    assert limits.of_request("a", 100.0) == 1
    assert limits.of_request("b", 100.0) == 0, "each caller has his own"
    assert limits.of_request("a", 101.0) == 0
    assert limits.of_request("a", 101.0) == 1


def test_who_waits_as_told_is_let_in() -> None:
    limits = Limits(failed_logins_per_minute=2)
    for _ in range(5):
        limits.failed("192.0.2.1", 0.0)
    wait = limits.of_login("192.0.2.1", "x", 0.0)
    assert 0 < wait <= 60
    assert limits.of_login("192.0.2.1", "x", float(wait)) == 0
    assert limits.of_login("192.0.2.2", "x", 0.0) == 0


def test_good_credentials_are_not_kept_out_by_a_neighbour() -> None:
    limits = Limits(failed_logins_per_minute=1)
    limits.succeeded("good", 0.0)
    limits.failed("192.0.2.1", 1.0)
    assert limits.of_login("192.0.2.1", "bad", 1.0) > 0
    assert limits.of_login("192.0.2.1", "good", 1.0) == 0
    for _ in range(100):
        limits.failed("192.0.2.1", GOOD_SECONDS + 1)
    assert limits.of_login("192.0.2.1", "good", GOOD_SECONDS + 1) > 0, "for some minutes"


def test_without_limits_nobody_waits() -> None:
    limits = Limits()
    for _ in range(1000):
        limits.failed("192.0.2.1", 0.0)
        assert limits.of_request("a", 0.0) == limits.of_login("192.0.2.1", "x", 0.0) == 0


def test_memory_is_bounded() -> None:
    buckets, good = Buckets(per_minute=1, burst=1, most=100), GoodCredentials(most=100)
    for number in range(1000):
        buckets.spend(str(number), 0.0)
        good.add(str(number), 0.0)
    assert len(buckets) == len(good) == 100
    assert buckets.wait("999", 0.0) > 0
    assert buckets.wait("0", 0.0) == 0, "who is forgotten begins anew"
    assert good.holds("999", 0.0)
    assert not good.holds("0", 0.0)


def test_who_comes_again_is_remembered_longest() -> None:
    buckets = Buckets(per_minute=1, burst=1, most=2)
    for name in ("a", "b", "a", "c"):
        buckets.spend(name, 0.0)
    assert buckets.wait("a", 0.0) > 0
    assert buckets.wait("b", 0.0) == 0


@given(st.lists(st.floats(0, 1000), max_size=60), st.integers(1, 600))
def test_no_more_is_allowed_than_burst_and_rate(moments: list[float], per_minute: int) -> None:
    limits, burst = Limits(requests_per_minute=per_minute), max(1, per_minute // 6)
    moments.sort()
    allowed = [at for at in moments if limits.of_request("a", at) == 0]
    if allowed:
        assert len(allowed) <= burst + (allowed[-1] - allowed[0]) * per_minute / 60 + 1e-6


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
def test_a_clock_that_jumps_never_locks_anyone_out(moments: list[float]) -> None:
    limits = Limits(failed_logins_per_minute=5)
    for at in moments:
        limits.failed("192.0.2.1", at)
        assert limits.of_login("192.0.2.1", "x", at) <= 12


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("testclient", "unknown"),
    ],
)
def test_whom_an_address_stands_for(address: str, network: str) -> None:
    assert network_of(address) == network
