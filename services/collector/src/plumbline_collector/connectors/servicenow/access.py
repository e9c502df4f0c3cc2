"""What is open to whom, as typed rows: access rules, public pages, scripts, tables, knowledge bases. Pure.

Sources: sys_security_acl(_role), sys_public, sp_page, sp_widget, sys_script_include, sys_db_object, kb_*.
"""

from collections.abc import Collection, Mapping
from typing import Any

from plumbline_contracts.events import Row

from plumbline_collector.connectors.servicenow.identifiers import Key, key
from plumbline_collector.connectors.servicenow.values import filled, flag, present, text

TABLE_ACL = "record"
SCRIPT_ACL = "client_callable_script_include"


def empty_acl(row: Mapping[str, Any]) -> Row:
    """A row of `empty_acls`: an active rule without role, condition, script and security attribute."""
    decision = filled(row, "decision_type")
    return present(
        {
            "sys_id": text(row, "sys_id"),
            "name": text(row, "name"),
            "type": filled(row, "type"),
            "operation": text(row, "operation"),
            "admin_overrides": flag(row, "admin_overrides"),
            "decision_type": decision,
            "denies_unless": decision is not None and "deny" in decision.lower(),
        }
    )


def is_empty_acl(row: Mapping[str, Any], with_roles: Collection[Key]) -> bool:
    """Whether a rule without condition and script asks for nothing else either."""
    return not filled(row, "security_attribute") and key(text(row, "sys_id") or "") not in with_roles


def public_acl(row: Mapping[str, Any]) -> Row:
    """A row of `public_acls`: a rule that the role public fulfils, out of sys_security_acl_role."""
    return present(
        {
            "sys_id": filled(row, "sys_security_acl") or text(row, "sys_id"),
            "name": filled(row, "sys_security_acl.name") or text(row, "sys_security_acl"),
            "type": filled(row, "sys_security_acl.type"),
            "operation": filled(row, "sys_security_acl.operation"),
        }
    )


def public_page(row: Mapping[str, Any]) -> Row:
    """A row of `public_pages`."""
    return present({"sys_id": text(row, "sys_id"), "page": text(row, "page"), "is_active": flag(row, "active")})


def portal_part(row: Mapping[str, Any]) -> Row:
    """A row of `public_portal_pages` or `public_portal_widgets`."""
    sys_id = text(row, "sys_id")
    return present(
        {
            "sys_id": sys_id,
            "id": filled(row, "id") or sys_id,
            "name": filled(row, "name"),
            "is_public": flag(row, "public"),
        }
    )


def script_include(row: Mapping[str, Any], protected: Collection[str] | None) -> Row:
    """A row of `client_callable_scripts`. `protected` holds the names that have an access rule, in lower case."""
    name = text(row, "name") or ""
    api_name = filled(row, "api_name") or name
    has_acl = None if protected is None else bool({name.lower(), api_name.lower()} & set(protected))
    return present(
        {
            "sys_id": text(row, "sys_id"),
            "name": name,
            "api_name": api_name,
            "scope": text(row, "sys_scope"),
            "has_acl": has_acl,
        }
    )


def custom_table(row: Mapping[str, Any], protected: Collection[str] | None) -> Row:
    """A row of `custom_tables`. `protected` holds the names of access rules, in lower case."""
    name = text(row, "name") or ""
    wanted = {name.lower(), f"{name.lower()}.*"}
    has_acl = None if protected is None else bool(wanted & set(protected))
    return present({"sys_id": text(row, "sys_id"), "name": name, "has_acl": has_acl})


def knowledge_base(
    row: Mapping[str, Any], readers: Mapping[Key, int] | None, contributors: Mapping[Key, int] | None
) -> Row:
    """A row of `knowledge_bases`, with how many user criteria say who may read and who may contribute."""
    sys_id = text(row, "sys_id") or ""
    found: Row = {"sys_id": sys_id, "title": filled(row, "title") or sys_id}
    if readers is not None:
        count = readers.get(key(sys_id), 0)
        found |= {"read_criteria_count": count, "has_read_criteria": count > 0}
    if contributors is not None:
        count = contributors.get(key(sys_id), 0)
        found |= {"contribute_criteria_count": count, "has_contribute_criteria": count > 0}
    return present(found)
