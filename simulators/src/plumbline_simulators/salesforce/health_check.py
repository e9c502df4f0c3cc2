"""Health Check: the 45 settings of the standard baseline, judged by what the org has.

The score's real formula is not published; ours weighs high 4, medium 2, low 1, and counts a warning half.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from plumbline_simulators.tables import Row

Risk = Literal["HIGH_RISK", "MEDIUM_RISK", "LOW_RISK", "INFORMATIONAL"]
_WEIGHTS: dict[str, int] = {"HIGH_RISK": 4, "MEDIUM_RISK": 2, "LOW_RISK": 1, "INFORMATIONAL": 0}
_SESSION, _PASSWORD = "sessionSettings", "passwordPolicies"
COLUMNS = (
    "DurableId", "SecurityHealthCheckId", "Setting", "SettingGroup", "OrgValue", "OrgValueRaw", "StandardValue",
    "StandardValueRaw", "RiskType", "SettingRiskCategory",
)  # fmt: skip


@dataclass(frozen=True)
class Standard:
    """One setting of the baseline.

    `good` and `fair` are the compliant and the warning values: truth, a number that bounds a range, or names.
    `where` is its field of SecuritySettings, or the name of a figure that is counted.
    """

    key: str
    label: str
    risk: Risk
    where: str
    good: bool | float | tuple[str, ...]
    fair: bool | float | tuple[str, ...] | None = None
    unit: str = ""


def _flag(risk: Risk, key: str, label: str, where: str, *, good: bool = True, fair: bool | None = None) -> Standard:
    return Standard(key, label, risk, where, good, fair)


_HIGH = (
    _flag("HIGH_RISK", "SessionSettings.lockSessionsToDomain",
          "Lock sessions to the domain in which they were first used", f"{_SESSION}.lockSessionsToDomain"),
    _flag("HIGH_RISK", "SessionSettings.enableSmsIdentity", "Enable the SMS method of device activation",
          f"{_SESSION}.enableSMSIdentity"),
    _flag("HIGH_RISK", "SessionSettings.clickjackSetup", "Enable clickjack protection for Setup pages",
          f"{_SESSION}.enableClickjackSetup"),
    _flag("HIGH_RISK", "SessionSettings.clickjackNonSetup",
          "Enable clickjack protection for non-Setup Salesforce pages", f"{_SESSION}.enableClickjackNonsetupSFDC"),
    _flag("HIGH_RISK", "SessionSettings.clickjackVisualForceHeaders",
          "Enable clickjack protection for customer Visualforce pages with standard headers",
          f"{_SESSION}.enableClickjackNonsetupUser"),
    _flag("HIGH_RISK", "SessionSettings.clickjackVisualForceNoHeaders",
          "Enable clickjack protection for customer Visualforce pages with headers disabled",
          f"{_SESSION}.enableClickjackNonsetupUserHeaderless"),
    _flag("HIGH_RISK", "SessionSettings.csrfGet", "Enable CSRF protection on GET requests on non-setup pages",
          f"{_SESSION}.enableCSRFOnGet"),
    _flag("HIGH_RISK", "SessionSettings.csrfPost", "Enable CSRF protection on POST requests on non-setup pages",
          f"{_SESSION}.enableCSRFOnPost"),
    _flag("HIGH_RISK", "SessionSettings.requireHttpOnly", "Require HttpOnly attribute", f"{_SESSION}.requireHttpOnly"),
    _flag("HIGH_RISK", "Identity.mfaEnabled", "MFA Enabled", f"{_SESSION}.enableMFADirectUILoginOptIn"),
    _flag("HIGH_RISK", "ExternalClientApps.metadataApiAccess", "Allow access to consumer secrets by Metadata API",
          "consumerSecretAccess", good=False),
    Standard("FileUploadAndDownloadSecurity.hybridSecurityRiskFileTypes",
             "Number of security risk file types with Hybrid behavior", "HIGH_RISK", "hybridRiskTypes", 0, 0.5),
    Standard("PasswordPolicies.maxLoginAttempts", "Maximum invalid login attempts", "HIGH_RISK",
             f"{_PASSWORD}.maxLoginAttempts", ("ThreeAttempts",), ("FiveAttempts", "TenAttempts")),
    Standard("CertificateAndKeyManagement.expiredCert", "Number of expired certificates", "HIGH_RISK",
             "expiredCertificates", 0, 1),
    Standard("SharingSettings.orgWideDefaults", "Number of objects with default external access set to Public",
             "HIGH_RISK", "publicObjects", 0, 1),
    Standard("NetworkSecurity.trustedIpRangesConfigured", "Trusted IP ranges configured", "HIGH_RISK",
             "trustedRanges", 1, 0.5),
)  # fmt: skip
_MEDIUM = (
    _flag("MEDIUM_RISK", "PasswordPolicies.minOneDayPasswordLifetime", "Require a minimum 1 day password lifetime",
          f"{_PASSWORD}.minimumPasswordLifetime"),
    _flag("MEDIUM_RISK", "SessionSettings.forceRelogin", "Force relogin after Login-As-User",
          f"{_SESSION}.forceRelogin"),
    _flag("MEDIUM_RISK", "SessionSettings.enforceLoginIp", "Enforce login IP ranges on every request",
          f"{_SESSION}.enforceIpRangesEveryRequest"),
    _flag("MEDIUM_RISK", "SessionSettings.terminateSessionsOnPasswordReset",
          "Terminate all sessions when an admin resets a password",
          f"{_SESSION}.terminateUserSessionsWhenAdminResetsPassword"),
    _flag("MEDIUM_RISK", "SessionSettings.cspOnEmail", "Enable CSP protection for email templates",
          f"{_SESSION}.enableCSPOnEmail"),
    _flag("MEDIUM_RISK", "SessionSettings.contentSniffingProtection", "Enable content sniffing protection",
          f"{_SESSION}.enableContentSniffingProtection"),
    _flag("MEDIUM_RISK", "LoginAccessPolicies.adminLoginAsAnyUser", "Administrators can log in as any user",
          "enableAdminLoginAsAnyUser", good=False),
    Standard("PasswordPolicies.history", "Enforce password history", "MEDIUM_RISK",
             f"{_PASSWORD}.historyRestriction", 3, 1, "passwords remembered"),
    Standard("PasswordPolicies.minPasswordLength", "Minimum password length", "MEDIUM_RISK",
             f"{_PASSWORD}.minimumPasswordLength", 8, 6, "characters"),
    Standard("PasswordPolicies.expiration", "User passwords expire in", "MEDIUM_RISK", f"{_PASSWORD}.expiration",
             ("ThirtyDays", "SixtyDays", "NinetyDays"), ("SixMonths",)),
    Standard("PasswordPolicies.complexity", "Password complexity requirement", "MEDIUM_RISK",
             f"{_PASSWORD}.complexity",
             ("SpecialCharacters", "UpperLowerCaseNumeric", "UpperLowerCaseNumericSpecialCharacters",
              "Any3UpperLowerCaseNumericSpecialCharacters"), ("AlphaNumeric",)),
)  # fmt: skip
_LOW = (
    _flag("LOW_RISK", "PasswordPolicies.obscureSecretAnswer", "Obscure secret answer for password resets",
          f"{_PASSWORD}.obscureSecretAnswer"),
    _flag("LOW_RISK", "SessionSettings.forceLogoutOnTimeout", "Force logout on session timeout",
          f"{_SESSION}.forceLogoutOnSessionTimeout"),
    _flag("LOW_RISK", "SessionSettings.icOn2faRegistration", "Require identity verification during MFA registration",
          f"{_SESSION}.identityConfirmationOnTwoFactorRegistrationEnabled"),
    _flag("LOW_RISK", "SessionSettings.icOnEmailChange", "Require identity verification for change of email address",
          f"{_SESSION}.identityConfirmationOnEmailChange"),
    Standard("RemoteSiteSettings.remoteSiteSettings", "Remote sites with Disable Protocol Security", "LOW_RISK",
             "unprotectedRemoteSites", 0, 1),
    Standard("PasswordPolicies.questionRestriction", "Password question requirement", "LOW_RISK",
             f"{_PASSWORD}.questionRestriction", ("DoesNotContainPassword",), ("None",)),
    Standard("PasswordPolicies.lockoutInterval", "Lockout effective period", "LOW_RISK",
             f"{_PASSWORD}.lockoutInterval", ("ThirtyMinutes", "SixtyMinutes", "Forever"), ("FifteenMinutes",)),
    Standard("SessionSettings.timeout", "Timeout value", "LOW_RISK", f"{_SESSION}.sessionTimeout",
             ("FifteenMinutes", "ThirtyMinutes", "SixtyMinutes", "NinetyMinutes", "TwoHours"),
             ("FourHours", "EightHours", "TwelveHours")),
)  # fmt: skip
_INFORMATIONAL = (
    Standard("CertificateAndKeyManagement.keySize", "Key size", "INFORMATIONAL", "smallestKey", 4096, 2048),
    Standard("CertificateAndKeyManagement.certExpiration", "Days until certificate expiration", "INFORMATIONAL",
             "daysToExpiry", 180, 1, "days"),
    _flag("INFORMATIONAL", "UserPIISettings.enforceNameVisibility",
          "Require permission to view record names in lookup fields", "lookupNamesProtected"),
    _flag("INFORMATIONAL", "SessionSettings.redirectionAllowUntrusted",
          "Allow redirections to untrusted external URLs without a warning", "untrustedRedirects", good=False),
    _flag("INFORMATIONAL", "SessionSettings.lockSessionsToIp", "Lock sessions to the IP address they originate from",
          f"{_SESSION}.lockSessionsToIp", fair=False),
    _flag("INFORMATIONAL", "Identity.samlEnabled", "SAML enabled", "singleSignOnSettings.enableSamlLogin"),
    Standard("GuestUserAccess.guestEditAccess", "Number of objects to which guest profiles have Edit access",
             "INFORMATIONAL", "guestEdit", 4, 9),
    Standard("GuestUserAccess.guestReadAccess", "Number of objects to which guest profiles have Read access",
             "INFORMATIONAL", "guestRead", 4, 9),
    Standard("GuestUserAccess.guestAccessSharingRules", "Number of guest sharing rules", "INFORMATIONAL",
             "guestSharingRules", 0, 4),
    Standard("AdminUsers.activeSystemAdministratorCount", "Number of active system administrators", "INFORMATIONAL",
             "administrators", 5, 10),
)  # fmt: skip
BASELINE = (*_HIGH, *_MEDIUM, *_LOW, *_INFORMATIONAL)
_LIFTED = frozenset(
    {"PasswordPolicies.minPasswordLength", "PasswordPolicies.complexity", "PasswordPolicies.expiration"}
)
"""What the imported baseline of an org lets pass whatever its value."""


def rows(values: Mapping[str, Any], *, is_custom: bool, language: str) -> list[Row]:
    """SecurityHealthCheckRisks, one record per setting that the org has a value for."""
    return [
        _row(standard, values[standard.where], is_custom=is_custom and standard.key in _LIFTED, language=language)
        for standard in BASELINE
        if standard.where in values
    ]


def score(risks: Iterable[Row]) -> str:
    """0 to 100 as text, as the API has it."""
    shares = {"MEETS_STANDARD": 1.0, "MEDIUM_RISK": 0.5, "HIGH_RISK": 0.0}
    weighed = [(_WEIGHTS[row["SettingRiskCategory"]], shares[row["RiskType"]]) for row in risks]
    return str(round(100 * sum(weight * share for weight, share in weighed) / sum(weight for weight, _ in weighed)))


def _row(standard: Standard, value: Any, *, is_custom: bool, language: str) -> Row:  # noqa: ANN401 - any setting
    english = language.startswith("en")
    wanted = value if is_custom else standard.good[0] if isinstance(standard.good, tuple) else standard.good
    return {
        "DurableId": standard.key,
        "SecurityHealthCheckId": "0",
        "Setting": standard.label if english else f"[{language}] {standard.key}",
        "SettingGroup": standard.key.partition(".")[0],
        "OrgValue": _shown(value, standard.unit, english=english),
        "OrgValueRaw": _raw(value),
        "StandardValue": _shown(wanted, standard.unit, english=english),
        "StandardValueRaw": _raw(wanted),
        "RiskType": "MEETS_STANDARD" if is_custom else _risk(standard, value),
        "SettingRiskCategory": standard.risk,
    }


def _risk(standard: Standard, value: Any) -> str:  # noqa: ANN401
    good, fair = standard.good, standard.fair
    if isinstance(good, tuple):
        matches = value in good, isinstance(fair, tuple) and value in fair
    elif isinstance(good, bool):
        matches = value is good, fair is not None and value is fair
    else:
        matches = _reaches(float(value), good, fair)
    return "MEETS_STANDARD" if matches[0] else "MEDIUM_RISK" if matches[1] else "HIGH_RISK"


def _reaches(value: float, good: float, fair: Any) -> tuple[bool, bool]:  # noqa: ANN401
    if good > fair:
        return value >= good, value >= fair
    return value <= good, value <= fair


def _raw(value: Any) -> str:  # noqa: ANN401
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shown(value: Any, unit: str, *, english: bool) -> str:  # noqa: ANN401
    if isinstance(value, bool):
        return ("Enabled" if value else "Disabled") if english else ("+" if value else "-")
    return f"{value} {unit}".strip()


def days_until(moments: Iterable[datetime], now: datetime) -> int:
    """Days to the earliest of these moments that is not past; 0 when all are."""
    left = [(moment - now).days for moment in moments if moment > now]
    return min(left, default=0)
