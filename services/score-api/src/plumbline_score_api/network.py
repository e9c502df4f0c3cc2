"""The network rules: which addresses the API may reach by itself, checked at the moment of use.

Host names are resolved here and the connection goes to an address that was checked, so that a name that changes its
address between check and use gains nothing.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpcore
import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA_SERVICES = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
"""Where clouds hand out machine credentials. Some are private or even public addresses, so they are named."""

_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""NAT64 (RFC 6052): the last 32 bits are the IPv4 address that is really reached."""


class RefusedByRulesError(Exception):
    """Our own network rules forbid it; the message says which rule."""


class AnswerError(Exception):
    """A foreign server gave no usable answer; the message says why and holds nothing that it sent."""


def refusal(address: Address, *, allow_private: bool) -> str | None:
    """Why an address may not be reached; None when it may. Link-local and metadata addresses never may."""
    inner = _inner_address(address)
    if inner is not None:
        return refusal(inner, allow_private=allow_private)
    if address in METADATA_SERVICES:
        return f"{address} is a cloud's metadata service, which is never reached"
    if address.is_link_local or address.is_unspecified or address.is_multicast:
        return f"{address} is a link-local, multicast or unspecified address, which is never reached"
    if not allow_private and not _is_public(address):
        return f"{address} is a private address; set allow_private_network: true if it is really meant"
    return None


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        return False
    return address.is_global


def _inner_address(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address only wraps (mapped, 6to4, NAT64)."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


async def _resolve(host: str, port: int) -> list[Address]:
    """All addresses of a host, each once. Raises httpcore.ConnectError when there are none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
    return list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, *, allow_private: bool) -> None:
        self._inner, self._allow_private = httpcore.AnyIOBackend(), allow_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of the interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve, check, connect. Raises RefusedByRulesError when any address of the host may not be reached."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await _resolve(host, port)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"{host} was not resolved in time") from error
        for address in addresses:
            if reason := refusal(address, allow_private=self._allow_private):
                raise RefusedByRulesError(f"{host}: {reason}")
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._inner.sleep(seconds)


class CheckedTransport(httpx.AsyncHTTPTransport):
    """HTTP over checked addresses, certificates verified, at most a few connections; plain http where allowed."""

    def __init__(self, *, allow_private: bool, allow_http: bool, max_connections: int = 4) -> None:
        super().__init__(retries=0, trust_env=False)
        self._allow_http = allow_http
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=30,
            network_backend=CheckedBackend(allow_private=allow_private),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request that the rules allow. Raises RefusedByRulesError."""
        url = request.url
        if url.scheme != "https" and not (self._allow_http and url.scheme == "http"):
            raise RefusedByRulesError(f"{url.host}: {url.scheme} is not encrypted; use https")
        return await super().handle_async_request(request)


def client(*, allow_private: bool, allow_http: bool) -> httpx.AsyncClient:
    """A client under the rules: no redirects, no cookies, no proxy or password from the environment, nothing packed."""
    return httpx.AsyncClient(
        transport=CheckedTransport(allow_private=allow_private, allow_http=allow_http),
        timeout=5,
        follow_redirects=False,
        trust_env=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        headers={"User-Agent": "plumbline-score-api", "Accept-Encoding": "identity"},
    )


async def get(http: httpx.AsyncClient, url: str, *, most_bytes: int, within_seconds: float) -> bytes:
    """The body of a plain 200 answer. Raises AnswerError for anything else, whatever the server does."""
    try:
        async with asyncio.timeout(within_seconds), http.stream("GET", url) as response:
            return await _read(response, most_bytes)
    except TimeoutError as error:
        raise AnswerError(f"no whole answer within {within_seconds:g} s") from error
    except (httpx.InvalidURL, UnicodeError, OverflowError) as error:
        raise AnswerError("the address is no valid URL") from error
    except (httpx.ConnectError, RefusedByRulesError) as error:
        raise AnswerError(str(error)) from error
    except httpx.HTTPError as error:
        raise AnswerError(f"the request failed ({type(error).__name__})") from error


async def _read(response: httpx.Response, most_bytes: int) -> bytes:
    if response.is_redirect:
        raise AnswerError(f"HTTP {response.status_code}: it sends to another address, which is not followed")
    if response.status_code != 200:
        raise AnswerError(f"HTTP {response.status_code}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise AnswerError("the answer is packed, which was not asked for")
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > most_bytes:
            raise AnswerError(f"the answer is larger than {most_bytes // 1024} KB")
    return bytes(body)
