"""Salesforce's Health Check: the settings of its standard baseline and its document. Pure.

Rows are known by `DurableId`, which is the same in every language. Source: exported standard baseline; Tooling API,
SecurityHealthCheck and SecurityHealthCheckRisks.
"""

from collections.abc import Mapping
from typing import Any

from plumbline_contracts.events import Row

from plumbline_collector.connectors.salesforce.cells import text, whole

KEYS = frozenset(
    {
        *(
            f"SessionSettings.{key}"
            for key in (
                "lockSessionsToDomain", "enableSmsIdentity", "clickjackSetup", "clickjackNonSetup",
                "clickjackVisualForceHeaders", "clickjackVisualForceNoHeaders", "csrfGet", "csrfPost",
                "requireHttpOnly", "forceRelogin", "enforceLoginIp", "terminateSessionsOnPasswordReset", "cspOnEmail",
                "contentSniffingProtection", "forceLogoutOnTimeout", "icOn2faRegistration", "icOnEmailChange",
                "timeout", "redirectionAllowUntrusted", "lockSessionsToIp",
            )
        ),
        *(
            f"PasswordPolicies.{key}"
            for key in (
                "maxLoginAttempts", "minOneDayPasswordLifetime", "history", "minPasswordLength", "expiration",
                "complexity", "obscureSecretAnswer", "questionRestriction", "lockoutInterval",
            )
        ),
        *(f"CertificateAndKeyManagement.{key}" for key in ("expiredCert", "keySize", "certExpiration")),
        *(f"GuestUserAccess.{key}" for key in ("guestEditAccess", "guestReadAccess", "guestAccessSharingRules")),
        "Identity.mfaEnabled", "Identity.samlEnabled", "ExternalClientApps.metadataApiAccess",
        "FileUploadAndDownloadSecurity.hybridSecurityRiskFileTypes", "SharingSettings.orgWideDefaults",
        "NetworkSecurity.trustedIpRangesConfigured", "LoginAccessPolicies.adminLoginAsAnyUser",
        "RemoteSiteSettings.remoteSiteSettings", "UserPIISettings.enforceNameVisibility",
        "AdminUsers.activeSystemAdministratorCount",
    }
)  # fmt: skip
"""The 45 settings of the standard baseline."""
COUNTS = {
    "GuestUserAccess.guestAccessSharingRules": "guest_sharing_rules",
    "GuestUserAccess.guestEditAccess": "guest_edit_objects",
    "GuestUserAccess.guestReadAccess": "guest_read_objects",
    "SharingSettings.orgWideDefaults": "public_external_objects",
    "AdminUsers.activeSystemAdministratorCount": "system_administrators",
}
"""Settings whose raw value is a count, to the document's field for it."""


def document(record: Mapping[str, Any], counts: Mapping[str, int]) -> Row:
    """The `health_check` document. A score that the org does not give is absent, never 0."""
    row: Row = {**counts}
    if (score := whole(record.get("Score"))) is not None:
        row["score"] = score
    if "CustomBaselineId" in record:
        baseline = text(record["CustomBaselineId"])
        row |= {"custom_baseline_id": baseline, "has_custom_baseline": bool(baseline)}
    return row


def count_of(record: Mapping[str, Any]) -> dict[str, int]:
    """What one risk row adds to the document's counts."""
    field, value = COUNTS.get(text(record.get("DurableId"))), whole(record.get("OrgValueRaw"))
    return {field: value} if field and value is not None else {}
