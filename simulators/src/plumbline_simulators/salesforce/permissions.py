"""Permissions by name and label, and the profiles and permission sets that grant them, by seed."""

import re
from dataclasses import dataclass

from plumbline_simulators.salesforce.entity import record_id
from plumbline_simulators.salesforce.shape import EXTENDED_RIGHTS, Shape
from plumbline_simulators.tables import Row

_LABELS = {
    "ManageInteraction": "Manage Flow",
    "ManageTwoFactor": "Manage Multi-Factor Authentication in API",
    "BypassMFAForUiLogins": "Waive Multi-Factor Authentication for Exempt Users",
    "CanApproveUninstalledApps": "Approve Uninstalled Connected Apps",
    "UseAnyApiClient": "Use Any API Client",
    "UseAnyApiAuth": "Use Any API Auth",
    "TwoFactorApi": "Multi-Factor Authentication for API Logins",
    "ForceTwoFactor": "Multi-Factor Authentication for User Interface Logins",
    "ApiUserOnly": "API Only User",
    "ViewSetup": "View Setup and Configuration",
    "IsSsoEnabled": "Is Single Sign-On Enabled",
}
TIERS = {
    "full compromise": (
        "ModifyAllData", "AuthorApex", "CustomizeApplication", "ModifyMetadata", "ManageInteraction",
        "ManageProfilesPermissionsets",
    ),
    "identity takeover": (
        "ManageUsers", "ManageInternalUsers", "AssignPermissionSets", "ManageRoles", "ManageSharing", "ResetPasswords",
        "ManagePasswordPolicies", "ManageLoginAccessPolicies", "ManageTwoFactor", "ManageAuthProviders",
        "ManageCertificates", "PasswordNeverExpires", "BypassMFAForUiLogins",
    ),
    "sharing bypass": ("ViewAllData", "ViewAllUsers", "ViewAllFieldsGlobal", "EditReadonlyFields", "QueryAllFiles"),
    "data theft": ("DataExport", "ExportReport", "ApiEnabled", "BulkApiHardDelete"),
    "control weakening": (
        "ManageEncryptionKeys", "ViewEncryptedData", "ManageHealthCheck", "ViewEventLogFiles", "InstallPackaging",
        "TransactionSecurityExempt", "ModifyTransactionSecurityPolicies",
    ),
    "apps": (
        "ManageRemoteAccess", "ExternalClientAppAdmin", "ClientSecretRotation", "ViewClientSecret", "UseAnyApiAuth",
        "UseAnyApiClient", "CanApproveUninstalledApps",
    ),
    "single sign-on": (
        "MustUseSso", "IsSsoEnabled", "BreakGlassLoginAllowed", "ApiUserOnly", "ForceTwoFactor", "TwoFactorApi",
        "AllowLightningLogin",
    ),
    "reading": ("ViewSetup", "ViewHealthCheck", "ViewRoles", "MonitorLoginHistory"),
}  # fmt: skip
PERMISSIONS = tuple(name for names in TIERS.values() for name in names)
GATED = frozenset({"BypassMFAForUiLogins", "MustUseSso", "IsSsoEnabled", "UseAnyApiClient"})
"""Permissions of features that Salesforce opens org by org; elsewhere the fields do not exist."""
_NOT_OF_ADMINISTRATORS = GATED | {
    "ApiUserOnly", "PasswordNeverExpires", "BulkApiHardDelete", "TransactionSecurityExempt", "UseAnyApiAuth",
    "CanApproveUninstalledApps", "ForceTwoFactor", "TwoFactorApi", "AllowLightningLogin", "BreakGlassLoginAllowed",
    "ManageEncryptionKeys",
}  # fmt: skip
_TRANSLATED = {
    "de": {
        "System Administrator": "Systemadministrator",
        "Standard User": "Standardbenutzer",
        "Minimum Access - API Only Integrations": "Mindestzugriff - Nur-API-Integrationen",
        "Approve Uninstalled Connected Apps": "Nicht installierte verbundene Anwendungen genehmigen",
        "Other Apex API": "Andere Apex-API",
        "Application": "Anwendung",
    },
    "ja": {
        "System Administrator": "システム管理者",
        "Standard User": "標準ユーザー",
        "Minimum Access - API Only Integrations": "最小アクセス - API のみの統合",
        "Approve Uninstalled Connected Apps": "アンインストールされた接続アプリケーションの承認",
    },
}
PROFILES = {
    "System Administrator": ("Standard", "SFDC", "Salesforce"),
    "Standard User": ("Standard", "SFDC", "Salesforce"),
    "Sales User": ("Standard", "SFDC", "Salesforce"),
    "Minimum Access - API Only Integrations": ("Standard", "PID_Salesforce_Integration", "Salesforce Integration"),
    "Portal Guest Profile": ("Guest", "PID_Guest_User", "Guest User License"),
}

STANDARD_PROFILES = frozenset(PROFILES) - {"Sales User", "Portal Guest Profile"}


def columns(shape: Shape) -> tuple[str, ...]:
    """The `Permissions…` fields that exist in the org."""
    return tuple(f"Permissions{name}" for name in PERMISSIONS if shape.has_gated_features or name not in GATED)


def label(column: str, language: str) -> str:
    """The label of a `Permissions…` field, or any other's."""
    name = column.removeprefix("Permissions")
    return translated(_LABELS.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name), language)


def translated(text: str, language: str) -> str:
    """A standard name as an org of that language shows it."""
    return _TRANSLATED.get(language.partition("_")[0], {}).get(text, text)


@dataclass(frozen=True)
class PermissionSet:
    """A permission set, or a profile's shadow of one."""

    name: str
    kind: str
    held: frozenset[str]
    profile: str | None = None


def permission_sets(shape: Shape) -> list[PermissionSet]:
    """All permission sets; the profiles' come first, in the order of PROFILES."""
    owned = [
        PermissionSet(f"X00e{number:011d}", "Profile", _of_profile(profile, shape), profile)
        for number, profile in enumerate(PROFILES)
    ]
    weak = not shape.is_strong
    own = {
        "Data_Steward": ("Regular", {"ViewAllData"}),
        "Report_Exporter": ("Regular", {"ExportReport", "DataExport"} if weak else {"ExportReport"}),
        "Release_Managers": ("Group", {"AuthorApex", "CustomizeApplication", "InstallPackaging"}),
        "Break_Glass": ("Session", {"ModifyAllData", "BreakGlassLoginAllowed"}),
        "Single_Sign_On": ("Regular", {"IsSsoEnabled"}),
        "MFA_Waiver": ("Regular", {"BypassMFAForUiLogins", "PasswordNeverExpires"}),
        "Any_Client": ("Regular", {"UseAnyApiClient", "UseAnyApiAuth", "CanApproveUninstalledApps"}),
        "SalesCloudUser": ("Standard", set()),
        "Site_Visitors": ("Regular", {"ApiEnabled"} if weak else set()),
        "SSPM_Base": ("Regular", {"ViewSetup", "ViewAllUsers", "ViewHealthCheck", "ViewRoles"}),
        "SSPM_Extended": ("Regular", {right.removeprefix("Permissions") for right in shape.held | EXTENDED_RIGHTS}),
        **{f"Feature_{number:02d}": ("Regular", set[str]()) for number in range(20)},
    }  # fmt: skip
    return owned + [PermissionSet(name, kind, frozenset(held)) for name, (kind, held) in own.items()]


def _of_profile(profile: str, shape: Shape) -> frozenset[str]:
    if profile == "System Administrator":
        return frozenset(PERMISSIONS) - _NOT_OF_ADMINISTRATORS
    if profile == "Minimum Access - API Only Integrations":
        return frozenset({"ApiEnabled", "ApiUserOnly"})
    if shape.is_strong or profile == "Portal Guest Profile":
        return frozenset()
    return frozenset({"ApiEnabled", "ExportReport"})


def profile_rows(shape: Shape) -> dict[str, Row]:
    """The Profile records by English name; `Name` is as the org's language has it."""
    rows = {}
    for number, (name, (user_type, key, licence)) in enumerate(PROFILES.items()):
        held = _of_profile(name, shape)
        rows[name] = {
            "Id": record_id("00e", number),
            "Name": translated(name, shape.language),
            "UserType": user_type,
            "UserLicense": {"LicenseDefinitionKey": key, "Name": licence},
            **{column: column.removeprefix("Permissions") in held for column in columns(shape)},
        }
    return rows


def permission_set_rows(shape: Shape, profiles: dict[str, Row]) -> dict[str, Row]:
    """The PermissionSet records by name."""
    return {
        made.name: {
            "Id": record_id("0PS", number),
            "Name": made.name,
            "Label": made.name.replace("_", " "),
            "Type": made.kind,
            "IsOwnedByProfile": made.profile is not None,
            "IsCustom": made.kind != "Standard" and made.profile not in STANDARD_PROFILES,
            "NamespacePrefix": None,
            "ProfileId": profiles[made.profile]["Id"] if made.profile else None,
            "Profile": profiles[made.profile] if made.profile else None,
            **{column: column.removeprefix("Permissions") in made.held for column in columns(shape)},
        }
        for number, made in enumerate(permission_sets(shape))
    }
