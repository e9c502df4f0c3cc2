"""Which addresses a subscription may name. What the name leads to is checked at every attempt again."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from plumbline_contracts.network import refusal


@dataclass(frozen=True)
class TargetRules:
    """What is allowed beside https to public addresses; for tests and receivers in the own network."""

    allow_http: bool = False
    allow_private_network: bool = False


STRICT = TargetRules()


def mistake(url: str, rules: TargetRules) -> str | None:
    """What is wrong with a URL as a target; None when nothing is."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "it is no URL"
    if parts.scheme != "https" and not (rules.allow_http and parts.scheme == "http"):
        return "expected https://HOST/PATH"
    if not host or port == 0:
        return "it names no host, or a port that does not exist"
    if parts.username is not None or parts.password is not None:
        return "a user or password cannot be part of it; the signature tells who sends"
    if parts.fragment:
        return "a fragment, behind `#`, is never sent"
    return _forbidden(host, rules)


def _forbidden(host: str, rules: TargetRules) -> str | None:
    """Why a host that is an address may not be reached; names are resolved when something is sent."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if refusal(address, allow_private=rules.allow_private_network):
        return "this address is private or reserved and is not reached from here"
    return None


def host_of(url: str) -> str:
    """The host of a good URL: what may be told of it, as the rest may hold a token of the receiver."""
    return urlsplit(url).hostname or ""


def origin_of(url: str) -> str:
    """Scheme, host and port of a good URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/"
