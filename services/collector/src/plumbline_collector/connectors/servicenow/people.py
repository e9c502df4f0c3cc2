"""Users, roles and groups as typed rows, joined by ids. Pure.

Sources: sys_user, sys_user_has_role, user_multifactor_auth, sys_user_basic_auth_exception, sys_user_role_contains.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from plumbline_contracts.events import Row

from plumbline_collector.connectors.servicenow.identifiers import Key, key
from plumbline_collector.connectors.servicenow.values import (
    days_between,
    days_since,
    filled,
    flag,
    is_filled,
    items,
    meant,
    moment,
    number,
    present,
    text,
    timestamp,
    whole,
)

PRIVILEGED_ROLES = ("admin", "security_admin", "user_admin", "oauth_admin", "impersonator", "web_service_admin")
BASIC_AUTH_ROLE, MID_SERVER_ROLE = "snc_basic_auth_api_access", "mid_server"
ROLE_FIELDS = ["privileged_roles", "is_privileged", "is_admin", "holds_basic_auth_role", "is_mid_server"]
ELEVATED_FIELDS = ["elevated_roles", "holds_elevated_role"]
MFA_FIELDS = ["has_mfa_method"]
EXCEPTION_FIELDS = ["has_basic_auth_exception", "is_machine_account"]
MOST_REMEMBERED = 4096
"""How many kinds of users are remembered with the fields that follow from it; most users are like many others."""
DEMO_ACCOUNTS = ("abel.tuter", "beth.anglin", "david.loo", "fred.luddy", "itil", "employee")
BUILT_IN_ACCOUNTS = ("admin", "guest", "soap.guest", *DEMO_ACCOUNTS)


class KnownOfUsers:
    """What the joins remember of users: small numbers by id, never rows. What could not be read is None."""

    def __init__(self, elevated_roles: Iterable[str] = ()) -> None:
        self.elevated_roles = tuple(dict.fromkeys(elevated_roles))
        self.role_names = tuple(
            dict.fromkeys((*PRIVILEGED_ROLES, BASIC_AUTH_ROLE, MID_SERVER_ROLE, *self.elevated_roles))
        )
        self.signs = lru_cache(MOST_REMEMBERED)(self._signs_of)
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

    def _signs_of(self, mask: int | None, *signs: Any) -> Row:  # noqa: ANN401 - as `_signs` has them
        """What the roles and everything else say of a user. Users who are alike share it: nobody may change it."""
        return _signs(*signs) | ({} if mask is None else self._fields_of(mask))

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


def _any(*signs: bool | None) -> bool | None:
    """Whether any sign is true; None when none is and one is hidden."""
    if True in signs:
        return True
    return None if None in signs else False


ACCOUNT_COLUMNS = ("sys_id", "user_name", "locked_out", "last_login_time", "sys_created_on")
SIGN_COLUMNS = (
    "enable_multifactor_authn",
    "password_needs_reset",
    "failed_attempts",
    "web_service_access_only",
    "internal_integration_user",
    "identity_type",
)
BINDING_COLUMNS = ("sso_source", "source", "federated_id")


def user(row: Mapping[str, str], known: KnownOfUsers, started_at: datetime) -> Row:
    """A row of `users`, with everything that is known of its subject. Ages are whole days at `started_at`."""
    cell = row.get
    identity = key(cell("sys_id", ""))
    found = _account(row, started_at)
    found.update(
        known.signs(
            None if known.roles is None else known.roles.get(identity, 0),
            None if known.factors is None else identity in known.factors,
            None if known.exceptions is None else identity in known.exceptions,
            *map(is_filled, map(cell, BINDING_COLUMNS)),
            *map(cell, SIGN_COLUMNS),
        )
    )
    return found


def _account(row: Mapping[str, str], started_at: datetime) -> Row:
    """What rows of accounts have in common, as far as it is known."""
    sys_id, name, locked, said, created = map(row.get, ACCOUNT_COLUMNS)
    age, last = days_between(moment(created), started_at), moment(said)
    has_logged_in = _has_logged_in(said, last)
    found: Row = {
        "sys_id": sys_id,
        "user_name": name,
        "is_locked_out": meant(locked),
        "has_logged_in": has_logged_in,
        "age_days": age,
        "idle_days": days_between(last, started_at) if has_logged_in else _never_used(has_logged_in, age),
    }
    return present(found) if None in found.values() else found


def _never_used(has_logged_in: bool | None, age_days: int | None) -> int | None:
    """An account without a login is idle since it was made."""
    return age_days if has_logged_in is False else None


def _has_logged_in(said: str | None, last: datetime | None) -> bool | None:
    """Whether there is a last login; None when the column is withheld, or holds no date."""
    if not said:
        return None if said is None else False
    return True if last else None


def _signs(
    has_factor: bool | None,
    is_excepted: bool | None,
    has_sso: bool | None,
    has_directory: bool | None,
    has_federation: bool | None,
    requires_mfa: str | None,
    needs_reset: str | None,
    attempts: str | None,
    web_only: str | None,
    internal: str | None,
    kind: str | None,
) -> Row:
    """What says how a user logs in, and what tells machines from people."""
    is_web_only, is_internal = meant(web_only), meant(internal)
    is_machine = kind is not None and kind.strip().lower() == "machine"
    return present(
        {
            "is_sso_bound": has_sso,
            "is_directory_bound": has_directory,
            "has_federated_id": has_federation,
            "requires_mfa": meant(requires_mfa),
            "needs_password_reset": meant(needs_reset),
            "failed_attempts": 0 if attempts == "" else whole(attempts),
            "has_mfa_method": has_factor,
            "identity_type": kind,
            "is_web_service_only": is_web_only,
            "is_internal_integration": is_internal,
            "has_basic_auth_exception": is_excepted,
            "is_integration": _any(is_web_only, is_internal, is_machine),
            "is_machine_account": _any(is_internal, is_machine, is_excepted),
        }
    )


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
