"""How others reach the instance's APIs, as typed rows: REST resources, OAuth clients, policies, processors. Pure.

Sources: sys_ws_operation, sys_ws_definition, oauth_entity, sys_api_access_policy, sys_rate_limit_rules, sys_cors_rule,
sys_processor.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from plumbline_contracts.events import Row

from plumbline_collector.connectors.servicenow.columns import Columns
from plumbline_collector.connectors.servicenow.identifiers import Key, key
from plumbline_collector.connectors.servicenow.values import filled, flag, items, number, present, text

ACCESS_TOKEN_SECONDS, REFRESH_TOKEN_SECONDS = 1800, 8_640_000
"""The platform's own token lives, in force where the field is empty."""
_TABLE_API = re.compile(r"table api|([a-z]+\s+)?/*(api/+)?now/(v\d+/)?table(/.*)?")
_RECORD_ID = re.compile(r"[0-9a-f]{32}")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Service:
    """What a REST resource inherits from its service."""

    name: str | None
    has_acl: bool | None


def service(row: Mapping[str, Any]) -> Service:
    """A sys_ws_definition row."""
    rules = items(row, "enforce_acl")
    return Service(filled(row, "name"), None if rules is None else bool(rules))


def rest_resource(row: Mapping[str, Any], services: Mapping[Key, Service] | None) -> Row:
    """A row of `rest_resources`, with the access rules of its own and of its service; None: services are unread."""
    own = (services or {}).get(key(filled(row, "web_service_definition") or ""))
    return present(
        {
            "sys_id": text(row, "sys_id"),
            "name": filled(row, "name") or text(row, "sys_id"),
            "service": own.name if own else None,
            "http_method": text(row, "http_method"),
            "path": filled(row, "operation_uri") or filled(row, "relative_path"),
            "requires_authentication": flag(row, "requires_authentication"),
            "requires_acl": flag(row, "requires_acl_authorization"),
            "requires_internal_role": flag(row, "requires_snc_internal_role"),
            "has_own_acl": bool(items(row, "enforce_acl")) if "enforce_acl" in row else None,
            "service_has_acl": own.has_acl if own else None,
        }
    )


def oauth_client(row: Mapping[str, Any], columns: Columns, privileged: Collection[Key] | None) -> Row:
    """A row of `oauth_clients`. `privileged` tells users with a privileged role; None when roles could not be read."""
    runs_as, urls = filled(row, "user"), items(row, "redirect_url")
    restriction = columns.cell(row, "oauth_entity", "token_restriction")
    return present(
        {
            "sys_id": text(row, "sys_id"),
            "name": filled(row, "name") or text(row, "sys_id"),
            "type": text(row, "type"),
            "client_type": filled(columns.cell(row, "oauth_entity", "client_type"), "value"),
            "is_active": flag(row, "active"),
            "is_public": flag(row, "public_client"),
            "default_grant_type": text(row, "default_grant_type"),
            "code_challenge_method": text(row, "code_challenge_method"),
            "uses_mutual_authentication": flag(row, "use_mutual_auth"),
            "access_token_seconds": _seconds(row, "access_token_lifespan", ACCESS_TOKEN_SECONDS),
            "refresh_token_seconds": _seconds(row, "refresh_token_lifespan", REFRESH_TOKEN_SECONDS),
            "redirect_urls": None if urls is None else list(urls),
            "redirects_insecurely": None if urls is None else any(map(is_insecure, urls)),
            "restricts_tokens": flag(restriction, "value"),
            "runs_as_user": runs_as,
            "runs_as_privileged_user": _is_privileged(row, runs_as, privileged),
        }
    )


def _is_privileged(row: Mapping[str, Any], user: str | None, privileged: Collection[Key] | None) -> bool | None:
    if "user" not in row or (privileged is None and user is not None):
        return None
    return user is not None and key(user) in (privileged or ())


def _seconds(row: Mapping[str, Any], name: str, default: int) -> int | None:
    return default if text(row, name) == "" else number(row, name)


def is_insecure(url: str) -> bool:
    """Whether an address is plain http to another machine."""
    try:
        parts = urlsplit(url.strip())
        return parts.scheme.lower() == "http" and (parts.hostname or "") not in _LOOPBACK
    except ValueError:
        return url.strip().lower().startswith("http:")


def api_policy(row: Mapping[str, Any]) -> Row:
    """A row of `api_policies`: a REST API access policy and whether the Table API is under it."""
    return present(
        {
            "sys_id": text(row, "sys_id"),
            "name": filled(row, "name") or text(row, "sys_id"),
            "api": text(row, "api"),
            "api_path": text(row, "api_path"),
            "http_method": text(row, "http_method"),
            "version": text(row, "version"),
            "is_active": flag(row, "active"),
            "is_global": flag(row, "apply_global"),
            "applies_to_all_methods": flag(row, "apply_all_methods"),
            "applies_to_all_resources": flag(row, "apply_all_resources"),
            "applies_to_all_tables": flag(row, "apply_all_tables"),
            "applies_to_all_versions": flag(row, "apply_all_versions"),
            "covers_table_api": _is_of_table_api(row),
        }
    )


def _is_of_table_api(policy: Mapping[str, Any]) -> bool | None:
    """Whether the Table API is under a policy; None when what would tell is withheld.

    A policy that is global holds for all methods, versions and resources of the API that it names, and for every API
    only where it names none. Source: https://www.servicenow.com/docs/r/platform-security/authentication/create-api-access-policy.html
    """
    said = [value for name in ("api", "api_path") if (value := text(policy, name)) is not None]
    if any(value.strip() for value in said):
        return _means_table_api(said)
    return flag(policy, "apply_global") if {"api", "api_path"} <= policy.keys() else None


def _means_table_api(said: Collection[str]) -> bool | None:
    """Whether what is said of one API means the Table API; None when it is only said by the id of a record."""
    if any(map(names_table_api, said)):
        return True
    named = [value for value in said if value.strip()]
    return None if named and all(map(_is_record_id, named)) else False


def names_table_api(said: str) -> bool:
    """Whether a name or path of an API means the Table API, as `GET /now/v2/table/incident` does."""
    return _TABLE_API.fullmatch(said.strip().lower()) is not None


def _is_record_id(said: str) -> bool:
    return _RECORD_ID.fullmatch(said.strip().lower()) is not None


def rate_limit(row: Mapping[str, Any], columns: Columns) -> Row:
    """A row of `rate_limits`. Which API a rule is about stands in columns that sys_dictionary has to name."""
    cells = [columns.cell(row, "sys_rate_limit_rules", meaning) for meaning in ("api", "path", "resource")]
    said = [value for cell in cells if (value := text(cell, "value")) is not None]
    return present(
        {
            "sys_id": text(row, "sys_id"),
            "name": filled(row, "name") or text(row, "sys_id"),
            "is_active": flag(row, "active"),
            "api": next((value for value in sorted(said, key=_is_record_id) if value), None),
            "covers_table_api": _means_table_api(said) if said else None,
        }
    )


def cors_rule(row: Mapping[str, Any], columns: Columns) -> Row:
    """A row of `cors_rules`. Its origin stands in a column that sys_dictionary has to name."""
    domain = filled(columns.cell(row, "sys_cors_rule", "domain"), "value")
    return present(
        {
            "sys_id": text(row, "sys_id"),
            "name": filled(row, "name") or domain or text(row, "sys_id"),
            "is_active": flag(row, "active"),
            "domain": domain,
            "api": filled(columns.cell(row, "sys_cors_rule", "api"), "value"),
            "has_wildcard": None if domain is None else "*" in domain,
            "is_insecure": None if domain is None else domain.strip().lower().startswith("http:"),
        }
    )


def script_processor(row: Mapping[str, Any]) -> Row:
    """A row of `script_processors`."""
    return present(
        {
            "sys_id": text(row, "sys_id"),
            "name": filled(row, "name") or text(row, "sys_id"),
            "is_active": flag(row, "active"),
            "checks_csrf": flag(row, "csrf"),
        }
    )
