"""A port that somebody holds is named, with who and what to do."""

import os
import socket
from pathlib import Path

import pytest
from plumbline_local.plan import StackError
from plumbline_local.ports import Ports, PortsTakenError
from plumbline_local.stack import Stack

from tests.polling import free_port_base

NAMES = list(Ports(2000).named(simulators=True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_each_taken_port_is_named_with_its_holder(name: str, address: str) -> None:
    ports = Ports(free_port_base())
    port = ports.named(simulators=True)[name]
    with socket.create_server((address, port)), pytest.raises(PortsTakenError) as refused:
        ports.refuse_taken(simulators=True)
    message = str(refused.value)
    assert f"port {port} ({name})" in message
    assert f"pid {os.getpid()}" in message
    assert "--port-base" in message
    assert message.count(f"pid {os.getpid()}") == 1


def test_the_simulators_ports_do_not_matter_without_them() -> None:
    ports = Ports(free_port_base())
    with socket.create_server(("127.0.0.1", ports.salesforce)):
        ports.refuse_taken(simulators=False)


def test_a_start_that_fetches_nothing_does_not_speak_of_it(tmp_path: Path) -> None:
    ports, told = Ports(free_port_base()), list[str]()
    with socket.create_server(("127.0.0.1", ports.kafka)), pytest.raises(StackError, match="kafka"):
        Stack(tmp_path / "home").up(None, ports.base, simulators=True, users=None, tell=told.append)
    assert told
    assert not [line for line in told if "fetch" in line]
