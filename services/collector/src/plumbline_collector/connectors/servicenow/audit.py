"""Who changed what: entries out of sys_properties and sys_audit. Pure. Secrets never enter one."""

from collections.abc import Iterable, Mapping
from typing import Any

from plumbline_contracts.events import AuditEntry

from plumbline_collector.connectors.servicenow.values import filled, moment, text

LONGEST_VALUE = 1_000
MOST_ENTRIES = 50
_SECRET_WORDS = ("password", "passwd", "secret", "token", "key", "credential")
SECRET_TYPES = ("password", "password2")


def property_change(row: Mapping[str, Any]) -> AuditEntry | None:
    """The last change of a sys_properties row; None when its date is withheld."""
    at, name = moment(text(row, "sys_updated_on")), filled(row, "name")
    if at is None or name is None:
        return None
    actor = filled(row, "sys_updated_by") or "unknown"
    return AuditEntry(at=at, actor=actor, action=name, section="sys_properties", subject=name)


def audited_change(row: Mapping[str, Any], properties: Mapping[str, tuple[str, bool]]) -> AuditEntry | None:
    """A sys_audit row; None when it says not when, or of what.

    `properties` says name and whether it is secret of properties by sys_id; the values of any other are left out.
    """
    at, table = moment(text(row, "sys_created_on")), filled(row, "tablename")
    if at is None or table is None:
        return None
    column, record = filled(row, "fieldname") or "record", filled(row, "documentkey")
    name, is_hidden = properties.get(record or "", ("", table == "sys_properties"))
    is_secret = is_hidden or holds_secret(column)
    return AuditEntry(
        at=at,
        actor=filled(row, "user") or "unknown",
        action=f"{table}.{column}",
        section=table,
        subject=name or record,
        old_value=None if is_secret else _short(row, "oldvalue"),
        new_value=None if is_secret else _short(row, "newvalue"),
    )


def holds_secret(name: str, kind: str = "") -> bool:
    """Whether a name, or the type of a property, says that its value is secret."""
    return kind.lower() in SECRET_TYPES or any(word in name.lower() for word in _SECRET_WORDS)


def _short(row: Mapping[str, Any], name: str) -> str | None:
    value = text(row, name)
    return None if value is None else value[:LONGEST_VALUE]


def newest(entries: Iterable[AuditEntry]) -> list[AuditEntry]:
    """The newest entries, each change once, newest first."""
    ordered = sorted(entries, key=lambda entry: (entry.at, entry.old_value is not None), reverse=True)
    return ordered[:MOST_ENTRIES]
