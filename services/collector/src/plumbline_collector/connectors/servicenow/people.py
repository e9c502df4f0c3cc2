"""Users, roles and groups as typed rows, joined by ids. Pure.

Sources: sys_user, sys_user_has_role, user_multifactor_auth, sys_user_basic_auth_exception, sys_user_role_contains.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from plumbline_contracts.events import Row

from plumbline_collector.connectors.servicenow.identifiers import Key, key
from plumbline_collector.connectors.servicenow.values import (
    days_between,
    days_since,
    filled,
    flag,
    items,
    moment,
    number,
    present,
    text,
    timestamp,
)

PRIVILEGED_ROLES = ("admin", "security_admin", "user_admin", "oauth_admin", "impersonator", "web_service_admin")
BASIC_AUTH_ROLE, MID_SERVER_ROLE = "snc_basic_auth_api_access", "mid_server"
ROLE_FIELDS = ["privileged_roles", "is_privileged", "is_admin", "holds_basic_auth_role", "is_mid_server"]
ELEVATED_FIELDS = ["elevated_roles", "holds_elevated_role"]
MFA_FIELDS = ["has_mfa_method"]
EXCEPTION_FIELDS = ["has_basic_auth_exception", "is_machine_account"]
MOST_REMEMBERED = 4096
"""How many sets of roles are remembered with the fields that follow from them; an instance has far fewer."""
DEMO_ACCOUNTS = ("abel.tuter", "beth.anglin", "david.loo", "fred.luddy", "itil", "employee")
BUILT_IN_ACCOUNTS = ("admin", "guest", "soap.guest", *DEMO_ACCOUNTS)


class KnownOfUsers:
    """What the joins remember of users: small numbers by id, never rows. What could not be read is None."""

    def __init__(self, elevated_roles: Iterable[str] = ()) -> None:
        self.elevated_roles = tuple(dict.fromkeys(elevated_roles))
        self.role_names = tuple(
            dict.fromkeys((*PRIVILEGED_ROLES, BASIC_AUTH_ROLE, MID_SERVER_ROLE, *self.elevated_roles))
        )
        self._fields: dict[int, Row] = {}
        self._bits = {role: 1 << position for position, role in enumerate(self.role_names)}
        self.roles: dict[Key, int] | None = {}
        self.factors: set[Key] | None = set()
        self.exceptions: set[Key] | None = set()
        self.inactive: dict[str, tuple[str | None, int]] = {}
        self.unmet: dict[str, None] = {}
        """Active users with a privileged role whose sys_user row was not seen yet."""
        self.shows_activity = False
        self.nameless_roles = self.nameless_factors = 0
        """Rows whose user is empty: hidden, or left over from a user who was deleted."""

    def add_role(self, row: Mapping[str, Any]) -> None:
        """One sys_user_has_role row of a role in `role_names`."""
        user, role = filled(row, "user"), filled(row, "role.name")
        if user is None and text(row, "user") is not None:
            self.nameless_roles += 1
            return
        if user is None or role is None:
            raise KeyError("user, role.name")
        bit = self._bits.get(role, 0)
        if self.roles is not None and bit:
            identity = key(user)
            self.roles[identity] = self.roles.get(identity, 0) | bit
        active = flag(row, "user.active")
        self.shows_activity = self.shows_activity or active is not None
        if active is True and role in PRIVILEGED_ROLES:
            self.unmet[user.lower()] = None
        if active is False and role in PRIVILEGED_ROLES:
            self.inactive[user] = (text(row, "user.user_name"), self.inactive.get(user, (None, 0))[1] | bit)

    @property
    def has_administrators(self) -> bool:
        """Whether any row was seen that gives the role admin; every instance has some."""
        return any(mask & self._bits["admin"] for mask in (self.roles or {}).values())

    def holders(self, roles: Iterable[str]) -> set[Key]:
        """Who holds one of these roles."""
        wanted = sum(self._bits[role] for role in roles)
        return {user for user, mask in (self.roles or {}).items() if mask & wanted}

    def held(self, mask: int, among: Iterable[str]) -> list[str]:
        """The roles of a mask, of those that are asked for."""
        return [role for role in among if mask & self._bits[role]]

    def fields_of_roles(self, user: Key) -> Row:
        """What a row of `users` says of the user's roles; empty when roles could not be read.

        Users with the same roles share it: nobody may change it.
        """
        if self.roles is None:
            return {}
        mask = self.roles.get(user, 0)
        found = self._fields.get(mask)
        if found is None:
            found = self._fields_of(mask)
            if len(self._fields) < MOST_REMEMBERED:
                self._fields[mask] = found
        return found

    def _fields_of(self, mask: int) -> Row:
        held, elevated = self.held(mask, PRIVILEGED_ROLES), self.held(mask, self.elevated_roles)
        found: Row = {
            "privileged_roles": list(held),
            "is_privileged": bool(held),
            "is_admin": "admin" in held,
            "holds_basic_auth_role": bool(self.held(mask, [BASIC_AUTH_ROLE])),
            "is_mid_server": bool(self.held(mask, [MID_SERVER_ROLE])),
        }
        if self.elevated_roles:
            found |= {"elevated_roles": list(elevated), "holds_elevated_role": bool(elevated)}
        return found

    def add_factor(self, row: Mapping[str, Any]) -> None:
        """One user_multifactor_auth row."""
        user, is_validated = filled(row, "user"), flag(row, "validated")
        if user is None and text(row, "user") is not None:
            self.nameless_factors += 1
            return
        if user is None or is_validated is None:
            raise KeyError("user, validated")
        if self.factors is not None and is_validated:
            self.factors.add(key(user))

    def add_exception(self, row: Mapping[str, Any]) -> None:
        """One sys_user_basic_auth_exception row."""
        user = filled(row, "user")
        if user is not None and self.exceptions is not None:
            self.exceptions.add(key(user))


def _any(*signs: bool | None) -> bool | None:
    """Whether any sign is true; None when none is and one is hidden."""
    if True in signs:
        return True
    return None if None in signs else False


def user(row: Mapping[str, Any], known: KnownOfUsers, started_at: datetime) -> Row:
    """A row of `users`, with everything that is known of its subject. Ages are whole days at `started_at`."""
    identity = key(text(row, "sys_id") or "")
    kind = text(row, "identity_type")
    is_machine = kind is not None and kind.strip().lower() == "machine"
    excepted = None if known.exceptions is None else identity in known.exceptions
    return present(
        {
            **_account(row, started_at),
            "is_sso_bound": _is_filled(row, "sso_source"),
            "is_directory_bound": _is_filled(row, "source"),
            "has_federated_id": _is_filled(row, "federated_id"),
            "requires_mfa": flag(row, "enable_multifactor_authn"),
            "needs_password_reset": flag(row, "password_needs_reset"),
            "failed_attempts": 0 if text(row, "failed_attempts") == "" else number(row, "failed_attempts"),
            "has_mfa_method": None if known.factors is None else identity in known.factors,
            "identity_type": kind,
            **_machine(
                flag(row, "web_service_access_only"), flag(row, "internal_integration_user"), is_machine, excepted
            ),
            **known.fields_of_roles(identity),
        }
    )


def _is_filled(row: Mapping[str, Any], column: str) -> bool | None:
    """Whether the cell holds anything; None when the column is withheld."""
    value = row.get(column)
    if isinstance(value, str):
        return bool(value.strip())
    return False if column in row else None


def _account(row: Mapping[str, Any], started_at: datetime) -> Row:
    said, created = text(row, "last_login_time"), days_since(row, "sys_created_on", started_at)
    last = moment(said)
    has_logged_in = _has_logged_in(said, last)
    return {
        "sys_id": text(row, "sys_id"),
        "user_name": text(row, "user_name"),
        "is_locked_out": flag(row, "locked_out"),
        "has_logged_in": has_logged_in,
        "age_days": created,
        "idle_days": None if has_logged_in is None else (days_between(last, started_at) if has_logged_in else created),
    }


def _has_logged_in(said: str | None, last: datetime | None) -> bool | None:
    """Whether there is a last login; None when the column is withheld, or holds no date."""
    if not said:
        return None if said is None else False
    return True if last else None


@cache
def _machine(web_only: bool | None, internal: bool | None, is_machine: bool, excepted: bool | None) -> Row:
    """What tells machines from people. Shared between users who are alike: nobody may change it."""
    return {
        "is_web_service_only": web_only,
        "is_internal_integration": internal,
        "has_basic_auth_exception": excepted,
        "is_integration": _any(web_only, internal, is_machine),
        "is_machine_account": _any(internal, is_machine, excepted),
    }


def inactive_holders(known: KnownOfUsers) -> list[Row]:
    """Rows of `inactive_privileged_users`: who is not active and holds a privileged role all the same."""
    return [
        present({"sys_id": sys_id, "user_name": name, "privileged_roles": list(known.held(mask, PRIVILEGED_ROLES))})
        for sys_id, (name, mask) in known.inactive.items()
    ]


def built_in_account(row: Mapping[str, Any], roles: Mapping[Key, list[str]] | None, started_at: datetime) -> Row:
    """A row of `built_in_accounts`: an account that every instance, or the vendor's demo data, brings along."""
    name = text(row, "user_name") or ""
    found = _account(row, started_at) | {
        "is_active": flag(row, "active"),
        "is_demo": name.lower() in DEMO_ACCOUNTS,
    }
    if roles is not None:
        held = sorted(set(roles.get(key(text(row, "sys_id") or ""), [])))
        found |= {"roles": list(held), "has_roles": bool(held)}
    return present(found)


def elevated_role(row: Mapping[str, Any]) -> Row:
    """A row of `elevated_roles`."""
    return present(
        {"sys_id": text(row, "sys_id"), "name": text(row, "name"), "assignable_by": text(row, "assignable_by")}
    )


def role_containment(row: Mapping[str, Any]) -> Row:
    """A row of `role_containments`: a role that brings a privileged one along."""
    return present(
        {"sys_id": text(row, "sys_id"), "role": text(row, "role.name"), "contained_role": text(row, "contains.name")}
    )


def privileged_group(sys_id: str, name: str | None, roles: Iterable[str], members: int | None) -> Row:
    """A row of `privileged_groups`."""
    held: list[str] = sorted(set(roles))
    return present({"sys_id": sys_id, "name": name or sys_id, "privileged_roles": list(held), "member_count": members})


def mfa_criterion(row: Mapping[str, Any]) -> Row:
    """A row of `mfa_criteria`."""
    return present({"sys_id": text(row, "sys_id"), "name": text(row, "name"), "is_active": flag(row, "active")})


def basic_auth_exception(row: Mapping[str, Any], started_at: datetime) -> Row:
    """A row of `basic_auth_exceptions`: an account that was seen with basic authentication, and what was decided."""
    return present(
        {
            "sys_id": text(row, "sys_id"),
            "user": text(row, "user"),
            "user_name": filled(row, "user.user_name") or text(row, "user"),
            "decision": text(row, "decision"),
            "is_decided": flag(row, "action_taken"),
            "usage_count": number(row, "usage_count"),
            "sources": items(row, "source"),
            "last_seen_at": timestamp(row, "last_seen"),
            "unseen_days": days_since(row, "last_seen", started_at),
        }
    )


def identity_provider(row: Mapping[str, Any]) -> Row:
    """A row of `identity_providers`."""
    return present(
        {
            "sys_id": text(row, "sys_id"),
            "name": filled(row, "name") or text(row, "sys_id"),
            "is_active": flag(row, "active"),
            "is_default": flag(row, "default"),
            "kind": text(row, "sys_class_name"),
        }
    )
