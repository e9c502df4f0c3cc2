"""ServiceNow's rows as typed dataset rows. Pure. Every value comes as text; dates are UTC.

Source: Table API; sys_user, sys_user_has_role, user_multifactor_auth, sys_properties.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from plumbline_contracts.events import AuditEntry, Row

PRIVILEGED_ROLES = ("admin", "security_admin", "user_admin", "oauth_admin", "impersonator", "web_service_admin")
ROLE_FIELDS = ["privileged_roles", "is_privileged", "is_admin"]
MFA_FIELDS = ["has_mfa_method"]

_FAMILIES = (
    "tokyo", "utah", "vancouver", "washingtondc", "xanadu", "yokohama", "zurich", "australia", "brazil",
)  # fmt: skip
FAMILY_RANKS = {family: rank for rank, family in enumerate(_FAMILIES, start=20)}


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    return value if isinstance(value, str) else None


def _flag(row: Mapping[str, Any], name: str) -> bool | None:
    value = _text(row, name)
    return None if value in (None, "") else value.strip().lower() == "true"


def moment(text: str | None) -> datetime | None:
    """A date of the Table API (`2026-03-12 08:11:02`, UTC); None when empty."""
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) if text else None


def instance(properties: Mapping[str, str]) -> Row:
    """The `instance` document out of the build properties: `glide-zurich-07-01-2025__patch0…` is family zurich."""
    build = properties.get("glide.war") or properties.get("glide.buildtag.last") or ""
    match = re.match(r"glide-([a-z]+)", build)
    row: Row = {"build": build} if build else {}
    if match:
        row["family"] = match.group(1)
        if match.group(1) in FAMILY_RANKS:
            row["family_rank"] = FAMILY_RANKS[match.group(1)]
    return row


def system_property(row: Mapping[str, Any]) -> Row:
    """A row of `system_properties`; a value that was withheld is left out, an empty one stays."""
    found: Row = {"sys_id": _text(row, "sys_id"), "name": _text(row, "name"), "value": _text(row, "value")}
    found |= {"updated_by": _text(row, "sys_updated_by"), "updated_at": _timestamp(_text(row, "sys_updated_on"))}
    return {name: value for name, value in found.items() if value is not None}


def _timestamp(text: str | None) -> str | None:
    at = moment(text)
    return at.isoformat().replace("+00:00", "Z") if at else None


def audit_entry(row: Mapping[str, Any]) -> AuditEntry | None:
    """The last change of a sys_properties row; None when its date is withheld."""
    at, name = moment(_text(row, "sys_updated_on")), _text(row, "name")
    if at is None or name is None:
        return None
    return AuditEntry(at=at, actor=_text(row, "sys_updated_by") or "unknown", action=name, section="sys_properties")


def plugin(row: Mapping[str, Any]) -> Row:
    """A row of `plugins`, from v_plugin or sys_plugins."""
    active = _text(row, "active")
    found: Row = {
        "id": _text(row, "id") or _text(row, "source"),
        "name": _text(row, "name"),
        "version": _text(row, "version"),
        "is_active": None if active is None else active.strip().lower() in ("active", "true"),
    }
    return {name: value for name, value in found.items() if value is not None}


def script_action(row: Mapping[str, Any]) -> Row:
    """A row of `script_actions`."""
    found: Row = {"sys_id": _text(row, "sys_id"), "name": _text(row, "name"), "is_active": _flag(row, "active")}
    return {name: value for name, value in found.items() if value is not None}


class KnownOfUsers:
    """What the joins remember of users: small numbers by sys_id, never rows."""

    def __init__(self) -> None:
        self.roles: dict[str, int] | None = {}
        self.factors: set[str] | None = set()

    def add_role(self, row: Mapping[str, Any]) -> None:
        """One sys_user_has_role row of a privileged role."""
        user, role = _text(row, "user"), _text(row, "role.name")
        if user is None or role is None:
            raise KeyError("user, role.name")
        if self.roles is not None and role in PRIVILEGED_ROLES:
            self.roles[user] = self.roles.get(user, 0) | 1 << PRIVILEGED_ROLES.index(role)

    @property
    def has_administrators(self) -> bool:
        """Whether any row was seen that gives the role admin; every instance has some."""
        return any(mask & 1 << PRIVILEGED_ROLES.index("admin") for mask in (self.roles or {}).values())

    def add_factor(self, row: Mapping[str, Any]) -> None:
        """One user_multifactor_auth row."""
        user, is_validated = _text(row, "user"), _flag(row, "validated")
        if user is None or is_validated is None:
            raise KeyError("user, validated")
        if self.factors is not None and is_validated:
            self.factors.add(user)


def _is_machine(row: Mapping[str, Any]) -> bool | None:
    """Whether any sign says that nobody sits behind the account; None when none does and one is hidden."""
    flags = (_flag(row, "web_service_access_only"), _flag(row, "internal_integration_user"))
    if True in flags or _text(row, "identity_type") == "Machine":
        return True
    return None if None in flags else False


def user(row: Mapping[str, Any], known: KnownOfUsers, started_at: datetime) -> Row:
    """A row of `users`, with everything that is known of its subject. Ages are whole days at `started_at`."""
    sys_id = _text(row, "sys_id") or ""
    created, last = moment(_text(row, "sys_created_on")), moment(_text(row, "last_login_time"))
    found: Row = {
        "sys_id": sys_id,
        "user_name": _text(row, "user_name"),
        "is_locked_out": _flag(row, "locked_out"),
        "is_web_service_only": _flag(row, "web_service_access_only"),
        "is_integration": _is_machine(row),
        "has_logged_in": last is not None if "last_login_time" in row else None,
    }
    if "sso_source" in row:
        found["is_sso_bound"] = bool(_text(row, "sso_source"))
    if created is not None:
        found["age_days"] = max(0, (started_at - created).days)
        found["idle_days"] = max(0, (started_at - (last or created)).days)
    if known.factors is not None:
        found["has_mfa_method"] = sys_id in known.factors
    if known.roles is not None:
        mask = known.roles.get(sys_id, 0)
        held = [role for bit, role in enumerate(PRIVILEGED_ROLES) if mask & 1 << bit]
        found |= {"privileged_roles": list(held), "is_privileged": bool(held), "is_admin": "admin" in held}
    return {name: value for name, value in found.items() if value is not None}
