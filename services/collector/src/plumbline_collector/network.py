"""The network rules: which addresses a connection may reach, checked at the moment of connecting.

Host names are resolved here and the connection goes to an address that was checked, so that a name that changes its
address between check and use gains nothing.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from plumbline_collector.errors import RefusedByRulesError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def refusal(address: Address, *, allow_private: bool) -> str | None:
    """Why an address may not be reached; None when it may. Link-local and unspecified ones never may."""
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        return refusal(mapped, allow_private=allow_private)
    if address.is_link_local or address.is_unspecified or address.is_multicast:
        return f"{address} is a link-local, multicast or unspecified address, which is never reached"
    if not address.is_global and not allow_private:
        return f"{address} is a private address; set allow_private_network: true if this instance is really there"
    return None


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, *, allow_private: bool) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._allow_private = allow_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of the interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve, check, connect. Raises RefusedByRulesError when no address of the host may be reached."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error
        addresses = list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))
        reasons = [refusal(address, allow_private=self._allow_private) for address in addresses]
        if any(reasons):
            raise RefusedByRulesError(f"{host}: {next(reason for reason in reasons if reason)}")
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
    """HTTP over checked addresses, certificates verified, at most a few connections."""

    def __init__(self, *, allow_private: bool, max_connections: int = 4) -> None:
        super().__init__(retries=0, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=30,
            network_backend=CheckedBackend(allow_private=allow_private),
        )
