"""Settings of an instance as typed rows: release, properties, plugins, apps, password policies, audits. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from plumbline_contracts.events import Row

from plumbline_collector.connectors.servicenow import releases
from plumbline_collector.connectors.servicenow.columns import Columns
from plumbline_collector.connectors.servicenow.values import filled, flag, items, number, present, text, timestamp

SHORTEST_BY_DEFAULT = 8
LONGEST_BY_DEFAULT = 100


def instance(properties: Mapping[str, str], started_at: datetime) -> Row:
    """The `instance` document out of the build properties."""
    said = properties.get("glide.war") or properties.get("glide.buildtag.last") or ""
    builds = [releases.build(properties.get(name)) for name in ("glide.war", "glide.buildtag.last")]
    known = [found for found in builds if found is not None]
    if not known:
        return present({"build": said or None})
    dated = [found.patched_at for found in known if found.patched_at]
    return present(
        {
            "build": said,
            "family": known[0].family,
            "family_rank": known[0].rank,
            "is_known_family": known[0].rank is not None,
            "patch": next((found.patch for found in known if found.patch is not None), None),
            "hotfix": next((found.hotfix for found in known if found.hotfix is not None), None),
            "patched_at": dated[0].isoformat().replace("+00:00", "Z") if dated else None,
            "patch_age_days": max(0, (started_at - dated[0]).days) if dated else None,
        }
    )


def system_properties(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Rows of `system_properties`; all rows of a name must be among `rows`, so that each says whether it has twins.

    A value that was withheld is left out, an empty one stays.
    """
    listed = list(rows)
    counts = Counter(text(row, "name") for row in listed)
    values: dict[str | None, set[str | None]] = {}
    for row in listed:
        values.setdefault(text(row, "name"), set()).add(text(row, "value"))
    return [_property(row, counts[text(row, "name")], len(values[text(row, "name")]) > 1) for row in listed]


def _property(row: Mapping[str, Any], twins: int, differ: bool) -> Row:
    return present(
        {
            "sys_id": text(row, "sys_id"),
            "name": text(row, "name"),
            "value": text(row, "value"),
            "type": text(row, "type"),
            "scope": text(row, "sys_scope"),
            "is_private": flag(row, "private"),
            "read_roles": items(row, "read_roles"),
            "write_roles": items(row, "write_roles"),
            "updated_by": text(row, "sys_updated_by"),
            "updated_at": timestamp(row, "sys_updated_on"),
            "row_count": twins,
            "has_conflicting_values": differ,
        }
    )


def plugin(row: Mapping[str, Any]) -> Row:
    """A row of `plugins`, from v_plugin or sys_plugins."""
    version, available = text(row, "version"), text(row, "available_version")
    return present(
        {
            "id": filled(row, "id") or filled(row, "source"),
            "name": text(row, "name"),
            "version": version,
            "is_active": {"active": True, "inactive": False}.get(
                (filled(row, "active") or "").lower(), flag(row, "active")
            ),
            "available_version": available,
            "has_update": None if available is None else is_newer(available, version or ""),
        }
    )


def is_newer(available: str, installed: str) -> bool:
    """Whether a version that is offered is another than the installed one; none offered means up to date."""
    return bool(available.strip()) and available.strip() != installed.strip()


def script_action(row: Mapping[str, Any]) -> Row:
    """A row of `script_actions`."""
    return present({"sys_id": text(row, "sys_id"), "name": text(row, "name"), "is_active": flag(row, "active")})


def store_app(row: Mapping[str, Any], columns: Columns) -> Row:
    """A row of `store_apps`. The version on offer stands in a column that sys_dictionary has to name."""
    version = text(row, "version")
    latest = text(columns.cell(row, "sys_store_app", "latest_version"), "value")
    return present(
        {
            "sys_id": text(row, "sys_id"),
            "scope": text(row, "scope"),
            "version": version,
            "latest_version": latest,
            "has_update": None if latest is None else is_newer(latest, version or ""),
        }
    )


def audited_tables(wanted: Iterable[str], audits: Mapping[str, bool | None]) -> list[Row]:
    """Rows of `audited_tables`: every wanted table. One without a row of its own in sys_dictionary is not audited."""
    return [present({"name": table, "is_audited": audits.get(table, False)}) for table in wanted]


def password_length(row: Mapping[str, Any], columns: Columns) -> tuple[int | None, int | None]:
    """Shortest and longest password of a password_policy row; what is empty has the platform's default.

    Both are None where sys_dictionary does not name the columns.
    """
    cells = [columns.cell(row, "password_policy", meaning) for meaning in ("minimum", "maximum")]
    found = [_length(cell, default) for cell, default in zip(cells, _LENGTHS, strict=True)]
    return found[0], found[1]


_LENGTHS = (SHORTEST_BY_DEFAULT, LONGEST_BY_DEFAULT)


def _length(cell: Mapping[str, Any], default: int) -> int | None:
    return default if text(cell, "value") == "" else number(cell, "value")


Policies = Mapping[str, tuple[str | None, int | None, int | None]]
"""sys_id of a password_policy to its name, shortest and longest password."""


def credential_store(row: Mapping[str, Any], policies: Policies | None, columns: Columns) -> Row:
    """A row of `password_stores`: a credential store and the policy that holds for it. `policies` is None if unread."""
    policy = filled(row, "password_policy")
    found: Row = {
        "sys_id": text(row, "sys_id"),
        "name": text(row, "name"),
        "is_policy_enabled": flag(columns.cell(row, "pwd_cred_store", "is_policy_enabled"), "value"),
        "has_policy": policy is not None if "password_policy" in row else None,
    }
    if policies is not None and policy is not None:
        name, shortest, longest = policies.get(policy, (None, None, None))
        found |= {"policy": name, "minimum_length": shortest, "maximum_length": longest}
    elif policies is not None and policy is None:
        found |= {"minimum_length": SHORTEST_BY_DEFAULT, "maximum_length": LONGEST_BY_DEFAULT}
    return present(found)
