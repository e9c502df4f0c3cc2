"""Users and what hangs on them: logins, methods, grants, tokens, sessions. Every row is made from its number."""

from collections.abc import Callable
from datetime import datetime, timedelta

from plumbline_simulators.salesforce.entity import Entity, record_id, through
from plumbline_simulators.salesforce.permissions import columns as permission_columns
from plumbline_simulators.salesforce.permissions import permission_set_rows, profile_rows, translated
from plumbline_simulators.salesforce.shape import CALLER, EXTENDED_RIGHTS, Shape
from plumbline_simulators.tables import Row

METHODS = (
    "HasSecurityKey", "HasU2F", "HasBuiltInAuthenticator", "HasSalesforceAuthenticator", "HasTotp", "HasTempCode",
    "HasUserVerifiedMobileNumber", "HasVerifiedMobileNumber", "HasUserVerifiedEmailAddress",
)  # fmt: skip
CHANGEABLE = ("IsActive", "IsFrozen", *METHODS)
PROFILE_COLUMNS = frozenset({"Id", "Name", "UserType", "UserLicense.Name", "UserLicense.LicenseDefinitionKey"})
USER_COLUMNS = frozenset(
    {
        "Id", "Username", "Name", "Email", "IsActive", "UserType", "ProfileId", "LastLoginDate",
        "LastPasswordChangeDate", "CreatedDate", "FederationIdentifier", *through("Profile", PROFILE_COLUMNS),
    }
)  # fmt: skip
_GROUP_ID = record_id("0PG", 0)
_FIXED_SLOTS = 4
_APPS_OUTSIDE = ("Data Loader", "Old Importer", "Salesforce CLI")
_HISTORY_DAYS = 180


def user_id(number: int) -> str:
    """The 18-character id of user `number`; ids ascend with the number."""
    return record_id("005", number)


class People:
    """The users of an org."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.profiles = profile_rows(shape)
        self.permission_sets = permission_set_rows(shape, self.profiles)
        self._bulk = [row for name, row in self.permission_sets.items() if name.startswith("Feature_")]

    @property
    def own_permission_sets(self) -> dict[str, Row]:
        """The permission sets that are no profile's shadow and do more than fill rows."""
        sets = self.permission_sets.items()
        return {name: row for name, row in sets if not row["IsOwnedByProfile"] and row not in self._bulk}

    def mirror_profiles(self) -> None:
        """Give each profile's shadow the permissions that the profile has now."""
        for row in self.permission_sets.values():
            if row["Profile"]:
                row |= {name: row["Profile"][name] for name in permission_columns(self.shape)}

    def username(self, number: int) -> str:
        """The login name of user `number`; 0 is the integration user."""
        return "integration@example.com" if number == CALLER else f"user{number:06d}@example.com"

    def is_administrator(self, number: int) -> bool:
        """Users 1 to 3 of a strong org and 1 to 12 of any other are system administrators."""
        return 1 <= number <= (3 if self.shape.is_strong else 12)

    def profile_of(self, number: int) -> str:
        """The English name of the user's profile."""
        if number == CALLER:
            return "Minimum Access - API Only Integrations"
        if self.is_administrator(number):
            return "System Administrator"
        return "Portal Guest Profile" if number % 59 == 58 else "Sales User"

    def user(self, number: int) -> Row:
        """The User row."""
        profile, now = self.profiles[self.profile_of(number)], self.shape.now
        created = now - timedelta(days=40 + number % 900)
        never = number % 97 == 5 and not self.is_administrator(number)
        idle = number % 30 if self.shape.is_strong or number % 4 else 120 + number % 200
        row = {
            "Id": user_id(number),
            "Username": self.username(number),
            "Name": f"User {number}",
            "Email": self.username(number),
            "IsActive": True,
            "UserType": profile["UserType"],
            "ProfileId": profile["Id"],
            "Profile": profile,
            "LastLoginDate": None if never else now - timedelta(days=idle, hours=1),
            "LastPasswordChangeDate": created,
            "CreatedDate": created,
            "FederationIdentifier": f"f{number}" if self.is_federated(number) else None,
        }
        return row | self._changes(number)

    def _changes(self, number: int) -> Row:
        return self.shape.user_changes.get(self.username(number), {}) if self.shape.user_changes else {}

    def is_federated(self, number: int) -> bool:
        """Whether the user is known to the identity provider."""
        return number % 11 == 0 and number != CALLER

    def users(self) -> Entity:
        """User."""
        return Entity("User", USER_COLUMNS, self.shape.users, self.user, {"Id": user_id})

    def logins(self) -> Entity:
        """UserLogin."""
        columns = frozenset({"Id", "UserId", "IsFrozen", "IsPasswordLocked"})

        def login_id(number: int) -> str:
            return record_id("0Yw", number)

        return Entity("UserLogin", columns, self.shape.users, self.login_state, {"Id": login_id, "UserId": user_id})

    def login_state(self, number: int) -> Row:
        """The UserLogin row."""
        frozen = self._changes(number).get("IsFrozen", number % 50 == 49)
        return {
            "Id": record_id("0Yw", number),
            "UserId": user_id(number),
            "IsFrozen": frozen,
            "IsPasswordLocked": False,
        }

    def methods(self, number: int) -> Row | None:
        """The TwoFactorMethodsInfo row; None for users without any method."""
        strong = self.shape.is_strong
        if number == CALLER or (not strong and number % 3):
            return None
        has_key = strong or (self.is_administrator(number) and number % 2 == 0)
        row: Row = dict.fromkeys(METHODS, False)
        row |= {"UserId": user_id(number), "HasTotp": True, "HasSecurityKey": has_key}
        return row | {name: value for name, value in self._changes(number).items() if name in row}

    def all_methods(self) -> Entity:
        """TwoFactorMethodsInfo."""
        columns = frozenset({"UserId", *METHODS})
        return Entity(
            "TwoFactorMethodsInfo", columns, self.shape.users, self.methods, {"UserId": user_id}, is_dense=False
        )

    def authenticator_codes(self) -> Entity:
        """TwoFactorInfo: users with time-based codes."""

        def make(number: int) -> Row | None:
            row = self.methods(number)
            return {"UserId": user_id(number), "Type": "TOTP"} if row and row["HasTotp"] else None

        columns = frozenset({"UserId", "Type", "SharedKey"})
        return Entity("TwoFactorInfo", columns, self.shape.users, make, {"UserId": user_id}, is_dense=False)

    def assignments(self) -> Entity:
        """PermissionSetAssignment: a row per user and grant path, so a user may stand there many times."""
        slots = self.shape.assignments_per_user + _FIXED_SLOTS - 1
        known: dict[int, Row] = {}

        def make(number: int) -> Row | None:
            user, slot = divmod(number, slots)
            granted = self._granted(user, slot)
            if granted is None:
                return None
            if user not in known:
                known.clear()
                known[user] = self.user(user)
            return _assignment(number, known[user], granted)

        columns = frozenset(
            {"Id", "AssigneeId", "PermissionSetId", "PermissionSetGroupId", "ExpirationDate"}
            | through("Assignee", USER_COLUMNS)
            | through("PermissionSet", permission_set_columns(self.shape))
        )
        key = {"Id": lambda number: record_id("0Pa", number), "AssigneeId": lambda number: user_id(number // slots)}
        return Entity("PermissionSetAssignment", columns, self.shape.users * slots, make, key, is_dense=False)

    def _granted(self, user: int, slot: int) -> Row | None:
        """The permission set that the user holds by this path: the profile, fixed sets, then plain ones."""
        sets = self.permission_sets
        if slot == 0:
            return sets[f"X00e{int(self.profiles[self.profile_of(user)]['Id'][3:15]):011d}"]
        if slot < _FIXED_SLOTS:
            name = self._fixed(user, slot)
            return sets[name] if name else None
        return self._bulk[(user + slot) % len(self._bulk)]

    def _fixed(self, user: int, slot: int) -> str | None:
        """The set in one of the slots 1 to 3."""
        if user == CALLER:
            extended = self.shape.held >= EXTENDED_RIGHTS
            return {1: "SSPM_Base", 2: "SSPM_Extended" if extended else None}.get(slot)
        if slot == 1:
            is_steward = user == 1 or (user % 500 == 7 and user > 12)
            return "Data_Steward" if is_steward else "Single_Sign_On" if self.is_federated(user) else None
        if slot == 2:
            return {1: "Break_Glass", 2: "Release_Managers", 3: "Release_Managers"}.get(user)
        return self._weakness(user)

    def _weakness(self, user: int) -> str | None:
        if self.shape.is_strong:
            return None
        if self.profile_of(user) == "Portal Guest Profile":
            return "Site_Visitors"
        return {13: "MFA_Waiver", 14: "Any_Client", 15: "Report_Exporter"}.get(user % 200)

    def oauth_tokens(self, managed: list[Row]) -> Entity:
        """OauthToken, oldest first; `managed` are the connected apps of the org. The rest is of nobody's apps."""
        made, count = self.shape.now - timedelta(days=700), max(self.shape.oauth_tokens, 1)

        def created(number: int) -> datetime:
            return _to_the_second(made + timedelta(days=690) * (number / count))

        def make(number: int) -> Row:
            app = managed[number % len(managed)] if managed and number % 5 else None
            name = app["Name"] if app else _APPS_OUTSIDE[number % len(_APPS_OUTSIDE)]
            unused = number % 4 == 3 and not self.shape.is_strong
            return {
                "Id": record_id("0CQ", number),
                "AppName": name,
                "AppMenuItemId": app["AppMenuItem"]["Id"] if app else None,
                "AppMenuItem": app["AppMenuItem"] if app else None,
                "UserId": user_id(number % max(self.shape.users, 1)),
                "CreatedDate": created(number),
                "LastUsedDate": None if number % 9 == 8 else self.shape.now - timedelta(days=200 if unused else 5),
                "UseCount": number % 40,
                **dict.fromkeys(("AccessToken", "RequestToken", "DeleteToken"), SECRET),
            }

        tokens = self.shape.oauth_tokens if self.shape.users else 0
        return Entity("OauthToken", TOKEN_COLUMNS, tokens, make, {"Id": _ids("0CQ"), "CreatedDate": created})

    def login_history(self) -> Entity:
        """LoginHistory of half a year, oldest first."""
        count = self.shape.users * self.shape.logins_per_user
        at = self._evenly(count)

        def make(number: int) -> Row:
            user = number % self.shape.users
            weak = user % 10 == 9 and not self.shape.is_strong
            kind, flow, api = self._way_in(user, weak=weak)
            return {
                "Id": record_id("0Ya", number),
                "UserId": user_id(user),
                "LoginTime": at(number),
                "LoginType": kind,
                "LoginSubType": flow,
                "Status": "Invalid Password" if number % 23 == 22 else "Success",
                "Application": "Data Loader" if weak else "Browser",
                "SourceIp": f"203.0.113.{user % 250}",
                "CountryIso": "DE",
                "TlsProtocol": "TLS 1.0" if weak and user % 20 == 19 else "TLS 1.3",
                "AuthMethodReference": None,
                "ApiType": api,
            }

        return Entity("LoginHistory", LOGIN_COLUMNS, count, make, {"Id": _ids("0Ya"), "LoginTime": at})

    def _way_in(self, user: int, *, weak: bool) -> tuple[str, str | None, str | None]:
        """Type, sub-type and API of a user's logins: weak ones are half by SOAP, half by OAuth with a password."""
        if weak and user % 20 == 19:
            return translated("Other Apex API", self.shape.language), None, "SOAP Partner"
        if weak:
            return "Remote Access 2.0", "OauthUsernamePassword", None
        if user == CALLER:
            return "Remote Access 2.0", "OauthClientCredentials", None
        return translated("Application", self.shape.language), None, None

    def verifications(self) -> Entity:
        """VerificationHistory of half a year, oldest first: one per user."""
        at = self._evenly(self.shape.users)

        def make(number: int) -> Row:
            strong = self.shape.is_strong or (self.is_administrator(number) and number % 2 == 0)
            return {
                "Id": record_id("0Y4", number),
                "UserId": user_id(number),
                "VerificationMethod": "U2F" if strong else "TOTP" if number % 3 == 0 else "Email",
                "VerificationTime": at(number),
                "Activity": "Login",
                "Policy": "DeviceActivation",
                "Status": "Denied" if number % 41 == 40 else "Succeeded",
            }

        columns = frozenset(make(0))
        return Entity(
            "VerificationHistory", columns, self.shape.users, make, {"Id": _ids("0Y4"), "VerificationTime": at}
        )

    def sessions(self) -> Entity:
        """AuthSession: every third user is logged in, the integration user with them."""

        def make(number: int) -> Row:
            started = self.shape.now - timedelta(minutes=number % 120)
            return {
                "Id": record_id("0Ak", number),
                "UsersId": user_id(number * 3),
                "SessionType": "Oauth2" if number == 0 else "UI",
                "LoginType": "Remote Access 2.0" if number == 0 else "Application",
                "SourceIp": f"203.0.113.{number % 250}",
                "SessionSecurityLevel": "HIGH_ASSURANCE" if self.shape.is_strong else "STANDARD",
                "NumSecondsValid": 7200 if self.shape.is_strong else 28800,
                "CreatedDate": started,
                "LastModifiedDate": started,
            }

        return Entity("AuthSession", frozenset(make(0)), (self.shape.users + 2) // 3, make, {"Id": _ids("0Ak")})

    def login_addresses(self) -> Entity:
        """LoginIp."""

        def make(number: int) -> Row:
            return {
                "Id": record_id("710", number),
                "UsersId": user_id(number),
                "SourceIp": f"203.0.113.{number % 250}",
                "IsAuthenticated": number % 13 != 12,
                "ChallengeMethod": "Email",
                "CreatedDate": self.shape.now - timedelta(days=number % 300),
            }

        return Entity("LoginIp", frozenset(make(0)), self.shape.users, make, {"Id": _ids("710")})

    def _evenly(self, count: int) -> Callable[[int], datetime]:
        """Moments of the last half year by number, rising."""
        oldest = self.shape.now - timedelta(days=_HISTORY_DAYS)
        return lambda number: _to_the_second(oldest + timedelta(days=_HISTORY_DAYS) * (number / max(count, 1)))


def permission_set_columns(shape: Shape) -> frozenset[str]:
    """The columns of PermissionSet."""
    plain = {"Id", "Name", "Label", "Type", "IsOwnedByProfile", "IsCustom", "NamespacePrefix", "ProfileId"}
    return frozenset(plain | through("Profile", PROFILE_COLUMNS) | set(permission_columns(shape)))


def _assignment(number: int, user: Row, granted: Row) -> Row:
    return {
        "Id": record_id("0Pa", number),
        "AssigneeId": user["Id"],
        "Assignee": user,
        "PermissionSetId": granted["Id"],
        "PermissionSet": granted,
        "PermissionSetGroupId": _GROUP_ID if granted["Type"] == "Group" else None,
        "ExpirationDate": None,
    }


def _to_the_second(moment: datetime) -> datetime:
    """The API knows no fractions of a second, so what follows a moment must be later by a whole one."""
    return moment.replace(microsecond=0)


def _ids(prefix: str) -> Callable[[int], str]:
    return lambda number: record_id(prefix, number)


SECRET = "simulated-secret-column"  # noqa: S105 - what no reader may ever ask for
TOKEN_COLUMNS = frozenset(
    {
        "Id", "AppName", "AppMenuItemId", "AppMenuItem.IsUsingAdminAuthorization", "AppMenuItem.ApplicationId",
        "UserId", "CreatedDate", "LastUsedDate", "UseCount", "AccessToken", "RequestToken", "DeleteToken",
    }
)  # fmt: skip
LOGIN_COLUMNS = frozenset(
    {
        "Id", "UserId", "LoginTime", "LoginType", "LoginSubType", "Status", "Application", "SourceIp", "CountryIso",
        "TlsProtocol", "AuthMethodReference", "ApiType",
    }
)  # fmt: skip
