"""The data of a simulated Salesforce org: settings, users and what belongs to them, made from their number."""

import copy
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from plumbline_simulators.control_plane import UnknownSettingError
from plumbline_simulators.credentials import Tokens
from plumbline_simulators.tables import Row, Table, generated, listed

Seed = Literal["weak", "strong", "restricted"]

_FLAGS_ON_WHEN_STRONG = (
    "enableClickjackNonsetupSFDC", "enableClickjackNonsetupUser", "enableClickjackNonsetupUserHeaderless",
    "enableClickjackSetup", "enableContentSniffingProtection", "enableCSPOnEmail", "enableCSRFOnGet",
    "enableCSRFOnPost", "enableSMSIdentity", "enforceIpRangesEveryRequest", "forceLogoutOnSessionTimeout",
    "forceRelogin", "identityConfirmationOnEmailChange", "identityConfirmationOnTwoFactorRegistrationEnabled",
    "lockSessionsToDomain", "requireHttpOnly", "terminateUserSessionsWhenAdminResetsPassword",
    "enableMFADirectUILoginOptIn", "enableU2F", "enableBuiltInAuthenticator", "lockSessionsToIp",
)  # fmt: skip
_ON_EVEN_WHEN_WEAK = {
    "enableContentSniffingProtection",
    "enableClickjackSetup",
    "enableSMSIdentity",
    "enableCSRFOnPost",
}
PRIVILEGES = ("ModifyAllData", "ViewAllData", "ManageUsers", "AuthorApex", "CustomizeApplication")
_HIDDEN_WHEN_RESTRICTED = frozenset({"TwoFactorMethodsInfo", "RemoteProxy", "SetupAuditTrail"})


def _security_settings(seed: Seed) -> dict[str, Any]:
    strong = seed == "strong"
    session: dict[str, Any] = {name: strong or name in _ON_EVEN_WHEN_WEAK for name in _FLAGS_ON_WHEN_STRONG}
    session |= {
        "enableCacheAndAutocomplete": not strong,
        "sessionTimeout": "TwoHours" if strong else "EightHours",
        "canConfirmIdentityBySmsOnly": False,
        "referrerPolicy": True,
    }
    passwords = {
        "complexity": "SpecialCharacters" if strong else "AlphaNumeric",
        "expiration": "NinetyDays",
        "historyRestriction": "5" if strong else "3",
        "lockoutInterval": "ThirtyMinutes" if strong else "FifteenMinutes",
        "maxLoginAttempts": "ThreeAttempts" if strong else "TenAttempts",
        "minimumPasswordLength": "12" if strong else "8",
        "minimumPasswordLifetime": strong,
        "obscureSecretAnswer": strong,
        "questionRestriction": "DoesNotContainPassword",
    }
    return {
        "canUsersGrantLoginAccess": True,
        "enableAdminLoginAsAnyUser": not strong,
        "networkAccess": {"ipRanges": [{"description": "HQ", "start": "203.0.113.0", "end": "203.0.113.255"}]},
        "passwordPolicies": passwords,
        "sessionSettings": session,
        "singleSignOnSettings": {
            "enableSamlLogin": strong,
            "enableMultipleSamlConfigs": True,
            "isLoginWithSalesforceCredentialsDisabled": False,
        },
    }


def user_id(number: int) -> str:
    """The 18-character id of user `number`; ids ascend with the number."""
    return f"005{number:012d}AAA"


def user_number(record_id: str) -> int:
    """The inverse of `user_id`; -1 for anything that sorts before the first."""
    digits = record_id[3:15]
    return int(digits) if record_id.startswith("005") and digits.isdigit() else -1


class Org:
    """One simulated org. `users` counts all user records, active or not."""

    def __init__(self, *, seed: Seed = "weak", users: int = 60, now: datetime | None = None) -> None:
        self.seed = seed
        self.user_count = users
        self.now = now or datetime.now(UTC)
        self.tokens = Tokens()
        self.security_settings = _security_settings(seed)
        self.remote_sites = self._seed_remote_sites()
        self.user_changes: dict[str, dict[str, Any]] = {}
        self.audit_trail: list[Row] = []
        self._audit("organizationCreated", "Company Information", "Org was set up", self.now - timedelta(days=400))

    @property
    def hidden(self) -> frozenset[str]:
        """Objects that the integration user may not read."""
        return _HIDDEN_WHEN_RESTRICTED if self.seed == "restricted" else frozenset()

    def expire_tokens(self) -> None:
        """Make every issued token invalid."""
        self.tokens.expire_all()

    def settings(self) -> dict[str, Any]:
        """Dotted setting name to value."""
        found = dict(_leaves(self.security_settings))
        found |= {
            f"remoteSites.{name}.protocolMismatch": row["ProtocolMismatch"] for name, row in self.remote_sites.items()
        }
        return found

    def change(self, name: str, value: Any) -> None:  # noqa: ANN401 - any JSON
        """Change one setting as an administrator would; see `control_plane.Settable`."""
        if name.startswith("remoteSites."):
            self._change_remote_site(name, value)
        elif name.startswith("users."):
            self._change_user(name, value)
        else:
            name = self._change_security_setting(name, value)
        self._audit(name.rsplit(".", 1)[-1], "Security Controls", f"{name} is now {value}", datetime.now(UTC))

    def _change_security_setting(self, name: str, value: Any) -> str:  # noqa: ANN401
        known = self.settings()
        matching = [full for full in known if full == name or full.rsplit(".", 1)[-1] == name]
        if len(matching) != 1 or matching[0].startswith("remoteSites."):
            raise UnknownSettingError(name)
        *path, last = matching[0].split(".")
        node = self.security_settings
        for step in path:
            node = node[step]
        node[last] = _like(node[last], value, name)
        return matching[0]

    def _change_user(self, name: str, value: Any) -> None:  # noqa: ANN401
        """`users.NAME.FIELD`, for the fields that are true or false."""
        username, _, field = name.removeprefix("users.").rpartition(".")
        digits = username.removeprefix("user").partition("@")[0]
        number = 0 if username == self.username(0) else int(digits) if digits.isdecimal() else -1
        if not 0 <= number < self.user_count or self.username(number) != username or field not in CHANGEABLE:
            raise UnknownSettingError(name)
        self.user_changes.setdefault(username, {})[field] = _like(True, value, name)

    def _change_remote_site(self, name: str, value: Any) -> None:  # noqa: ANN401
        site, _, field = name.removeprefix("remoteSites.").rpartition(".")
        if site not in self.remote_sites or field != "protocolMismatch":
            raise UnknownSettingError(name)
        self.remote_sites[site]["ProtocolMismatch"] = _like(True, value, name)

    def _audit(self, action: str, section: str, display: str, at: datetime) -> None:
        number = len(self.audit_trail)
        self.audit_trail.append(
            {
                "Id": f"0Ym{number:012d}AAA",
                "Action": action,
                "Section": section,
                "Display": display,
                "CreatedDate": at,
                "CreatedById": user_id(1),
                "CreatedBy": {"Username": self.username(1)},
                "DelegateUser": None,
            }
        )

    def _seed_remote_sites(self) -> dict[str, Row]:
        sites = {"Maps": ("https://maps.example.com", False), "Billing": ("https://billing.example.com", False)}
        if self.seed != "strong":
            sites["OldErp"] = ("http://erp.example.com", True)
        return {
            name: {
                "Id": f"0rp{number:012d}AAA",
                "SiteName": name,
                "EndpointUrl": url,
                "IsActive": True,
                "ProtocolMismatch": mismatch,
                "NamespacePrefix": None,
            }
            for number, (name, (url, mismatch)) in enumerate(sorted(sites.items()))
        }

    def username(self, number: int) -> str:
        """The login name of user `number`; 0 is the integration user."""
        return "integration@example.com" if number == 0 else f"user{number:06d}@example.com"

    def is_administrator(self, number: int) -> bool:
        """Users 1 to 3 of a strong org and 1 to 12 of any other are system administrators."""
        return 1 <= number <= (3 if self.seed == "strong" else 12)

    def user(self, number: int) -> Row | None:
        """The User row, as the API shows it."""
        kind, profile, licence = self._kind(number)
        created = self.now - timedelta(days=40 + number % 900)
        never = number % 97 == 5 and not self.is_administrator(number)
        idle = number % 30 if self.seed == "strong" or number % 4 else 120 + number % 200
        row = {
            "Id": user_id(number),
            "Username": self.username(number),
            "Name": f"User {number}",
            "Email": self.username(number),
            "IsActive": True,
            "UserType": kind,
            "ProfileId": f"00e{len(profile):012d}AAA",
            "Profile": {"Name": profile, "UserLicense": {"LicenseDefinitionKey": licence, "Name": licence}},
            "LastLoginDate": None if never else self.now - timedelta(days=idle, hours=1),
            "LastPasswordChangeDate": created,
            "CreatedDate": created,
            "FederationIdentifier": f"f{number}" if number % 11 == 0 and number else None,
        }
        return row | self.user_changes.get(self.username(number), {})

    def _kind(self, number: int) -> tuple[str, str, str]:
        if number == 0:
            return "Standard", "Minimum Access - API Only Integrations", "PID_Salesforce_Integration"
        if self.is_administrator(number):
            return "Standard", "System Administrator", "SFDC"
        if number % 59 == 58:
            return "Guest", "Portal Guest Profile", "PID_Guest_User"
        return "Standard", "Sales User", "SFDC"

    def login_state(self, number: int) -> Row:
        """The UserLogin row."""
        changed = self.user_changes.get(self.username(number), {})
        frozen = changed.get("IsFrozen", number % 50 == 49)
        return {"Id": f"0Yw{number:012d}AAA", "UserId": user_id(number), "IsFrozen": frozen, "IsPasswordLocked": False}

    def methods(self, number: int) -> Row | None:
        """The TwoFactorMethodsInfo row; None for users without any method."""
        if number == 0 or (self.seed != "strong" and number % 3):
            return None
        strong_method = self.seed == "strong" or (self.is_administrator(number) and number % 2 == 0)
        row: Row = dict.fromkeys(METHOD_COLUMNS, False)
        row |= {"UserId": user_id(number), "HasTotp": True, "HasSecurityKey": strong_method}
        return row | {k: v for k, v in self.user_changes.get(self.username(number), {}).items() if k in row}

    def assignments(self) -> Iterator[Row]:
        """PermissionSetAssignment rows of users with privileged permissions, one per grant path."""
        for number in range(self.user_count):
            if self.is_administrator(number):
                yield self._assignment(number, "X00eAdministrator", PRIVILEGES)
                if number == 1:
                    yield self._assignment(number, "Data_Steward", ("ViewAllData",))
            elif number % 500 == 7 and number > 12:
                yield self._assignment(number, "Data_Steward", ("ViewAllData",))

    def _assignment(self, number: int, label: str, held: tuple[str, ...]) -> Row:
        user = self.user(number) or {}
        return {
            "Id": f"0Pa{number:09d}{len(held):03d}AAA",
            "AssigneeId": user_id(number),
            "Assignee": {
                "Username": user["Username"],
                "IsActive": True,
                "UserType": user["UserType"],
                "Profile": user["Profile"],
            },
            "PermissionSetId": f"0PS{len(held):012d}AAA",
            "PermissionSet": {
                "Label": label,
                "Type": "Profile" if label.startswith("X00e") else "Regular",
                "IsOwnedByProfile": label.startswith("X00e"),
                **{f"Permissions{name}": name in held for name in PRIVILEGES},
                "PermissionsApiUserOnly": False,
            },
            "PermissionSetGroupId": None,
            "ExpirationDate": None,
        }

    def organization(self) -> Row:
        """The Organization row."""
        return {
            "Id": "00D000000000001EAA",
            "Name": "Example Org",
            "OrganizationType": "Enterprise Edition",
            "IsSandbox": False,
            "InstanceName": "EX1",
            "NamespacePrefix": None,
            "TrialExpirationDate": None,
        }

    def tables(self) -> dict[str, Table]:
        """Objects of the REST query API."""
        count = self.user_count
        users = generated("User", USER_COLUMNS, count, self.user, "Id", user_number)
        logins = generated("UserLogin", LOGIN_COLUMNS, count, self.login_state, "UserId", user_number)
        methods = generated("TwoFactorMethodsInfo", METHOD_COLUMNS, count, self.methods, "UserId", user_number)
        assignments = Table("PermissionSetAssignment", ASSIGNMENT_COLUMNS, lambda _: self.assignments(), "Id")
        organization = listed("Organization", self.organization(), [self.organization()], "Id")
        trail = listed("SetupAuditTrail", AUDIT_COLUMNS, self.audit_trail, "Id")
        rights = listed("UserPermissionAccess", RIGHTS, [self.rights()], "LastCacheUpdate")
        return {t.name: t for t in (users, logins, methods, assignments, organization, trail, rights)}

    def rights(self) -> Row:
        """The caller's own permissions, one row."""
        held = {
            "PermissionsApiEnabled",
            "PermissionsViewSetup",
            "PermissionsViewAllUsers",
            "PermissionsViewHealthCheck",
        }
        if self.seed != "restricted":
            held.add("PermissionsManageTwoFactor")
        return {"LastCacheUpdate": self.now, **{name: name in held for name in RIGHTS if name != "LastCacheUpdate"}}

    def tooling_tables(self) -> dict[str, Table]:
        """Objects of the Tooling query API."""
        settings = {"DurableId": "000000000000000AAA", "Metadata": copy.deepcopy(self.security_settings)}
        sites = listed("RemoteProxy", SITE_COLUMNS, self.remote_sites.values(), "Id")
        return {"SecuritySettings": listed("SecuritySettings", settings, [settings], "DurableId"), "RemoteProxy": sites}


def _leaves(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        elif not isinstance(value, list):
            yield prefix + name, value


def _like(old: Any, new: Any, name: str) -> Any:  # noqa: ANN401
    """`new` in the type of `old`: `true` and `false` become booleans. Raises ValueError when it does not fit."""
    if isinstance(old, bool):
        text = str(new).lower()
        if text not in ("true", "false"):
            raise ValueError(f"{name} is true or false, not {new!r}")
        return text == "true"
    known = _CHOICES.get(name.rsplit(".", 1)[-1])
    if known is not None and str(new) not in known:
        raise ValueError(f"{name} is one of {', '.join(known)}, not {new!r}")
    return str(new)


_CHOICES = {
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
}  # fmt: skip
USER_COLUMNS = (
    "Id", "Username", "Name", "Email", "IsActive", "UserType", "ProfileId", "Profile.Name",
    "Profile.UserLicense.LicenseDefinitionKey", "Profile.UserLicense.Name", "LastLoginDate", "LastPasswordChangeDate",
    "CreatedDate", "FederationIdentifier",
)  # fmt: skip
LOGIN_COLUMNS = ("Id", "UserId", "IsFrozen", "IsPasswordLocked")
METHOD_COLUMNS = (
    "UserId", "HasSecurityKey", "HasU2F", "HasBuiltInAuthenticator", "HasSalesforceAuthenticator", "HasTotp",
    "HasTempCode", "HasUserVerifiedMobileNumber", "HasVerifiedMobileNumber", "HasUserVerifiedEmailAddress",
)  # fmt: skip
CHANGEABLE = ("IsActive", "IsFrozen", *METHOD_COLUMNS[1:])
ASSIGNMENT_COLUMNS = frozenset(
    {
        "Id", "AssigneeId", "Assignee.Username", "Assignee.IsActive", "Assignee.UserType", "Assignee.Profile.Name",
        "PermissionSetId", "PermissionSet.Label", "PermissionSet.Type", "PermissionSet.IsOwnedByProfile",
        "PermissionSetGroupId", "ExpirationDate", "PermissionSet.PermissionsApiUserOnly",
        *(f"PermissionSet.Permissions{name}" for name in PRIVILEGES),
    }
)  # fmt: skip
AUDIT_COLUMNS = (
    "Id", "Action", "Section", "Display", "CreatedDate", "CreatedById", "CreatedBy.Username", "DelegateUser",
)  # fmt: skip
SITE_COLUMNS = ("Id", "SiteName", "EndpointUrl", "IsActive", "ProtocolMismatch", "NamespacePrefix")
RIGHTS = (
    "LastCacheUpdate", "PermissionsApiEnabled", "PermissionsViewSetup", "PermissionsViewAllUsers",
    "PermissionsViewHealthCheck", "PermissionsManageTwoFactor", "PermissionsMonitorLoginHistory",
    "PermissionsModifyAllData", "PermissionsViewAllData",
)  # fmt: skip
