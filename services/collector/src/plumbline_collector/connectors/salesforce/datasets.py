"""Salesforce's answers as typed dataset rows. Pure.

Source: Metadata API Developer Guide, SecuritySettings; Object Reference, User, TwoFactorMethodsInfo.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from plumbline_contracts.events import AuditEntry, Row

SESSION_MINUTES = {
    "FifteenMinutes": 15, "ThirtyMinutes": 30, "SixtyMinutes": 60, "NinetyMinutes": 90, "TwoHours": 120,
    "FourHours": 240, "EightHours": 480, "TwelveHours": 720, "TwentyFourHours": 1440,
}  # fmt: skip
EXPIRATION_DAYS = {
    "Never": 0, "ThirtyDays": 30, "SixtyDays": 60, "NinetyDays": 90, "SixMonths": 180, "OneYear": 365,
}  # fmt: skip
LOCKOUT_MINUTES = {"FifteenMinutes": 15, "ThirtyMinutes": 30, "SixtyMinutes": 60, "Forever": 0}
ATTEMPTS = {"NoLimit": 0, "ThreeAttempts": 3, "FiveAttempts": 5, "TenAttempts": 10}

API_ONLY = "ApiUserOnly"
"""The permission of a user who may not log in to the user interface."""
PRIVILEGES = ("ModifyAllData", "ViewAllData", "ManageUsers", "AuthorApex", "CustomizeApplication")
METHODS = {
    "HasSecurityKey": "security_key",
    "HasU2F": "u2f",
    "HasBuiltInAuthenticator": "built_in",
    "HasSalesforceAuthenticator": "salesforce_authenticator",
    "HasTotp": "totp",
}
PHISHING_RESISTANT = frozenset({"security_key", "u2f", "built_in"})
MFA_FIELDS = ["mfa_methods", "has_mfa_method", "has_phishing_resistant_mfa"]
FROZEN_FIELDS = ["is_frozen"]
PRIVILEGE_FIELDS = ["privileged_permissions", "is_privileged", "has_modify_all_data", "has_view_all_data"]

_ACRONYMS = {
    "MFA": "Mfa", "SMS": "Sms", "CSRF": "Csrf", "CSP": "Csp", "SFDC": "Sfdc", "U2F": "U2f", "DirectUI": "DirectUi",
}  # fmt: skip


def field_name(api_name: str) -> str:
    """Our name of a metadata field: `enableCSRFOnGet` is `enable_csrf_on_get`."""
    for acronym, word in _ACRONYMS.items():
        api_name = api_name.replace(acronym, word)
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match.group(1).lower(), api_name).lower()


def _known(section: Mapping[str, Any], wanted: frozenset[str]) -> Row:
    named = {field_name(name): value for name, value in section.items()}
    return {name: value for name, value in named.items() if name in wanted and value is not None}


def _section(metadata: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = metadata.get(name)
    return section if isinstance(section, dict) else {}


def _derive(row: Row, source: str, target: str, values: Mapping[str, int]) -> None:
    if (value := row.get(source)) in values:
        row[target] = values[str(value)]


def session_settings(metadata: Mapping[str, Any], fields: frozenset[str]) -> Row:
    """The `session_settings` document out of SecuritySettings."""
    row = _known(_section(metadata, "sessionSettings"), fields)
    _derive(row, "session_timeout", "session_timeout_minutes", SESSION_MINUTES)
    return row


def password_policies(metadata: Mapping[str, Any], fields: frozenset[str]) -> Row:
    """The `password_policies` document; numbers that the API sends as text become numbers."""
    row = _known(_section(metadata, "passwordPolicies"), fields)
    for name in ("history_restriction", "minimum_password_length"):
        text = str(row.pop(name, ""))
        if text.isdigit():
            row[name] = int(text)
    _derive(row, "expiration", "expiration_days", EXPIRATION_DAYS)
    _derive(row, "lockout_interval", "lockout_minutes", LOCKOUT_MINUTES)
    _derive(row, "max_login_attempts", "max_login_attempts_count", ATTEMPTS)
    return row


def login_access_policies(metadata: Mapping[str, Any], fields: frozenset[str]) -> Row:
    """The `login_access_policies` document."""
    return _known(metadata, fields)


def single_sign_on_settings(metadata: Mapping[str, Any], fields: frozenset[str]) -> Row:
    """The `single_sign_on_settings` document."""
    return _known(_section(metadata, "singleSignOnSettings"), fields)


def organization(record: Mapping[str, Any], api_version: str) -> Row:
    """The `organization` document."""
    named: Row = {
        "id": record.get("Id"),
        "name": record.get("Name"),
        "organization_type": record.get("OrganizationType"),
        "is_sandbox": record.get("IsSandbox"),
        "instance_name": record.get("InstanceName"),
        "api_version": api_version,
    }
    return {name: value for name, value in named.items() if value is not None}


def remote_site(record: Mapping[str, Any]) -> Row:
    """A row of `remote_sites`."""
    return {
        "id": record.get("Id"),
        "site_name": record.get("SiteName"),
        "endpoint_url": record.get("EndpointUrl"),
        "is_active": record.get("IsActive"),
        "is_protocol_security_disabled": record.get("ProtocolMismatch"),
        "namespace_prefix": record.get("NamespacePrefix") or "",
    }


def moment(text: Any) -> datetime | None:  # noqa: ANN401 - a cell
    """A Salesforce date-time (`2026-08-01T09:12:33.000+0000`) in UTC; None when there is none."""
    return datetime.fromisoformat(text).astimezone(UTC) if isinstance(text, str) and text else None


def audit_entry(record: Mapping[str, Any]) -> AuditEntry | None:
    """One SetupAuditTrail row; None without a date."""
    at = moment(record.get("CreatedDate"))
    if at is None:
        return None
    return AuditEntry(
        at=at,
        actor=_text((record.get("CreatedBy") or {}).get("Username")) or "unknown",
        action=_text(record.get("Action")),
        section=_text(record.get("Section")) or None,
        detail=_text(record.get("Display")) or None,
    )


class KnownOfUsers:
    """What the joins remember of users: small numbers by user id, never rows. None: could not be read."""

    def __init__(self) -> None:
        self.frozen: set[str] | None = set()
        self.privileges: dict[str, int] | None = {}
        self.api_only: set[str] = set()
        self.methods: dict[str, int] | None = {}

    def add_frozen(self, record: Mapping[str, Any]) -> None:
        """One UserLogin row of a frozen user."""
        if self.frozen is not None:
            self.frozen.add(record["UserId"])

    def add_grant(self, record: Mapping[str, Any]) -> None:
        """One PermissionSetAssignment: the privileged permissions that this path gives, and API Only."""
        user, held = record["AssigneeId"], record["PermissionSet"]
        mask = sum(1 << bit for bit, name in enumerate(PRIVILEGES) if held.get(f"Permissions{name}") is True)
        if self.privileges is not None and mask:
            self.privileges[user] = self.privileges.get(user, 0) | mask
        if held.get(f"Permissions{API_ONLY}") is True:
            self.api_only.add(user)

    def add_methods(self, record: Mapping[str, Any]) -> None:
        """One TwoFactorMethodsInfo row."""
        mask = sum(1 << bit for bit, name in enumerate(METHODS) if record.get(name) is True)
        if self.methods is not None and mask:
            self.methods[record["UserId"]] = mask


def _text(value: Any) -> str:  # noqa: ANN401 - a cell
    return value if isinstance(value, str) else ""


def user(record: Mapping[str, Any], known: KnownOfUsers, started_at: datetime) -> Row:
    """A row of `users`, with everything that is known of its subject. Ages are whole days at `started_at`.

    A user is an integration user when the profile's licence is an API-only one (its key names Integration or API), or
    when some path grants *API Only User*.
    """
    record_id = _text(record.get("Id"))
    profile = record.get("Profile") or {}
    licence = _text((profile.get("UserLicense") or {}).get("LicenseDefinitionKey"))
    created, last = moment(record.get("CreatedDate")), moment(record.get("LastLoginDate"))
    row: Row = {
        "id": record_id,
        "username": _text(record.get("Username")),
        "user_type": _text(record.get("UserType")),
        "profile_name": _text(profile.get("Name")),
        "licence": licence,
        "is_standard": record.get("UserType") == "Standard",
        "is_guest": record.get("UserType") == "Guest",
        "is_integration": "Integration" in licence or "API" in licence or record_id in known.api_only,
        "is_sso_bound": bool(record.get("FederationIdentifier")),
        "is_system_administrator": profile.get("Name") == "System Administrator",
    }
    if "LastLoginDate" in record:
        row["has_logged_in"] = last is not None
    if created is not None:
        row["age_days"] = max(0, (started_at - created).days)
        row["idle_days"] = max(0, (started_at - (last or created)).days)
    if known.frozen is not None:
        row["is_frozen"] = record_id in known.frozen
    if known.methods is not None:
        row |= _methods(known.methods.get(record_id, 0))
    if known.privileges is not None:
        row |= _privileges(known.privileges.get(record_id, 0))
    return row


def _methods(mask: int) -> Row:
    held = [name for bit, name in enumerate(METHODS.values()) if mask & 1 << bit]
    return {
        "mfa_methods": list(held),
        "has_mfa_method": bool(held),
        "has_phishing_resistant_mfa": not PHISHING_RESISTANT.isdisjoint(held),
    }


def _privileges(mask: int) -> Row:
    held = [name for bit, name in enumerate(PRIVILEGES) if mask & 1 << bit]
    return {
        "privileged_permissions": list(held),
        "is_privileged": bool(held),
        "has_modify_all_data": "ModifyAllData" in held,
        "has_view_all_data": "ViewAllData" in held,
    }
