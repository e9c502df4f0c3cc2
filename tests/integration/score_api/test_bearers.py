"""Bearer tokens over HTTP: discovery under the network rules, and the API as a process that trusts an issuer."""

import asyncio
import gzip
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from plumbline_score_api.network import AnswerError
from plumbline_score_api.services import Services
from plumbline_score_api.tokens.discovery import LARGEST_ANSWER_BYTES, Discovery
from plumbline_score_api.tokens.issuers import Issuer
from plumbline_score_api.tokens.service import over_http

from tests.integration.score_api.in_process import client_for
from tests.integration.score_api.issuing import IssuerServer, issuer_server, said
from tests.integration.score_api.stage import Stage
from tests.polling import until
from tests.unit.score_api.signers import claims, encoded, private_key, token


@pytest.fixture
def server() -> Iterator[IssuerServer]:
    with issuer_server() as running:
        yield running


async def _read(server: IssuerServer, **changes: Any) -> set[tuple[str, str]]:
    reader = Discovery(Issuer.model_validate(server.entry(**changes)))
    try:
        return set(await reader.read())
    finally:
        await reader.close()


async def test_the_keys_are_where_the_issuer_says(server: IssuerServer) -> None:
    assert ("k1", "RS256") in await _read(server)
    assert server.asked == [server.discovery, "/realms/main/keys"]


@pytest.mark.parametrize(
    ("path", "answer", "told"),
    [
        ("discovery", (503, {}, b""), "HTTP 503"),
        ("discovery", (302, {"Location": "http://127.0.0.1:1/"}, b""), "sends to another address"),
        ("discovery", (200, {}, b"<html>"), "no JSON"),
        ("discovery", (200, {}, b"[" * 100_000), "no JSON"),
        ("discovery", (200, {}, b"\xff\xfe"), "no JSON"),
        ("discovery", said([]), "no JSON object"),
        ("discovery", said({"issuer": "https://evil.example"}), "another issuer"),
        ("discovery", said({}), "another issuer"),
        ("discovery", (200, {}, b"{" + b" " * LARGEST_ANSWER_BYTES + b"}"), "larger than 512 KB"),
        ("discovery", (200, {"Content-Encoding": "gzip"}, gzip.compress(b"{}")), "packed"),
        ("discovery", (200, {"Content-Length": "100"}, b"{}"), "the request failed"),
        ("keys", (404, {}, b""), "HTTP 404"),
        ("keys", (301, {"Location": "https://evil.example/keys"}, b""), "sends to another address"),
        ("keys", said({"keys": []}), "no key that could verify"),
        ("keys", said({"keys": [{"kty": "oct", "k": "AAAA", "kid": "k1"}]}), "no key that could verify"),
    ],
)
async def test_an_answer_that_cannot_be_used_is_told(server: IssuerServer, path: str, answer: Any, told: str) -> None:
    server.answers[server.discovery if path == "discovery" else "/realms/main/keys"] = answer
    with pytest.raises(AnswerError, match=told) as refused:
        await _read(server)
    assert "127.0.0.1" in str(refused.value), "the address is named"


@pytest.mark.parametrize("address", ["http://169.254.169.254/keys", "file:///etc/passwd", "https://[::1", 7, None])
async def test_keys_are_not_read_from_a_forbidden_address(server: IssuerServer, address: Any) -> None:
    server.answers[server.discovery] = said({"issuer": server.url, "jwks_uri": address})
    with pytest.raises(AnswerError, match=r"never reached|not encrypted|no valid URL|no jwks_uri"):
        await _read(server)


async def test_a_private_network_is_reached_where_it_is_allowed_alone(server: IssuerServer) -> None:
    with pytest.raises(AnswerError, match="allow_private_network"):
        await _read(server, allow_private_network=False)
    assert server.asked == []


def _self_signed(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS with a certificate that nobody trusts."""
    key = private_key("EC256")
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")]), datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@pytest.mark.parametrize("is_trusted", [False, True])
async def test_an_issuer_is_asked_only_with_a_certificate_that_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_trusted: bool
) -> None:
    tls = _self_signed(tmp_path)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.read(9))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as running:
        port = running.sockets[0].getsockname()[1]
        entry = {"issuer": f"https://127.0.0.1:{port}", "audience": "x", "tenant": "contoso"}
        reader = Discovery(Issuer.model_validate({**entry, "allow_private_network": True}))
        with pytest.raises(AnswerError, match="the request failed" if is_trusted else "CERTIFICATE_VERIFY_FAILED"):
            await reader.read()
        await reader.close()
    assert bool(requests) is is_trusted


async def test_an_issuer_that_does_not_answer_is_not_waited_for(
    server: IssuerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plumbline_score_api.tokens.discovery.ANSWER_SECONDS", 0.2)
    server.gate.clear()
    with pytest.raises(AnswerError, match="no whole answer within"):
        await _read(server)


# --- the application


@pytest.fixture
async def bearer(services: Services, server: IssuerServer) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application that trusts the issuer; it has no token yet."""
    bearers, close = over_http([Issuer.model_validate(server.entry())])
    async with client_for(services, None, bearers) as client:
        yield client
    await close()


def _as(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


async def test_a_token_opens_what_its_roles_say(bearer: httpx.AsyncClient, server: IssuerServer) -> None:
    reading = _as(server.token())
    assert (await bearer.get("/v1/secure-score", headers=reading)).status_code == 200
    assert (await bearer.get("/v1/keys", headers=reading)).status_code == 403
    nothing = _as(server.token(roles=["Guest"]))
    assert (await bearer.get("/v1/secure-score", headers=nothing)).status_code == 403
    managing = _as(server.token(roles=["Keys.Manage", "SecureScore.Read"]))
    made = await bearer.post("/v1/keys", headers=managing, json={"name": "siem", "roles": ["SecureScore.Read"]})
    assert made.status_code == 201
    assert made.json()["created_by"] == f"ann@contoso.example ({server.url}#3f2a)"
    assert (await bearer.get("/v1/secure-score", headers=_as(made.json()["key"]))).status_code == 200


async def test_every_bad_token_gets_the_same_401(bearer: httpx.AsyncClient, server: IssuerServer) -> None:
    body = claims(iss=server.url)
    bad = {
        "malformed": "a.b.c",
        "none": f"{encoded({'alg': 'none', 'kid': 'k1'})}.{encoded(body)}.",
        "HS256": token(body, key="s" * 64, algorithm="HS256"),
        "another audience": server.token(aud="other"),
        "another issuer": token(claims(iss="https://evil.example")),
        "expired": server.token(exp=1),
        "early": server.token(nbf=4_000_000_000),
        "unknown kid": token(body, key_id="k9"),
        "forged": token(body, key=private_key("RS2048", 1)),
        "1 MB": server.token(x="a" * 1024 * 1024),
        "an unknown key": "plk_0123456789abcdef_" + "A" * 43,
        "a broken key": "plk_x.y.z",
    }
    answers = [await bearer.get("/v1/secure-score", headers=_as(text)) for text in bad.values()]
    assert {answer.status_code for answer in answers} == {401}
    assert len({str(answer.json() | {"trace_id": ""}) for answer in answers}) == 1, "alike but for the trace"
    assert len({str(sorted((dict(answer.headers) | {"traceresponse": ""}).items())) for answer in answers}) == 1


async def test_rotated_keys_are_found_and_guesses_are_not_looked_for(
    bearer: httpx.AsyncClient, server: IssuerServer
) -> None:
    assert (await bearer.get("/v1/products", headers=_as(server.token()))).status_code == 200
    for number in range(20):
        answer = await bearer.get("/v1/products", headers=_as(token(claims(iss=server.url), key_id=str(number))))
        assert answer.status_code == 401
    assert len(server.asked) == 2, "both documents, once"


async def test_while_the_issuer_has_never_answered_it_is_503(bearer: httpx.AsyncClient, server: IssuerServer) -> None:
    server.answers[server.discovery] = (500, {}, b"")
    answer = await bearer.get("/v1/products", headers=_as(server.token()))
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert server.url not in answer.text


# --- the process


def _issuers_file(folder: Path, *entries: dict[str, Any]) -> Path:
    file = folder / "issuers.yaml"
    file.write_text(yaml.safe_dump({"issuers": list(entries)}))
    return file


def test_the_process_trusts_the_issuers_of_its_file(stage: Stage, server: IssuerServer, tmp_path: Path) -> None:
    running, client = stage.serve(issuers=_issuers_file(tmp_path, server.entry()), log_level="debug")
    good, forged = server.token(), token(claims(iss=server.url), key=private_key("RS2048", 1))
    assert client.get("/v1/products", headers=_as(good)).status_code == 200
    assert client.get("/v1/products", headers=_as(forged)).status_code == 401
    assert client.get("/v1/products").status_code == 200, "keys work beside tokens"
    until(lambda: running.lines("bearer refused"), within_seconds=10, what="the refusal is logged")
    (line,) = running.lines("bearer refused")
    assert (line["reason"], line["issuer"]) == ("wrong signature", server.url)
    assert running.metric('plumbline_score_api_tokens_refused_total{reason="wrong signature"}') == 1
    assert running.service.stop() == 0
    for text in (good, forged):
        for part in text.split(".")[1:]:
            assert part not in running.service.text()


def test_a_file_with_mistakes_stops_the_start_with_every_line(stage: Stage, tmp_path: Path) -> None:
    entry = {"issuer": "http://id.example", "audience": "x", "tenant": "con/toso"}
    file = _issuers_file(tmp_path, entry, {"issuer": "https://id.example"})
    running = stage.start("serve", issuers=file)
    assert running.process.wait(30) == 2
    problems = [line["problem"] for line in running.lines("score-api-serve cannot start")]
    assert len(problems) >= 2
    assert all(problem.startswith(f"{file}:") for problem in problems)
    assert "Traceback" not in running.service.text()


def test_a_token_of_1_mb_is_a_problem_on_the_wire_too(stage: Stage, server: IssuerServer, tmp_path: Path) -> None:
    _, client = stage.serve(issuers=_issuers_file(tmp_path, server.entry()))
    head = f"GET /v1/products HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {'a' * 1024 * 1024}\r\n\r\n".encode()
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as opened:
        try:
            opened.sendall(head)
            answer = b"".join(iter(lambda: opened.recv(65536), b""))
        except ConnectionError:
            answer = b""  # it closed before it read all, and the system dropped what it had said
    assert not answer or (answer.startswith(b"HTTP/1.1 400 ") and b"application/problem+json" in answer)
    assert client.get("/v1/products", headers=_as(server.token())).status_code == 200


def test_what_is_no_request_gets_a_problem(stage: Stage) -> None:
    _, client = stage.serve()
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as opened:
        opened.sendall(b"nonsense\r\n\r\n")
        answer = b"".join(iter(lambda: opened.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request")
    assert b"application/problem+json" in head
    assert b"nosniff" in head
    assert b'"status":400' in body
