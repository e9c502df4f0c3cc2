"""The Metadata blobs of the settings types, by seed. Source: Metadata API Developer Guide, WSDL 66.0."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from plumbline_simulators.salesforce.shape import Seed

Blob = dict[str, Any]

_SESSION_ON_WHEN_STRONG = (
    "enableClickjackNonsetupSFDC", "enableClickjackNonsetupUser", "enableClickjackNonsetupUserHeaderless",
    "enableCSPOnEmail", "enableCSRFOnGet", "enforceIpRangesEveryRequest", "forceLogoutOnSessionTimeout",
    "forceRelogin", "identityConfirmationOnEmailChange", "identityConfirmationOnTwoFactorRegistrationEnabled",
    "lockSessionsToDomain", "requireHttpOnly", "terminateUserSessionsWhenAdminResetsPassword",
    "enableMFADirectUILoginOptIn", "enableU2F", "enableBuiltInAuthenticator", "lockSessionsToIp",
    "enforceUserDeviceRevoked", "lockerServiceCSP", "hstsOnForcecomSites", "redirectionWarning",
)  # fmt: skip
_SESSION_ON = (
    "enableContentSniffingProtection", "enableClickjackSetup", "enableSMSIdentity", "enableCSRFOnPost",
    "referrerPolicy",
    "lockerServiceNext", "canConfirmEmailChangeInLightningCommunities",
)  # fmt: skip
_SESSION_OFF = (
    "canConfirmIdentityBySmsOnly", "skipSFAWhenMFADirectUILogin", "enableLightningLogin",
    "enableLightningLoginOnlyWithUserPerm", "disableTimeoutWarning", "allowUserAuthenticationByCertificate",
    "allowUserAuthenticationByCertificateWithOcspValidation",
)  # fmt: skip
_SESSION_ON_WHEN_WEAK = ("enableCacheAndAutocomplete", "hasRetainedLoginHints", "hasUserSwitching")

CHOICES: dict[str, tuple[str, ...]] = {
    "complexity": (
        "NoRestriction", "AlphaNumeric", "SpecialCharacters", "UpperLowerCaseNumeric",
        "UpperLowerCaseNumericSpecialCharacters", "Any3UpperLowerCaseNumericSpecialCharacters",
    ),
    "expiration": ("Never", "ThirtyDays", "SixtyDays", "NinetyDays", "SixMonths", "OneYear"),
    "historyRestriction": tuple(str(number) for number in range(25)),
    "lockoutInterval": ("FifteenMinutes", "ThirtyMinutes", "SixtyMinutes", "Forever"),
    "maxLoginAttempts": ("NoLimit", "ThreeAttempts", "FiveAttempts", "TenAttempts"),
    "minimumPasswordLength": tuple(str(number) for number in range(5, 51)),
    "questionRestriction": ("None", "DoesNotContainPassword"),
    "sessionTimeout": (
        "FifteenMinutes", "ThirtyMinutes", "SixtyMinutes", "NinetyMinutes", "TwoHours", "FourHours", "EightHours",
        "TwelveHours", "TwentyFourHours",
    ),
    "untrustedRedirect": ("AlwaysAllowed", "AllowWithUserPermission", "NeverAllowed"),
    "vfInlineScriptInjection": ("Allow", "ReportOnly", "NeverAllow"),
}  # fmt: skip


def blobs(seed: Seed, *, has_gated_features: bool) -> dict[str, Blob]:
    """The blob of every settings type. A field whose feature Salesforce has not opened for the org is absent."""
    strong = seed == "strong"
    made = {"SecuritySettings": _security(strong), **_apps(strong), **_data(strong), **_monitoring(strong)}
    if not has_gated_features:
        del made["ConnectedAppSettings"]["enableAdminApprovedAppsOnly"]
    return made


def _security(strong: bool) -> Blob:
    return {
        "canUsersGrantLoginAccess": True,
        "enableAdminLoginAsAnyUser": not strong,
        "enableAuditFieldsInactiveOwner": False,
        "enableAuraSecureEvalPref": strong,
        "enableCoepHeader": False,
        "enableCoopHeader": False,
        "enableCrossOrgRedirects": False,
        "enablePermissionsPolicy": strong,
        "sendCspForUncommonClients": strong,
        "redirectBlockModeEnabled": False,
        "networkAccess": {"ipRanges": [{"description": "HQ", "start": "203.0.113.0", "end": "203.0.113.255"}]},
        "passwordPolicies": _password_policies(strong),
        "sessionSettings": _session_settings(strong),
        "singleSignOnSettings": {
            "enableCaseInsensitiveFederationID": False,
            "enableForceDelegatedCallout": False,
            "enableMultipleSamlConfigs": True,
            "enableSamlJitProvisioning": False,
            "enableSamlLogin": strong,
            "isLoginWithSalesforceCredentialsDisabled": False,
        },
    }


def _password_policies(strong: bool) -> Blob:
    return {
        "apiOnlyUserHomePageURL": "",
        "complexity": "SpecialCharacters" if strong else "AlphaNumeric",
        "expiration": "NinetyDays",
        "historyRestriction": "5" if strong else "3",
        "lockoutInterval": "ThirtyMinutes" if strong else "FifteenMinutes",
        "maxLoginAttempts": "ThreeAttempts" if strong else "TenAttempts",
        "minimumPasswordLength": "12" if strong else "8",
        "minimumPasswordLifetime": strong,
        "obscureSecretAnswer": strong,
        "passwordAssistanceMessage": "",
        "passwordAssistanceURL": "",
        "questionRestriction": "DoesNotContainPassword",
    }


def _session_settings(strong: bool) -> Blob:
    flags: Blob = dict.fromkeys(_SESSION_ON_WHEN_STRONG, strong)
    flags |= dict.fromkeys(_SESSION_ON, True)
    flags |= dict.fromkeys(_SESSION_OFF, False)
    flags |= dict.fromkeys(_SESSION_ON_WHEN_WEAK, not strong)
    return flags | {
        "referrerPolicyDirective": "originWhenCrossOrigin",
        "sessionTimeout": "TwoHours" if strong else "EightHours",
        "untrustedRedirect": "NeverAllowed" if strong else "AlwaysAllowed",
        "vfInlineScriptInjection": "NeverAllow" if strong else "Allow",
    }


def _apps(strong: bool) -> dict[str, Blob]:
    return {
        "ConnectedAppSettings": {
            "enableAdminApprovedAppsOnly": strong,
            "enableAdminApprovedAppsOnlyForExternalUser": strong,
        },
        "OauthOidcSettings": {
            "blockOAuthUnPwFlow": strong,
            "blockOAuthUsrAgtFlow": strong,
            "isPkceRequired": strong,
            "oAuthCdCrdtFlowEnable": True,
        },
        "ExternalClientAppSettings": {
            "enableConsumerSecretApiAccess": not strong,
            "enableClientSecretInRestApiAccess": not strong,
            "enablePackageEcaOauthFromDevOrg": False,
        },
        "MyDomainSettings": {
            "canOnlyLoginWithMyDomainUrl": strong,
            "doesApiLoginRequireOrgDomain": strong,
            "isFirstPartyCookieUseRequired": strong,
            "isInstancedApiTrafficBlocked": strong,
        },
        "ApexSettings": {
            "enableAuraApexCtrlGuestUserAccessCheckPref": True,
            "enableAuraApexCtrlAuthUserAccessCheckPref": strong,
            "enableSecureNoArgConstructorPref": strong,
            "enableRestrictCommunityExecAnon": strong,
        },
    }


def _data(strong: bool) -> dict[str, Blob]:
    return {
        "SharingSettings": {
            "enableExternalSharingModel": True,
            "enableRestrictAccessLookupRecords": strong,
            "enablePortalUserVisibility": not strong,
            "enableCommunityUserVisibility": not strong,
            "enableManualUserRecordSharing": False,
            "enableSecureGuestAccess": True,
        },
        "FileUploadAndDownloadSecuritySettings": {
            "noHtmlUploadAsAttachment": strong,
            "dispositions": [
                {"fileType": "HTML", "behavior": "DOWNLOAD" if strong else "HYBRID", "securityRiskFileType": True},
                {"fileType": "SVG", "behavior": "DOWNLOAD" if strong else "HYBRID", "securityRiskFileType": True},
                {"fileType": "PDF", "behavior": "HYBRID", "securityRiskFileType": False},
            ],
        },
        "UserManagementSettings": {
            "enableEnhancedConcealPersonalInfo": strong,
            "enableConcealPersonalInfo": strong,
            "enableRestrictEmailDomains": strong,
            "enableProfileFiltering": False,
            "enableScrambleUserData": False,
            "restrictedProfileCloning": strong,
        },
        "ContentSettings": {
            "enableContentDistribution": True,
            "enableContentDistPwOptionsBit1": strong,
            "enableContentDistPwOptionsBit2": strong,
            "enableSiteGuestUserToUploadFiles": not strong,
            "IsMaliciousFileNotificationsEnabled": strong,
        },
        "PlatformEncryptionSettings": {
            "enableEncryptFieldHistory": strong,
            "enableEventBusEncryption": strong,
            "isUseHighAssuranceKeysRequired": strong,
        },
        "EncryptionKeySettings": {"enableReplayDetection": strong, "enableCacheOnlyKeys": False},
    }


def _monitoring(strong: bool) -> dict[str, Blob]:
    return {
        "EventSettings": {
            "enableEventLogGeneration": strong,
            "enableDeleteMonitoringData": not strong,
            "enableTransactionSecurityPolicies": strong,
            "enableLoginForensics": strong,
            "eventLogRetentionDuration": "365" if strong else "30",
        },
        "EmailAdministrationSettings": {
            "enableRestrictTlsToDomains": strong,
            "enableVerifyEmailDomainByDkim": strong,
            "enableEmailSpfCompliance": True,
            "enableEmailSenderIdCompliance": strong,
        },
        "CommunitiesSettings": {
            "enableNetworksEnabled": True,
            "enableGuestSecurityOptOutCruc": not strong,
            "enableGuestPermDisOptOutCruc": not strong,
            "enableGuvSecurityOptOutPref": False,
        },
    }


def leaves(node: Blob, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of every field; a list is one value."""
    for name, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def like(old: Any, new: Any, name: str) -> Any:  # noqa: ANN401 - any JSON
    """`new` in the type of `old`: `true` and `false` become booleans. Raises ValueError when it does not fit."""
    if isinstance(old, bool):
        text = str(new).lower()
        if text not in ("true", "false"):
            raise ValueError(f"{name} is true or false, not {new!r}")
        return text == "true"
    if isinstance(old, datetime):
        return _moment(new, name)
    if isinstance(old, int | float):
        return _number(new, name)
    if isinstance(old, list):
        return _list(new, name)
    known = CHOICES.get(name.rsplit(".", 1)[-1])
    if known is not None and str(new) not in known:
        raise ValueError(f"{name} is one of {', '.join(known)}, not {new!r}")
    return new if new is None else str(new)


def _moment(new: Any, name: str) -> datetime:  # noqa: ANN401
    try:
        found = datetime.fromisoformat(str(new))
    except ValueError as error:
        raise ValueError(
            f"{name} is a date and time with its zone, such as 2027-01-31T00:00:00Z, not {new!r}"
        ) from error
    if found.tzinfo is None:
        raise ValueError(f"{name} needs its zone: 2027-01-31T00:00:00Z, not {new!r}")
    return found


def _number(new: Any, name: str) -> int:  # noqa: ANN401
    try:
        return int(str(new))
    except ValueError as error:
        raise ValueError(f"{name} is a number, not {new!r}") from error


def _list(new: Any, name: str) -> list[Any]:  # noqa: ANN401
    if not isinstance(new, list):
        raise ValueError(f"{name} is a list, not {new!r}")
    return new
