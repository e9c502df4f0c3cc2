"""Which addresses a simulated instance lets in."""

import pytest
from plumbline_collector.connectors.servicenow.network import ip_rule
from plumbline_simulators.credentials import Credentials
from plumbline_simulators.servicenow.instance import Instance
from plumbline_simulators.servicenow.login import Login
from starlette.requests import Request


def _is_let_in(instance: Instance, address: str) -> bool:
    request = Request({"type": "http", "headers": [], "client": (address, 40_000)})
    return Login(instance, Credentials()).blocked(request) is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("198.51.100.7", True),
        ("203.0.113.7", False),
        ("::ffff:203.0.113.7", False),
        ("10.0.0.1", False),
    ],
)
def test_the_strong_instance_lets_in_whom_it_allows(address: str, expected: bool) -> None:
    assert _is_let_in(Instance(seed="strong"), address) is expected
    assert _is_let_in(Instance(seed="weak"), address)


def test_loopback_is_let_in_although_a_rule_denies_every_address_of_ipv6() -> None:
    instance = Instance(seed="strong")
    everyone = {"type": "deny", "active": "true", "range_start": "::", "range_end": f"{'ffff:' * 7}ffff"}
    instance.change("ip_access:everyone", everyone)
    assert [_is_let_in(instance, address) for address in ("::1", "2001:db8::1", "127.0.0.1")] == [True, False, True]


def test_the_rules_of_the_strong_instance_close_it_to_all_but_small_ranges() -> None:
    rules = [ip_rule(row) for row in Instance(seed="strong").records.tables["ip_access"].values()]
    assert [rule["range"] for rule in rules if rule["is_any_address"]] == ["0.0.0.0-255.255.255.255"]
    assert {rule["type"] for rule in rules if rule["is_large_range"]} == {"deny"}
    assert {rule["direction"] for rule in rules} == {"inbound"}
