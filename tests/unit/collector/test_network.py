"""Which addresses may be reached."""

import ipaddress

import pytest
from plumbline_collector.network import refusal


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "::ffff:169.254.169.254"])
def test_link_local_is_never_reached(address: str) -> None:
    assert refusal(ipaddress.ip_address(address), allow_private=True)
    assert refusal(ipaddress.ip_address(address), allow_private=False)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"]
)
def test_private_addresses_need_permission(address: str) -> None:
    message = refusal(ipaddress.ip_address(address), allow_private=False)
    assert message
    assert "allow_private_network" in message
    assert refusal(ipaddress.ip_address(address), allow_private=True) is None


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_public_addresses_may_be_reached(address: str) -> None:
    assert refusal(ipaddress.ip_address(address), allow_private=False) is None
