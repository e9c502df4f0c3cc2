"""Salesforce's records as typed rows: what is computed beyond copying columns. Pure.

Source: Object Reference and Tooling API, the page of each object; the enumerations as those pages list them.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from plumbline_contracts.events import AuditEntry, Row
from pydantic import JsonValue

from plumbline_collector.connectors.salesforce import cells
from plumbline_collector.connectors.salesforce.cells import text, truth
from plumbline_collector.connectors.salesforce.health_check import KEYS

Record = Mapping[str, Any]
Derive = Callable[[Record, datetime], Row]

CORE_OBJECTS = ("Account", "Contact", "Opportunity", "Case", "Lead")
READABLE = frozenset({"Read", "ReadSelect", "Edit", "ReadWrite", "ReadWriteTransfer", "FullAccess"})
WRITABLE = frozenset({"Edit", "ReadWrite", "ReadWriteTransfer", "FullAccess"})
_LONGEST_VALUE = 1000
_CHANGED = re.compile(r"^Changed (?P<subject>.+?) from (?P<old>.*) to (?P<new>.*)$", re.DOTALL)
_FROM_TO = re.compile(r"\bfrom (?P<old>.*) to (?P<new>.*)$", re.DOTALL)
_STRONG_SIGNATURE = re.compile(r"sha-?_?(256|384|512)", re.IGNORECASE)
_BLOCKS = re.compile(r'"block"\s*:\s*true')
_ASKS_FOR_MFA = re.compile(r'"(?:twoFactorAuthentication|multiFactorAuthentication|mfa)"\s*:\s*true', re.IGNORECASE)


def present(**values: JsonValue) -> Row:
    """The values that are known."""
    return {name: value for name, value in values.items() if value is not None}


def address(column: str) -> Derive:
    """What an address in `column` says of itself."""

    def derive(record: Record, _: datetime) -> Row:
        url = text(record.get(column))
        if not url:
            return {}
        return {
            "is_https": cells.is_secure_url(url),
            "is_wildcard": cells.is_catch_all(url),
            "has_wildcard": cells.has_wildcard(url),
        }

    return derive


def endpoint(column: str) -> Derive:
    """Whether an address of one system is reached over TLS."""

    def derive(record: Record, _: datetime) -> Row:
        url = text(record.get(column))
        return {"has_endpoint": bool(url), **({"is_https": cells.is_secure_url(url)} if url else {})}

    return derive


def secured(column: str) -> Derive:
    """Whether an address of one system, which is always there, is reached over TLS."""

    def derive(record: Record, _: datetime) -> Row:
        url = text(record.get(column))
        return {"is_https": cells.is_secure_url(url)} if url else {}

    return derive


def joined(*columns: str) -> str:
    """Several cells as one name."""
    return " / ".join(column or "-" for column in columns)


def organization(record: Record, _: datetime) -> Row:
    """What the org's row says of its kind."""
    is_sandbox = truth(record.get("IsSandbox"))
    if "TrialExpirationDate" not in record:
        return {}
    is_trial = bool(record["TrialExpirationDate"])
    return present(is_trial=is_trial, is_production=None if is_sandbox is None else not is_sandbox and not is_trial)


def certificate(record: Record, started_at: datetime) -> Row:
    """When a certificate ends, seen from the snapshot's start."""
    end = cells.moment(record.get("ExpirationDate"))
    if end is None:
        return {}
    return {"days_to_expiry": (end - started_at).days, "is_expired": end <= started_at}


def saml_provider(record: Record, started_at: datetime) -> Row:
    """Version, signature and certificate of a SAML configuration."""
    version, method = text(record.get("Version")), text(record.get("RequestSignatureMethod"))
    row = present(
        is_saml_2="2" in version if version else None,
        is_sha256=bool(_STRONG_SIGNATURE.search(method)) if method else None,
    )
    end = cells.certificate_end(record.get("ValidationCert"))
    if end is not None:
        row |= {
            "certificate_expires_at": cells.rfc3339(end),
            "certificate_days_to_expiry": (end - started_at).days,
            "is_certificate_expired": end <= started_at,
        }
    return row


def sharing_model(record: Record, _: datetime) -> Row:
    """What an object's defaults open, and to whom."""
    name = text(record.get("QualifiedApiName"))
    row: Row = {"is_core": name in CORE_OBJECTS, "is_custom": name.endswith(("__c", "__x", "__mdt", "__e", "__kav"))}
    if "InternalSharingModel" in record:
        internal = text(record["InternalSharingModel"])
        row |= {"is_public_internal": internal in READABLE, "is_internally_writable": internal in WRITABLE}
    if "ExternalSharingModel" in record:
        row["is_public_external"] = text(record["ExternalSharingModel"]) in READABLE
    return row


def object_permission(record: Record, _: datetime) -> Row:
    """What access to an object amounts to."""
    may = {name: truth(record.get(f"Permissions{name}")) for name in ("Create", "Edit", "Delete")}
    all_records = [truth(record.get(f"Permissions{name}AllRecords")) for name in ("View", "Modify")]
    return present(
        id=joined(text(record.get("ParentId")), text(record.get("SobjectType"))),
        can_write=None if None in may.values() else any(may.values()),
        can_reach_all=None if None in all_records else any(all_records),
    )


def object_grant(record: Record, _: datetime) -> Row:
    """A name for the access of one permission set to one object."""
    return {"id": joined(text(record.get("ParentId")), text(record.get("SobjectType")))}


def connected_app(record: Record, started_at: datetime) -> Row:
    """What a connected app's policies amount to."""
    row = present(
        age_days=cells.days_since(record.get("CreatedDate"), started_at),
        unchanged_days=cells.days_since(record.get("LastModifiedDate"), started_at),
    )
    if "RefreshTokenValidityPeriod" in record:
        row["has_refresh_token_expiry"] = record["RefreshTokenValidityPeriod"] is not None
    if "MobileSessionTimeout" in record:
        row["has_mobile_session_timeout"] = record["MobileSessionTimeout"] is not None
        if "PinLength" in record:
            row["is_mobile"] = not (record["MobileSessionTimeout"] is None and record["PinLength"] is None)
    return row


def site(record: Record, _: datetime) -> Row:
    """Whether a site may be framed by anybody."""
    level = text(record.get("ClickjackProtectionLevel"))
    return {"allows_all_framing": level.lower() == "allowallframing"} if level else {}


def package(record: Record, _: datetime) -> Row:
    """A name for every package, also for those without a namespace."""
    subscribed = record.get("SubscriberPackage") or {}
    return {"id": text(subscribed.get("NamespacePrefix")) or text(subscribed.get("Name"))}


def package_licence(record: Record, started_at: datetime) -> Row:
    """Whether a package's licence has ended."""
    end = cells.moment(record.get("ExpirationDate"))
    return {"is_expired": record.get("Status") == "Expired" or (end is not None and end <= started_at)}


def dkim_key(record: Record, _: datetime) -> Row:
    """A name for a DKIM key."""
    return {"id": joined(text(record.get("Selector")), text(record.get("Domain")))}


def tenant_secret(record: Record, started_at: datetime) -> Row:
    """Age and state of key material."""
    status = text(record.get("Status"))
    return present(
        age_days=cells.days_since(record.get("CreatedDate"), started_at),
        is_active=status.upper() == "ACTIVE" if status else None,
    )


def public_link(record: Record, started_at: datetime) -> Row:
    """Age and end of a public link."""
    end = cells.days_until(record.get("ExpiryDate"), started_at)
    may_end = truth(record.get("PreferencesExpires"))
    return present(
        age_days=cells.days_since(record.get("CreatedDate"), started_at),
        is_expired=None if may_end is None else may_end and end is not None and end < 0,
    )


def transaction_security_policy(record: Record, _: datetime) -> Row:
    """Whether a policy is in force, and what it does then."""
    state, action = text(record.get("State")), record.get("ActionConfig")
    row = present(is_enabled=state == "Enabled" if state else None)
    if "ActionConfig" in record:
        written = action if isinstance(action, str) else json.dumps(action)
        row |= {"blocks": bool(_BLOCKS.search(written)), "requires_mfa": bool(_ASKS_FOR_MFA.search(written))}
    if "ExecutionUserId" in record:
        row["has_execution_user"] = bool(record["ExecutionUserId"])
    return row


def health_check_risk(record: Record, _: datetime) -> Row:
    """The raw value in each form that it can have, and what the baseline in force says."""
    raw, risk = record.get("OrgValueRaw"), text(record.get("RiskType"))
    return present(
        org_value_is_on=truth(raw),
        org_value_number=cells.number(raw),
        meets_standard=risk == "MEETS_STANDARD" if risk else None,
        is_known=text(record.get("DurableId")) in KEYS,
    )


def audit_entry(record: Record) -> AuditEntry | None:
    """One SetupAuditTrail row; None without a date. Old and new value where the text is in the documented form."""
    at = cells.moment(record.get("CreatedDate"))
    if at is None:
        return None
    actor, delegate = text((record.get("CreatedBy") or {}).get("Username")), text(record.get("DelegateUser"))
    display = text(record.get("Display"))
    values = _CHANGED.search(display) or _FROM_TO.search(display)
    named = values.groupdict() if values else {}
    return AuditEntry(
        at=at,
        actor=f"{actor or 'unknown'} (for {delegate})" if delegate else actor or "unknown",
        action=text(record.get("Action")),
        section=text(record.get("Section")) or None,
        detail=display or None,
        subject=named.get("subject"),
        old_value=_value(named.get("old")),
        new_value=_value(named.get("new")),
    )


def _value(said: str | None) -> str | None:
    return said.strip().strip('"')[:_LONGEST_VALUE] if said is not None else None
