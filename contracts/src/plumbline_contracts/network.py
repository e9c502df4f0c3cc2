"""The network rules: which addresses a service may reach by itself, checked at the moment of use.

Host names are resolved here and the connection goes to an address that was checked, so that a name that changes its
address between check and use gains nothing. Needs the extra `http`.
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

KEEP_SECONDS = 30.0


class RefusedByRulesError(Exception):
    """Our own network rules forbid it; the message says which rule."""


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
            raise httpcore.ConnectTimeout(f"{host} was not resolved within {timeout:g} s") from error
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
    """HTTP over checked addresses, certificates verified, a bounded number of connections; plain http where allowed.

    With `keeps` False every request opens a connection of its own, and so passes the check itself.
    """

    def __init__(self, *, allow_private: bool, allow_http: bool, max_connections: int = 4, keeps: bool = True) -> None:
        super().__init__(retries=0, trust_env=False)
        self._allow_http = allow_http
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=max_connections,
            max_keepalive_connections=max_connections if keeps else 0,
            keepalive_expiry=KEEP_SECONDS,
            network_backend=CheckedBackend(allow_private=allow_private),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request that the rules allow. Raises RefusedByRulesError."""
        url = request.url
        if url.scheme != "https" and not (self._allow_http and url.scheme == "http"):
            raise RefusedByRulesError(f"{url.host}: {url.scheme} is not encrypted; use https")
        return await super().handle_async_request(request)


def checked_client(
    transport: CheckedTransport, timeout: httpx.Timeout | float, headers: dict[str, str]
) -> httpx.AsyncClient:
    """A client under the rules: no redirects, no cookies, no proxy and no password from the environment."""
    return httpx.AsyncClient(
        transport=transport,
        timeout=timeout,
        follow_redirects=False,
        trust_env=False,
        cookies=_no_cookies(),
        headers=headers,
    )


def _no_cookies() -> CookieJar:
    """A jar that takes no cookie: a session would pin a service to one node and outlive its token."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))
