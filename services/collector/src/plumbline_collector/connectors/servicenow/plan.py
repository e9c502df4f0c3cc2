"""Which selections make which datasets, and how many calls that takes. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from plumbline_contracts.datasets import datasets as schemas_of
from plumbline_contracts.events import Product

from plumbline_collector.connectors.servicenow import tables
from plumbline_collector.connectors.servicenow.paging import PAGE_ROWS
from plumbline_collector.connectors.servicenow.people import (
    BUILT_IN_ACCOUNTS,
    MFA_FIELDS,
    PRIVILEGED_ROLES,
    ROLE_FIELDS,
)
from plumbline_collector.connectors.servicenow.queries import Selection

SCHEMAS = schemas_of(Product.SERVICENOW)
EXPLICIT_ROLES = "com.glide.explicit_roles"
DUAL_ROLE_USERS = 3_000
"""How many holders of the rarer one of the roles snc_internal and snc_external are looked up in the other."""
CALLS_PER_LOOK, CALLS_OF_FIRST_LOOK = 2, 3
"""Of the change watch: see `watch`."""


@dataclass(frozen=True)
class Read:
    """One selection that a dataset is made of. `feeds` names the fields that need it; empty: the whole dataset does."""

    selection: Selection
    feeds: tuple[str, ...] = ()


def _reads(*selections: Selection) -> tuple[Read, ...]:
    return tuple(map(Read, selections))


READS: dict[str, tuple[Read, ...]] = {
    "audited_tables": _reads(tables.DICTIONARY_COLUMNS, tables.AUDITS),
    "system_properties": _reads(*tables.properties()),
    "instance": (),
    "plugins": _reads(tables.PLUGINS),
    "store_apps": _reads(tables.STORE_APPS),
    "script_actions": _reads(tables.SCRIPT_ACTION_ROWS),
    "password_stores": (
        Read(tables.CREDENTIAL_STORES),
        Read(tables.PASSWORD_POLICIES, ("policy", "minimum_length", "maximum_length")),
    ),
    "mfa_criteria": _reads(tables.MFA_CRITERIA),
    "identity_providers": _reads(tables.IDENTITY_PROVIDERS),
    "elevated_roles": _reads(tables.ELEVATED_ROLES),
    "basic_auth_exceptions": _reads(tables.BASIC_AUTH_EXCEPTIONS),
    "users": (
        Read(tables.privileged_assignments(PRIVILEGED_ROLES), tuple(ROLE_FIELDS)),
        Read(tables.FACTORS, tuple(MFA_FIELDS)),
        Read(tables.USERS),
    ),
    "inactive_privileged_users": (),
    "built_in_accounts": (
        Read(tables.BUILT_IN),
        Read(replace(tables.roles_of(BUILT_IN_ACCOUNTS, "built_in"), is_proven=True), ("roles", "has_roles")),
    ),
    "internal_external_users": _reads(tables.holders("snc_external"), tables.holders("snc_internal")),
    "role_containments": _reads(tables.ROLE_CONTAINMENTS),
    "privileged_groups": (Read(tables.GROUP_ROLES), Read(tables.members(("",)), ("member_count",))),
    "record_counts": (
        Read(tables.EXCLUDED_PASSWORDS, ("excluded_passwords",)),
        Read(tables.JAVA_MEMBERS, ("allowed_java_members",)),
        Read(tables.JAVA_PACKAGES, ("allowed_java_packages",)),
        Read(tables.INACTIVE_USERS, ("inactive_users",)),
        Read(tables.UNLOCKED_USERS, ("inactive_unlocked_users",)),
    ),
    "empty_acls": _reads(tables.ROLES_OF_EMPTY_ACLS, tables.EMPTY_ACLS),
    "public_acls": _reads(tables.PUBLIC_ACLS),
    "public_pages": _reads(tables.PUBLIC_PAGES),
    "public_portal_pages": _reads(tables.PUBLIC_PORTAL_PAGES),
    "public_portal_widgets": _reads(tables.PUBLIC_PORTAL_WIDGETS),
    "client_callable_scripts": (Read(tables.SCRIPT_ACLS, ("has_acl",)), Read(tables.CALLABLE_SCRIPTS)),
    "custom_tables": (Read(tables.CUSTOM_TABLES), Read(tables.table_acls(("",)), ("has_acl",))),
    "knowledge_bases": (
        Read(tables.READ_CRITERIA, ("read_criteria_count", "has_read_criteria")),
        Read(tables.CONTRIBUTE_CRITERIA, ("contribute_criteria_count", "has_contribute_criteria")),
        Read(tables.KNOWLEDGE_BASES),
    ),
    "rest_resources": (Read(tables.REST_SERVICES, ("service", "service_has_acl")), Read(tables.REST_RESOURCES)),
    "oauth_clients": _reads(tables.OAUTH_CLIENTS),
    "api_policies": _reads(tables.API_POLICIES),
    "rate_limits": _reads(tables.RATE_LIMITS),
    "cors_rules": _reads(tables.CORS_RULES),
    "script_processors": _reads(tables.SCRIPT_PROCESSORS),
    "ip_access_rules": _reads(tables.IP_RULES),
    "ldap_servers": (Read(tables.LDAP_SERVERS), Read(tables.LDAP_URLS)),
    "certificates": _reads(tables.CERTIFICATES),
    "mid_servers": (
        Read(tables.MID_SERVERS),
        Read(tables.MID_PROPERTIES, ("logs_commands",)),
        Read(
            replace(tables.roles_of(("",), "mid"), is_proven=True),
            ("user_roles", "has_privileged_user", "has_only_mid_server_role"),
        ),
    ),
}
"""Every dataset, in the order in which they are read, with what it is made of."""


def _pages(rows: int) -> int:
    return max(1, math.ceil(rows / PAGE_ROWS))


def _calls(selection: Selection, rows: Mapping[str, int]) -> int:
    """The pages of a selection, and one more call that proves that there is nothing to read."""
    is_proven = not selection.where or selection.is_never_empty or selection.is_proven
    proof = 0 if is_proven or rows.get(selection.key, 1) else 1
    return _pages(rows.get(selection.key, 1)) + proof


def calls_by_dataset(rows: Mapping[str, int]) -> dict[str, int]:
    """How many calls a full collection makes for each dataset of an instance without faults. Exact.

    `rows` says how many rows there are, by table; a second selection of a table has its name behind it, such as
    `sys_user_has_role/snc_external` (`Selection.key`). What is not named fits on one page.
    """
    found = {name: sum(_calls(read.selection, rows) for read in reads) for name, reads in READS.items()}
    found["system_properties"] = len(READS["system_properties"]) + 1
    found["record_counts"] = sum(_calls(read.selection, {}) + _proof(read.selection, rows) for read in _counted())
    found["internal_external_users"] = _dual_role_calls(rows)
    found["privileged_groups"] = _chunked(tables.GROUP_ROLES, "sys_user_grmember", tables.IDS_PER_QUERY, rows)
    found["custom_tables"] = _chunked(tables.CUSTOM_TABLES, "sys_security_acl/tables", tables.TABLES_PER_QUERY, rows)
    for name, first in (("built_in_accounts", tables.BUILT_IN), ("ldap_servers", tables.LDAP_SERVERS)):
        if not rows.get(first.key, 1):
            found[name] = _calls(first, rows)
    if not rows.get(tables.MID_SERVERS.key, 1):
        found["mid_servers"] = 1
    return found


def _counted() -> tuple[Read, ...]:
    return READS["record_counts"]


def _proof(selection: Selection, rows: Mapping[str, int]) -> int:
    return 1 if selection.where and not rows.get(selection.key, 1) else 0


def _chunked(selection: Selection, looked_up: str, most: int, rows: Mapping[str, int]) -> int:
    """A selection, and what is looked up by its rows, so many in one query."""
    found = rows.get(selection.key, 1)
    chunks = math.ceil(found / most)
    proofs = 0 if rows.get(looked_up, 1) else chunks
    more = max(chunks, math.ceil(rows.get(looked_up, 1) / PAGE_ROWS)) if chunks else 0
    return _calls(selection, rows) + more + proofs


def _dual_role_calls(rows: Mapping[str, int]) -> int:
    """Two counts, the holders of the rarer role, and the look-ups of these among the other's."""
    held = [rows.get(f"sys_user_has_role/{role}", 1) for role in ("snc_external", "snc_internal")]
    proofs = sum(1 for count in held if not count)
    if not min(held):
        return 2 + proofs
    looked_up = min(*held, DUAL_ROLE_USERS)
    return 2 + proofs + _pages(min(min(held), DUAL_ROLE_USERS + 1)) + math.ceil(looked_up / tables.IDS_PER_QUERY)


def typical_rows(users: int) -> dict[str, int]:
    """What an instance with so many active users is likely to have, for a forecast. Keys as in `calls_by_dataset`."""
    users = max(1, users)
    return {
        "sys_user": users,
        "user_multifactor_auth": users,
        "sys_user_has_role": min(max(10, users // 50), 5_000),
        "sys_user_has_role/snc_external": 0,
        "sys_user_has_role/snc_internal": users,
        "sys_ws_operation": 1_500,
        "sys_security_acl/empty": 5_000,
        "sys_security_acl_role/empty": 5_000,
        "sys_security_acl/scripts": 1_000,
        "sys_script_include": 1_000,
        "v_plugin": 600,
        "sys_db_object": 300,
    }
