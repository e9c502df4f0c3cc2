"""Whether somebody listens on a port."""

import socket
from typing import Any

import pytest
from plumbline_local.ports import is_open


def test_a_port_is_open_when_somebody_listens() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        assert not is_open(port)
        listening.listen()
        assert is_open(port)


def test_a_connection_with_itself_is_nobody_who_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system does now and then when the port of the probe happens to be the one that is asked for."""
    ours: Any = socket.socket

    class Bound(ours):  # type: ignore[misc]
        def connect_ex(self, address: Any) -> int:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.bind(address)
            return int(super().connect_ex(address))

    with ours() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setattr(socket, "socket", Bound)
    with Bound() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) == 0, "it is connected, with itself"
    assert not is_open(port)
