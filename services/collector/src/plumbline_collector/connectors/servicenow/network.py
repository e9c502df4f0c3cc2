"""The instance's network as typed rows: address rules, LDAP servers, certificates, MID Servers. Pure.

Sources: ip_access, ldap_server_config, ldap_server_url, sys_certificate, ecc_agent, ecc_agent_property.
"""

from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from plumbline_contracts.events import Row

from plumbline_collector.connectors.servicenow import releases
from plumbline_collector.connectors.servicenow.people import MID_SERVER_ROLE, PRIVILEGED_ROLES
from plumbline_collector.connectors.servicenow.values import days_since, days_until, filled, flag, items, present, text

LARGEST_RANGES = {4: 2**24, 6: 2**96}
"""The addresses of a /8 of IPv4 and of a /32 of IPv6, by the version."""
COMMAND_AUDIT = "mid.log.command_audit.enable"


def ip_rule(row: Mapping[str, Any]) -> Row:
    """A row of `ip_access_rules`, with how wide its range is."""
    start, end = filled(row, "range_start"), filled(row, "range_end")
    kind = filled(row, "type")
    found: Row = {
        "sys_id": text(row, "sys_id"),
        "range": f"{start or '?'}-{end or start or '?'}",
        "type": kind.lower() if kind else None,
        "direction": text(row, "direction"),
        "is_active": flag(row, "active"),
        "range_start": start,
        "range_end": end,
    }
    if measured := _addresses(start, end):
        version, size = measured
        found |= {"is_any_address": size >= 2**32, "is_large_range": size > LARGEST_RANGES[version]}
    return present(found)


def _addresses(start: str | None, end: str | None) -> tuple[int, int] | None:
    """The version of a range and how many addresses it has; an open end is the first address alone.

    None when it is no range.
    """
    first, last = _address(start), _address(end or start)
    if first is None or last is None or first.version != last.version:
        return None
    return first.version, int(last) - int(first) + 1


def _address(said: str | None) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(said or "")
    except ValueError:
        return None


class LdapUrls:
    """The addresses of ldap_server_url by server; one that does not say its server counts for all of them."""

    def __init__(self) -> None:
        self.is_known = True
        self._by_server: dict[str, list[str]] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """One ldap_server_url row; an inactive one is left out."""
        url = filled(row, "url") or filled(row, "server_url")
        if url is not None and flag(row, "active") is not False:
            self._by_server.setdefault(filled(row, "server") or "", []).append(url)

    def of(self, server: str) -> list[str]:
        """The addresses of a server."""
        return [*self._by_server.get(server, []), *self._by_server.get("", [])]


def ldap_server(row: Mapping[str, Any], urls: LdapUrls) -> Row:
    """A row of `ldap_servers`. It uses TLS when its switch is on, or when every address that it has says ldaps."""
    is_ssl, own = flag(row, "ssl"), items(row, "server_url")
    known = None if own is None or not urls.is_known else [*own, *urls.of(text(row, "sys_id") or "")]
    is_secure = None if known is None else bool(known) and all(url.lower().startswith("ldaps:") for url in known)
    return present(
        {
            "sys_id": text(row, "sys_id"),
            "name": filled(row, "name") or text(row, "sys_id"),
            "is_active": flag(row, "active"),
            "urls": None if known is None else list(known),
            "is_ssl_enabled": is_ssl,
            "uses_tls": True if is_ssl or is_secure else (None if None in (is_ssl, is_secure) else False),
            "uses_mid_server": bool(filled(row, "mid_server")) if "mid_server" in row else None,
        }
    )


def certificate(row: Mapping[str, Any], started_at: datetime) -> Row:
    """A row of `certificates`. Days are whole and counted from `started_at`."""
    left, begins = days_until(row, "expires", started_at), days_until(row, "valid_from", started_at)
    return present(
        {
            "sys_id": text(row, "sys_id"),
            "name": filled(row, "name") or filled(row, "subject") or text(row, "sys_id"),
            "type": text(row, "type"),
            "format": text(row, "format"),
            "subject": text(row, "subject"),
            "issuer": text(row, "issuer"),
            "is_active": flag(row, "active"),
            "expires_in_days": left,
            "is_expired": None if left is None else left < 0,
            "is_not_yet_valid": None if begins is None else begins > 0,
        }
    )


def mid_server(
    row: Mapping[str, Any],
    *,
    roles: Mapping[str, set[str]] | None,
    audits: Mapping[str, bool] | None,
    build: releases.Build | None,
    started_at: datetime,
) -> Row:
    """A row of `mid_servers`: what its user holds, whether it logs commands and runs the instance's build.

    `roles` and `audits` are None where they could not be read. What `audits` says of "" holds for every MID Server of
    which it says nothing.
    """
    name, version = filled(row, "name"), filled(row, "version")
    found: Row = {
        "sys_id": text(row, "sys_id"),
        "name": name or text(row, "sys_id"),
        "status": text(row, "status"),
        "is_validated": _is_validated(row),
        "is_stopped": flag(row, "stopped"),
        "version": version,
        "user_name": text(row, "user_name"),
        "unrefreshed_days": days_since(row, "last_refreshed", started_at),
    }
    own = releases.build(version)
    if own is not None and build is not None:
        found["is_on_instance_build"] = own.is_same_patch(build)
    if audits is not None:
        found["logs_commands"] = audits.get(text(row, "sys_id") or "", audits.get("", False))
    return present(found | _user_roles(filled(row, "user_name"), roles))


def _is_validated(row: Mapping[str, Any]) -> bool | None:
    said = filled(row, "validated")
    return None if said is None else said.lower() in ("true", "1", "yes", "validated")


def _user_roles(user_name: str | None, roles: Mapping[str, set[str]] | None) -> Row:
    if roles is None or user_name is None:
        return {}
    held = roles.get(user_name.lower(), set())
    listed: list[str] = sorted(held)
    return {
        "user_roles": list(listed),
        "has_privileged_user": bool(held & set(PRIVILEGED_ROLES)),
        "has_only_mid_server_role": bool(held) and held <= {MID_SERVER_ROLE},
    }
