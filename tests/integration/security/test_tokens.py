"""Access tokens for the broker, from a token endpoint over https."""

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from plumbline_contracts.kafka import KafkaSettings, TokenError
from plumbline_contracts.kafka_tokens import ClientCredentials

from tests.certificates import Authority
from tests.integration.security.tokens import TokenServer

CLIENT, SECRET = "the collector", "p:ass%word/+="


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A certificate authority."""
    return Authority(tmp_path)


@pytest.fixture
def server(authority: Authority) -> Iterator[TokenServer]:
    """A token endpoint that numbers its tokens."""
    count = iter(range(1, 100))
    server = TokenServer(authority, {CLIENT: SECRET}, lambda *_: f"token-{next(count)}")
    with server.running():
        yield server


class Clock:
    """A clock that stands still."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _provider(
    server: TokenServer, cafile: Path, clock: Callable[[], float] = time.monotonic, secret: str = SECRET
) -> ClientCredentials:
    context = ssl.create_default_context(cafile=cafile)
    return ClientCredentials(server.url, CLIENT, lambda: secret, scope="kafka.write", context=context, clock=clock)


def _tokens(provider: ClientCredentials, count: int = 1) -> list[str]:
    async def ask() -> list[str]:
        return await asyncio.gather(*(provider.token() for _ in range(count)))

    return asyncio.run(ask())


def test_connections_share_a_token_until_it_is_about_to_expire(server: TokenServer, authority: Authority) -> None:
    clock = Clock()
    provider = _provider(server, authority.cafile, clock)

    assert _tokens(provider, 5) == ["token-1"] * 5
    clock.now += server.lifetime_seconds - 61
    assert _tokens(provider) == ["token-1"]
    clock.now += 2
    assert _tokens(provider, 3) == ["token-2"] * 3
    assert server.forms == [{"grant_type": ["client_credentials"], "scope": ["kafka.write"]}] * 2


@pytest.mark.parametrize(
    ("more", "shared"),
    [({}, False), ({"expires_in": 0}, False), ({"expires_in": -5}, False), ({"expires_in": "60"}, True)],
)
def test_a_token_without_a_lifetime_is_used_once(
    server: TokenServer, authority: Authority, more: dict[str, object], shared: bool
) -> None:
    server.answer = 200, json.dumps({"access_token": "abc", **more}).encode()
    provider = _provider(server, authority.cafile)

    assert _tokens(provider) + _tokens(provider) == ["abc", "abc"]
    assert len(server.forms) == (1 if shared else 2)


def test_a_rotated_secret_is_used_with_the_next_token(
    server: TokenServer, authority: Authority, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("old")
    server.lifetime_seconds = 0
    settings = KafkaSettings.model_validate(
        {
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": "OAUTHBEARER",
            "kafka_oauth_token_endpoint": server.url,
            "kafka_oauth_client_id": CLIENT,
            "kafka_oauth_client_secret_file": file,
            "kafka_oauth_cafile": authority.cafile,
        }
    )
    provider = settings.client_options()["sasl_oauth_token_provider"]
    file.write_text(SECRET)

    assert _tokens(provider) == ["token-1"]
    file.unlink()
    with pytest.raises(TokenError, match="PLUMBLINE_KAFKA_OAUTH_CLIENT_SECRET_FILE"):
        _tokens(provider)


def test_a_refused_client_is_told_without_the_secret_or_the_servers_words(
    server: TokenServer, authority: Authority
) -> None:
    with pytest.raises(TokenError) as refused:
        _tokens(_provider(server, authority.cafile, secret="guessed-wrongly"))

    assert f"no token from {server.url} for the client {CLIENT}: HTTP 401 invalid_client" in str(refused.value)
    assert "guessed-wrongly" not in str(refused.value)
    assert "what was sent" not in str(refused.value)
    assert not refused.value.retriable


@pytest.mark.parametrize(
    ("status", "body", "told", "retriable"),
    [
        (503, b"busy", "HTTP 503;", True),
        (302, b"", "HTTP 302;", True),
        (400, b'{"error": "<script>"}', "HTTP 400;", False),
        (200, b"no json", "its answer is no JSON object", True),
        (200, b"[]", "its answer is no JSON object", True),
        (200, b"{}", "no bearer token", True),
        (200, b'{"access_token": 5}', "no bearer token", True),
        (200, b'{"access_token": "a\\u0001b"}', "no bearer token", True),
        (200, b'{"access_token": "a", "token_type": "mac"}', "another type than Bearer", True),
        (200, b'{"access_token": "a", "expires_in": "soon"}', "no number of seconds", True),
        (200, b'{"access_token": "' + b"a" * 70_000 + b'"}', "larger than 64 KB", True),
    ],
)
def test_an_answer_without_a_token_is_told(
    server: TokenServer, authority: Authority, status: int, body: bytes, told: str, retriable: bool
) -> None:
    server.answer = status, body

    with pytest.raises(TokenError) as failed:
        _tokens(_provider(server, authority.cafile))

    assert told in str(failed.value)
    assert failed.value.retriable == retriable


def test_an_endpoint_of_a_foreign_authority_gets_no_secret(server: TokenServer, tmp_path: Path) -> None:
    foreign = Authority(tmp_path / "foreign", "foreign authority")

    with pytest.raises(TokenError, match="it does not answer") as failed:
        _tokens(_provider(server, foreign.cafile))

    assert "CERTIFICATE_VERIFY_FAILED" in str(failed.value)
    assert server.forms == []
