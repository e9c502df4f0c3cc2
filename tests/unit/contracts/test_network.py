"""The network rules: which addresses may be reached, and that the connection goes to what was checked."""

import asyncio
import ipaddress
import socket
from typing import Any

import httpcore
import httpx
import pytest
from plumbline_contracts import network
from plumbline_contracts.network import CheckedBackend, CheckedTransport, RefusedByRulesError, checked_client, refusal


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("20.190.151.7", True, True),
        ("8.8.8.8", True, True),
        ("2606:4700::1111", True, True),
        ("2603:1006:2000::1", True, True),
        ("10.1.2.3", False, True),
        ("172.16.0.1", False, True),
        ("192.168.1.1", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("fd12::1", False, True),
        ("100.64.0.1", False, True),
        ("::ffff:10.0.0.1", False, True),
        ("64:ff9b::a00:1", False, True),
        ("2002:a00:1::", False, True),
        ("fec0::1", False, True),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("168.63.129.16", False, False),
        ("100.100.100.200", False, False),
        ("fd00:ec2::254", False, False),
        ("169.254.1.1", False, False),
        ("fe80::1", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("224.0.0.1", False, False),
    ],
)
def test_addresses(address: str, public: bool, private: bool) -> None:
    parsed = ipaddress.ip_address(address)
    assert (refusal(parsed, allow_private=False) is None) == public
    assert (refusal(parsed, allow_private=True) is None) == private
    if private and not public:
        assert "allow_private_network" in str(refusal(parsed, allow_private=False))


def _resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let names resolve to one answer after the other, the last one from then on. Returns the names asked."""
    asked: list[str] = []

    async def getaddrinfo(host: Any, port: Any, **_: Any) -> list[Any]:
        asked.append(str(host))
        addresses = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return asked


class _Connects:
    """Notes to which addresses a connection was made, and lets none come about."""

    def __init__(self, backend: CheckedBackend, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached: list[str] = []
        monkeypatch.setattr(backend._inner, "connect_tcp", self)

    async def __call__(self, host: str, *_: Any) -> httpcore.AsyncNetworkStream:
        self.reached.append(host)
        raise httpcore.ConnectError("nobody there")


async def test_the_connection_goes_to_what_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _resolve_to(monkeypatch, ["20.190.151.7", "20.190.151.8"], ["127.0.0.1"])
    backend = CheckedBackend(allow_private=False)
    connects = _Connects(backend, monkeypatch)
    with pytest.raises(httpcore.ConnectError):
        await backend.connect_tcp("hooks.example", 443, 5)
    assert (asked, connects.reached) == (["hooks.example"], ["20.190.151.7", "20.190.151.8"])
    with pytest.raises(RefusedByRulesError, match=r"hooks\.example: 127\.0\.0\.1"):
        await backend.connect_tcp("hooks.example", 443, 5)
    assert len(connects.reached) == 2


async def test_one_forbidden_address_of_several_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolve_to(monkeypatch, ["20.190.151.7", "10.0.0.1"])
    backend = CheckedBackend(allow_private=False)
    connects = _Connects(backend, monkeypatch)
    with pytest.raises(RefusedByRulesError):
        await backend.connect_tcp("hooks.example", 443, 5)
    assert connects.reached == []


async def test_a_resolver_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(*_: Any, **__: Any) -> list[Any]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", silent)
    with pytest.raises(httpcore.ConnectTimeout, match="not resolved within"):
        await CheckedBackend(allow_private=False).connect_tcp("hooks.example", 443, 0.05)


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_client_follows_no_redirect_takes_no_cookie_and_keeps_connections_only_where_told(keeps: bool) -> None:
    requests: list[bytes] = []
    connections: list[asyncio.Task[Any] | None] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.current_task())
        while head := await _head(reader):
            requests.append(head)
            writer.write(b"HTTP/1.1 302 Found\r\nLocation: /next\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        transport = CheckedTransport(allow_private=True, allow_http=True, keeps=keeps)
        async with checked_client(transport, httpx.Timeout(5), {}) as http:
            answers = [await http.get(url) for _ in range(2)]
        await asyncio.gather(*filter(None, connections))
    assert [answer.status_code for answer in answers] == [302, 302]
    assert [request.split()[1] for request in requests] == [b"/", b"/"]
    assert not any(b"cookie" in request.lower() for request in requests)
    assert len(connections) == (1 if keeps else 2)


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


def test_the_metadata_services_are_named() -> None:
    assert all(refusal(address, allow_private=True) for address in network.METADATA_SERVICES)
