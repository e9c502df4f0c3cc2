"""The network rules, each against a server that breaks it: what it costs is one answer, never the collector."""

import asyncio
import gzip
import json
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from plumbline_collector.budget import CallBudget
from plumbline_collector.connections import Connection
from plumbline_collector.connectors import bodies, saas_client
from plumbline_collector.connectors.salesforce.client import SalesforceClient
from plumbline_collector.connectors.salesforce.soql import Selection
from plumbline_collector.errors import CollectorError, ReadError, RefusedByRulesError, UnreachableError

ORGANIZATION = Selection("Organization", ("Id",))
SECRET = "unseen-hunter2"
TOKEN = b'{"access_token":"a-token"}'
Respond = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Where a server listens and the request lines that it got, secrets of the requests included."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[str] = []
        self.received = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def answer(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """A whole response."""
    head = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in head.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


@asynccontextmanager
async def hostile(
    respond: Respond, *, tls: ssl.SSLContext | None = None, gives_token: bool = True
) -> AsyncIterator[Server]:
    """A server that gives a token unless told otherwise, and to everything else what `respond` writes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                server.received += head
                path = head.split()[1].decode()
                server.asked.append(path)
                length = [line for line in head.lower().splitlines() if line.startswith(b"content-length:")]
                server.received += await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
                if gives_token and path.endswith("/token"):
                    writer.write(answer(TOKEN))
                else:
                    await respond(path, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    server = Server(listener.sockets[0].getsockname()[1])
    try:
        yield server
    finally:
        listener.close()


@asynccontextmanager
async def client(url: str, folder: Path, **changes: Any) -> AsyncIterator[SalesforceClient]:
    """A client of a connection to `url`."""
    (folder / "secret").write_text(SECRET)
    entry = {
        "tenant": "t", "instance": "i", "product": "salesforce", "url": url, "allow_http": True,
        "allow_private_network": True, **changes,
        "auth": {"method": "client_credentials", "client_id": "cid", "client_secret": {"file": str(folder / "secret")}},
    }  # fmt: skip
    found = SalesforceClient(Connection.model_validate(entry), CallBudget(1.0))
    try:
        yield found
    finally:
        await found.close()


async def _writes(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def test_a_paging_link_to_another_host_is_not_followed(tmp_path: Path) -> None:
    async def nobody(_: str, writer: asyncio.StreamWriter) -> None:
        await _writes(writer, answer(b"{}"))

    async with hostile(nobody) as elsewhere:
        page = {"totalSize": 2, "done": False, "records": [{"Id": "1"}], "nextRecordsUrl": f"{elsewhere.url}/next"}

        async def lure(_: str, writer: asyncio.StreamWriter) -> None:
            await _writes(writer, answer(json.dumps(page).encode()))

        async with hostile(lure) as server, client(server.url, tmp_path) as reader:
            with pytest.raises(ReadError, match="leads to another host") as caught:
                [records async for records in await reader.pages(ORGANIZATION)]
    assert caught.value.code == "foreign_link"
    assert elsewhere.asked == []


@pytest.mark.parametrize("phase", ["token", "data"])
async def test_a_redirect_is_not_followed_and_carries_no_credential_away(phase: str, tmp_path: Path) -> None:
    async def nobody(_: str, writer: asyncio.StreamWriter) -> None:
        await _writes(writer, answer(b"{}"))

    async with hostile(nobody) as elsewhere:
        sends_on = answer(b"", "307 Temporary Redirect", Location=f"{elsewhere.url}/services/oauth2/token")

        async def redirect(_: str, writer: asyncio.StreamWriter) -> None:
            await _writes(writer, sends_on)

        async with hostile(redirect, gives_token=phase == "data") as server, client(server.url, tmp_path) as reader:
            with pytest.raises(UnreachableError, match="redirects are not followed"):
                await reader.pages(ORGANIZATION)
    assert elsewhere.asked == []
    assert elsewhere.received == b""


async def test_a_small_answer_that_unpacks_to_gigabytes_is_refused_in_little_memory(tmp_path: Path) -> None:
    bomb = gzip.compress(b"0" * 200 * 1024 * 1024, compresslevel=9)

    async def bombs(_: str, writer: asyncio.StreamWriter) -> None:
        await _writes(writer, answer(bomb, Content_Encoding="gzip"))

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with hostile(bombs) as server, client(server.url, tmp_path) as reader:
        with pytest.raises(ReadError, match="larger than 8 MB"):
            await reader.pages(ORGANIZATION)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    assert len(server.asked) == 2


async def test_a_body_without_an_end_is_cut_off(tmp_path: Path) -> None:
    async def endless(_: str, writer: asyncio.StreamWriter) -> None:
        await _writes(
            writer, b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        while True:
            await _writes(writer, b"10000\r\n" + b" " * 0x10000 + b"\r\n")

    async with hostile(endless) as server, client(server.url, tmp_path) as reader:
        with pytest.raises(ReadError, match="larger than 8 MB") as caught:
            await reader.pages(ORGANIZATION)
    assert caught.value.code == "too_large"


async def test_a_body_that_trickles_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.2)

    async def drip(_: str, writer: asyncio.StreamWriter) -> None:
        await _writes(writer, b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await _writes(writer, b" ")
            await asyncio.sleep(0.02)

    async with hostile(drip) as server, client(server.url, tmp_path) as reader:
        with pytest.raises(ReadError, match="trickles in") as caught:
            await reader.pages(ORGANIZATION)
    assert caught.value.code == "too_slow"
    assert len(server.asked) == 2


async def test_silence_is_given_up_after_the_time_of_one_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saas_client, "TOTAL_SECONDS", 0.3)
    gone = asyncio.Event()

    async def silent(_: str, writer: asyncio.StreamWriter) -> None:
        await gone.wait()

    async with hostile(silent) as server, client(server.url, tmp_path) as reader:
        with pytest.raises(ReadError, match="no whole answer within") as caught:
            await reader.pages(ORGANIZATION)
        gone.set()
    assert caught.value.code == "timeout"


@pytest.mark.parametrize("kind", ["one long line", "lines without an end"])
async def test_a_head_without_measure_is_refused(kind: str, tmp_path: Path) -> None:
    async def head(_: str, writer: asyncio.StreamWriter) -> None:
        await _writes(writer, b"HTTP/1.1 200 OK\r\nX-Long: ")
        while True:
            await _writes(writer, b"x" * 65536 if kind == "one long line" else b"y\r\nX-More: " * 4096)

    async with hostile(head) as server, client(server.url, tmp_path) as reader:
        with pytest.raises(ReadError) as caught:
            await reader.pages(ORGANIZATION)
    assert caught.value.code == "transport"


async def test_a_public_name_with_a_private_address_is_refused_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(_: str, writer: asyncio.StreamWriter) -> None:
        await _writes(writer, answer(b"{}"))

    async with hostile(nobody) as inside:
        _resolve_to(monkeypatch, ["127.0.0.1"])
        url = f"http://contoso.my.salesforce.example:{inside.port}"
        async with client(url, tmp_path, allow_private_network=False) as reader:
            with pytest.raises(RefusedByRulesError, match=r"contoso.*127\.0\.0\.1 is a private address"):
                await reader.pages(ORGANIZATION)
    assert inside.asked == []


async def test_a_name_that_changes_its_address_after_the_check_gains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(_: str, writer: asyncio.StreamWriter) -> None:
        await _writes(writer, answer(b"{}"))

    async with hostile(nobody) as inside:
        asked = _resolve_to(monkeypatch, ["203.0.113.7", "127.0.0.1"])
        reached: list[Any] = []
        loop = asyncio.get_running_loop()

        async def refuse(_: socket.socket, address: Any) -> None:
            reached.append(address[0])
            raise ConnectionRefusedError

        monkeypatch.setattr(loop, "sock_connect", refuse)
        monkeypatch.setattr("plumbline_contracts.network._is_public", lambda address: str(address) == "203.0.113.7")
        monkeypatch.setattr(saas_client, "ATTEMPTS", 1)
        url = f"http://contoso.my.salesforce.example:{inside.port}"
        async with client(url, tmp_path, allow_private_network=False) as reader:
            with pytest.raises(CollectorError):
                await reader.pages(ORGANIZATION)
    assert reached == ["203.0.113.7"]
    assert asked == ["contoso.my.salesforce.example"]
    assert inside.asked == []


def _resolve_to(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> list[str]:
    """Let names resolve to one address after the other; IP addresses stay what they are. Returns the names asked."""
    asked: list[str] = []

    async def getaddrinfo(host: Any, port: Any, **_: Any) -> list[Any]:
        if str(host).replace(".", "").isdigit():
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        asked.append(str(host))
        address = addresses[min(len(asked), len(addresses)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return asked


def _client_over_tls(server: Server, folder: Path) -> AbstractAsyncContextManager[SalesforceClient]:
    return client(f"https://localhost:{server.port}", folder, allow_http=False)


def _certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate for a host name, with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(encoding)
    )
    return path


@pytest.mark.parametrize(("name", "is_let_in"), [("localhost", True), ("other.example", False)])
async def test_a_certificate_of_another_name_is_refused_although_its_issuer_is_trusted(
    name: str, is_let_in: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = _certificate(tmp_path, name)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    monkeypatch.setattr(saas_client, "ATTEMPTS", 1)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)

    async def one(_: str, writer: asyncio.StreamWriter) -> None:
        await _writes(writer, answer(b'{"totalSize":0,"done":true,"records":[]}'))

    outcome = nullcontext() if is_let_in else pytest.raises(UnreachableError, match="certificate")
    async with hostile(one, tls=tls) as server, _client_over_tls(server, tmp_path) as reader:
        with outcome:
            await reader.pages(ORGANIZATION)
    assert bool(server.asked) is is_let_in
