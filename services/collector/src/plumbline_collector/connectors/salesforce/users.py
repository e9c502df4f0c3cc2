"""Users with all that is known of them, and what the joins for that must remember. Pure.

A hundred thousand users are remembered as one number each: bits for permissions, verification methods and login state.
Numbers that are equal are one object, so that a user costs a dictionary entry and nothing more.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from plumbline_contracts.events import Row

from plumbline_collector.connectors.salesforce import cells, permissions
from plumbline_collector.connectors.salesforce.cells import text

Record = Mapping[str, Any]
METHODS = {
    "HasSecurityKey": "security_key",
    "HasU2F": "u2f",
    "HasBuiltInAuthenticator": "built_in",
    "HasSalesforceAuthenticator": "salesforce_authenticator",
    "HasTotp": "totp",
}
PHISHING_RESISTANT = frozenset({"security_key", "u2f", "built_in"})
GUEST = "Guest"
EXTERNAL_TYPES = frozenset(
    {
        "PowerPartner", "PowerCustomerSuccess", "CustomerSuccess", "CSPLitePortal", "CspLitePortal", "Partner",
        "CustomerPortalUser", "CustomerPortalManager",
    }
)  # fmt: skip
_METHODS_AT, _STATE_AT = 64, 72
_FROZEN, _LOCKED, _VERIFIED, _GRANTED = (1 << _STATE_AT + bit for bit in range(4))
_PERMISSIONS = (1 << _METHODS_AT) - 1
_INTEGRATION_LICENCE = re.compile(r"integration|(?<![a-z])api(?![a-z])", re.IGNORECASE)

MFA_FIELDS = ["mfa_methods", "has_mfa_method", "has_phishing_resistant_mfa"]
LOGIN_FIELDS = ["is_frozen", "is_password_locked"]
PERMISSION_FIELDS = [
    "privileged_permissions", "is_privileged", "has_modify_all_data", "has_view_all_data", "permissions",
    "is_api_only", "is_super_admin", "has_identity_permission", "must_use_sso",
]  # fmt: skip
PROFILE_FIELDS = ["is_system_administrator", "has_custom_profile"]
VERIFICATION_FIELDS = ["has_used_phishing_resistant_mfa"]


@dataclass(slots=True)
class Container:
    """A permission set, also one that mirrors a profile or a group: what it grants and to how many."""

    record_id: str
    mask: int
    is_custom: bool
    profile_id: str
    active_users: int = 0


class Containers:
    """All permission sets of an org, by id and by the profile that they mirror."""

    def __init__(self) -> None:
        self._by_id: dict[str, Container] = {}
        self._by_profile: dict[str, Container] = {}
        self.has_standard_profiles = False
        """Whether some profile is marked as Salesforce's own. Every org has some: without one the mark says nothing."""

    def add(self, record: Record, mask: int) -> None:
        """One PermissionSet record with its set of permissions."""
        found = Container(
            text(record["Id"]), mask, cells.truth(record.get("IsCustom")) is not False, text(record.get("ProfileId"))
        )
        self._by_id[found.record_id] = found
        if found.profile_id and cells.truth(record.get("IsOwnedByProfile")):
            self._by_profile[found.profile_id] = found
            self.has_standard_profiles |= not found.is_custom

    def get(self, record_id: str) -> Container | None:
        """The permission set with this id."""
        return self._by_id.get(record_id)

    def of_profile(self, profile_id: str) -> Container | None:
        """The permission set that mirrors a profile."""
        return self._by_profile.get(profile_id)

    def privileged_profiles(self) -> list[str]:
        """Profiles with active users and a privileged permission, those with the most users first."""
        found = [each for each in self._by_profile.values() if each.active_users and each.mask & permissions.PRIVILEGED]
        return [each.profile_id for each in sorted(found, key=lambda each: (-each.active_users, each.profile_id))]


class KnownOfUsers:
    """What the joins remember of users: a number by id, never rows. A field is made only of what was read."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}
        self._same: dict[int, int] = {}
        self.unresolved = 0
        self.guest_sets: set[str] | None = set()
        """Ids of permission sets that guests hold beside their profile; None where the org does not say who is one."""
        self.has_logins = self.has_permissions = self.has_methods = self.has_verifications = True
        self.containers: Containers | None = Containers()

    def _add(self, user_id: str, bits: int) -> None:
        key = _key(user_id)
        known = self._known.get(key, 0)
        merged = known | bits
        if merged != known:
            self._known[key] = self._same.setdefault(merged, merged)

    def add_login(self, record: Record) -> None:
        """One UserLogin row of a user who is frozen or locked out."""
        frozen = _FROZEN if record["IsFrozen"] is True else 0
        self._add(record["UserId"], frozen | (_LOCKED if record.get("IsPasswordLocked") is True else 0))

    def add_grant(self, record: Record, started_at: datetime) -> None:
        """One PermissionSetAssignment: what this path grants, unless it has expired."""
        ends = record.get("ExpirationDate")
        if ends and (end := cells.moment(ends)) is not None and end <= started_at:
            return
        container = self.containers.get(record["PermissionSetId"]) if self.containers else None
        if container is None:
            self.unresolved += 1
            return
        container.active_users += 1
        self._add(record["AssigneeId"], container.mask | _GRANTED)
        if not container.profile_id:
            self._add_guest_set(record, container.record_id)

    def _add_guest_set(self, record: Record, container_id: str) -> None:
        user_type = text((record.get("Assignee") or {}).get("UserType"))
        if not user_type:
            self.guest_sets = None
        elif user_type == GUEST and self.guest_sets is not None:
            self.guest_sets.add(container_id)

    def add_methods(self, record: Record) -> None:
        """One TwoFactorMethodsInfo row."""
        mask = sum(1 << bit for bit, name in enumerate(METHODS) if record.get(name) is True)
        if mask:
            self._add(record["UserId"], mask << _METHODS_AT)

    def add_verification(self, user_id: str) -> None:
        """A user who proved the identity with a phishing-resistant method."""
        self._add(user_id, _VERIFIED)

    def bits_of(self, user_id: str) -> int:
        """All that is remembered of a user."""
        return self._known.get(_key(user_id), 0)

    def permissions_of(self, user_id: str, profile_id: str) -> int | None:
        """The permissions of a user, the profile's included. None when they are not known.

        A profile's permission set is assigned to everybody who has the profile, so a user with a profile and without
        any assignment is one whose assignments are hidden.
        """
        bits = self.bits_of(user_id)
        if not self.has_permissions or (profile_id and not bits & _GRANTED):
            return None
        profile = self.containers.of_profile(profile_id) if self.containers else None
        return bits & _PERMISSIONS | (profile.mask if profile else 0)

    def privileged_users(self) -> Iterator[str]:
        """The ids (15 characters) of users with a privileged permission."""
        for key, bits in self._known.items():
            if bits & permissions.PRIVILEGED:
                yield _id_of(key)


def _key(user_id: str) -> int:
    """An id as a number: its 15 characters without the object's prefix."""
    return int.from_bytes(user_id[3:15].encode("ascii"), "big")


def _id_of(key: int) -> str:
    return "005" + key.to_bytes(12, "big").decode("ascii")


def user(record: Record, known: KnownOfUsers, started_at: datetime) -> Row:
    """The fields of `users` beyond its copied columns. Ages are whole days at `started_at`.

    A user is an integration user when the profile's licence is an API-only one (its key names Integration or API), or
    when some path grants *API Only User*.
    """
    bits = known.bits_of(record["Id"])
    row: Row = {
        **_kind(text(record.get("UserType"))),
        **_ages(record, started_at),
        **_logins_and_proofs(bits, known),
        **_profile(record, known),
    }
    if "FederationIdentifier" in record:
        row["is_sso_bound"] = bool(str(record["FederationIdentifier"] or "").strip())
    held = known.permissions_of(record["Id"], text(record.get("ProfileId")))
    if held is not None:
        row |= _permissions(held)
    if _INTEGRATION_LICENCE.search(text(row_licence(record))) or row.get("is_api_only") is True:
        row["is_integration"] = True
    elif held is not None:
        row["is_integration"] = False
    return row


def _kind(user_type: str) -> Row:
    """What kind of user it is; nothing where the org does not say."""
    if not user_type:
        return {}
    return {
        "is_standard": user_type == "Standard",
        "is_guest": user_type == GUEST,
        "is_external": user_type in EXTERNAL_TYPES,
    }


def row_licence(record: Record) -> Any:  # noqa: ANN401 - a cell
    """The licence definition key of the user's profile; None when there is none."""
    try:
        return cells.at_path(record, "Profile.UserLicense.LicenseDefinitionKey")
    except LookupError:
        return None


def _ages(record: Record, started_at: datetime) -> Row:
    created, last = cells.days_since(record.get("CreatedDate"), started_at), record.get("LastLoginDate")
    row: Row = {}
    if "LastLoginDate" in record:
        row["has_logged_in"] = bool(last)
    if created is not None:
        row["age_days"] = created
    idle = cells.days_since(last, started_at) if last else created
    if idle is not None and "LastLoginDate" in record:
        row["idle_days"] = idle
    if (password := cells.days_since(record.get("LastPasswordChangeDate"), started_at)) is not None:
        row["password_age_days"] = password
    return row


def _logins_and_proofs(bits: int, known: KnownOfUsers) -> Row:
    row: Row = {}
    if known.has_logins:
        row |= {"is_frozen": bool(bits & _FROZEN), "is_password_locked": bool(bits & _LOCKED)}
    if known.has_methods:
        row |= _methods(bits >> _METHODS_AT & (1 << len(METHODS)) - 1)
    if known.has_verifications and known.has_permissions and bits & permissions.PRIVILEGED:
        row["has_used_phishing_resistant_mfa"] = bool(bits & _VERIFIED)
    return row


def _profile(record: Record, known: KnownOfUsers) -> Row:
    """What the profile's own permission set says of the profile, in any language."""
    profile = known.containers.of_profile(text(record.get("ProfileId"))) if known.containers else None
    if profile is None or known.containers is None or not known.containers.has_standard_profiles:
        return {}
    holds_all = profile.mask & permissions.ADMINISTRATOR == permissions.ADMINISTRATOR
    return {"is_system_administrator": holds_all and not profile.is_custom, "has_custom_profile": profile.is_custom}


@lru_cache(maxsize=4096)
def _methods(mask: int) -> Row:
    """The fields that follow from a set of methods. Shared between users: nobody may change it."""
    held = [name for bit, name in enumerate(METHODS.values()) if mask & 1 << bit]
    return {
        "mfa_methods": list(held),
        "has_mfa_method": bool(held),
        "has_phishing_resistant_mfa": not PHISHING_RESISTANT.isdisjoint(held),
    }


@lru_cache(maxsize=4096)
def _permissions(mask: int) -> Row:
    """The fields that follow from a set of permissions. Shared between users: nobody may change it."""
    held = permissions.names_of(mask)
    return {
        "permissions": list(held),
        "privileged_permissions": [name for name in permissions.PRIVILEGES if name in held],
        "is_privileged": bool(mask & permissions.PRIVILEGED),
        "has_modify_all_data": "ModifyAllData" in held,
        "has_view_all_data": "ViewAllData" in held,
        "is_api_only": bool(mask & permissions.API_USER),
        "is_super_admin": mask & permissions.SUPER == permissions.SUPER,
        "has_identity_permission": bool(mask & permissions.TAKEOVER),
        "must_use_sso": bool(mask & permissions.SSO),
    }
