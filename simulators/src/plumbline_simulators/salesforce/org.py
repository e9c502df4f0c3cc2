"""A simulated Salesforce org: what it holds, what its integration user may see of it, and how it is changed."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from plumbline_simulators.control_plane import UnknownSettingError
from plumbline_simulators.credentials import Tokens
from plumbline_simulators.salesforce import estate, health_check, settings
from plumbline_simulators.salesforce.entity import Entity, listed, record_id, through
from plumbline_simulators.salesforce.objects import entity_definitions, sharing_models
from plumbline_simulators.salesforce.people import (
    CHANGEABLE,
    PROFILE_COLUMNS,
    SECRET,
    People,
    permission_set_columns,
    user_id,
)
from plumbline_simulators.salesforce.permissions import columns as permission_columns
from plumbline_simulators.salesforce.shape import CALLER, Seed, Shape
from plumbline_simulators.tables import Row

_NEEDS = {
    "TwoFactorMethodsInfo": "PermissionsManageTwoFactor",
    "TwoFactorInfo": "PermissionsManageTwoFactor",
    "TenantSecret": "PermissionsManageEncryptionKeys",
    "EventLogFile": "PermissionsViewEventLogFiles",
}
"""Objects that do not exist for a caller without the permission."""
_OWN_ROWS_WITHOUT: dict[str, tuple[str, tuple[str, ...]]] = {
    "User": ("Id", ("ViewAllUsers",)),
    "UserLogin": ("UserId", ("ViewAllUsers",)),
    "PermissionSetAssignment": ("AssigneeId", ("ViewAllUsers",)),
    "OauthToken": ("UserId", ("CustomizeApplication",)),
    "LoginHistory": ("UserId", ("MonitorLoginHistory", "ManageUsers")),
    "VerificationHistory": ("UserId", ("MonitorLoginHistory", "ManageUsers")),
    "LoginIp": ("UsersId", ("MonitorLoginHistory", "ManageUsers")),
    "AuthSession": ("UsersId", ("ManageUsers",)),
    "ContentDistribution": ("OwnerId", ("ViewAllData",)),
}
"""Objects of which a caller with none of the permissions sees only what belongs to it, and is not told so.

For AuthSession the vendor says no more than that administrators see all; Manage Users stands for that. Links are
shared record by record; View All Data stands for that.
"""
_HIDDEN_WHEN_RESTRICTED = frozenset({"RemoteProxy", "SetupAuditTrail"})
_SHIELD_ONLY = frozenset({"TenantSecret", "TransactionSecurityPolicy"})
_AUDIT_COLUMNS = (
    "Id", "Action", "Section", "Display", "CreatedDate", "CreatedById", "CreatedBy.Username", "DelegateUser",
)  # fmt: skip
_PUBLIC = frozenset({"Read", "ReadSelect", "Edit", "ReadWrite", "ReadWriteTransfer", "FullAccess"})
_KEPT_AUDIT_ENTRIES = 40
_BASELINE_ID = record_id("0Hz", 0)


@dataclass(frozen=True)
class _Held:
    """Records that are held, by name: their object and the columns that it shows."""

    name: str
    rows: estate.Collection
    columns: frozenset[str]


class Org:
    """One simulated org. `users` counts all user records, active or not; the other options are those of `Shape`."""

    def __init__(self, *, seed: Seed = "weak", users: int = 60, now: datetime | None = None, **options: Any) -> None:  # noqa: ANN401
        moment = (now or datetime.now(UTC)).replace(microsecond=0)
        self.shape = Shape(seed=seed, users=users, now=moment, **options)
        self.tokens = Tokens()
        self.blobs = settings.blobs(seed, has_gated_features=self.shape.has_gated_features)
        self.people = People(self.shape)
        self.held = self._collections()
        self.audit_trail = _past_entries(self.shape.now, self.people.username(1))
        self._rest, self._tooling = self._rest_objects(), self._tooling_objects()

    @property
    def seed(self) -> Seed:
        """How the org is configured."""
        return self.shape.seed

    @seed.setter
    def seed(self, seed: Seed) -> None:
        self.shape.seed = seed

    @property
    def user_count(self) -> int:
        """All user records."""
        return self.shape.users

    def user(self, number: int) -> Row:
        """The User row of this number."""
        return self.people.user(number)

    def expire_tokens(self) -> None:
        """Make every issued token invalid."""
        self.tokens.expire_all()

    # -- what there is ------------------------------------------------------------------------------------------

    def object(self, name: str, *, tooling: bool = False) -> Entity | None:
        """The object as the integration user sees it; None when it does not exist for it. Any case of the name."""
        found = next((known for known in self._names(tooling=tooling) if known.lower() == name.lower()), None)
        if found is None:
            return None
        entity = (self._tooling if tooling else self._rest)[found]()
        hidden = [name.partition(".")[2] for name in self.shape.hidden_columns if name.partition(".")[0] == found]
        entity = entity.without(hidden) if hidden else entity
        column, rights = _OWN_ROWS_WITHOUT.get(found, ("", ()))
        if not rights or any(f"Permissions{right}" in self.shape.held for right in rights):
            return entity
        own = user_id(CALLER)
        if column in entity.ascending:
            return _head(entity, column, own)
        return entity.only(lambda row: row[column] == own)

    def _names(self, *, tooling: bool) -> list[str]:
        """The objects that exist for the integration user."""
        return [name for name in (self._tooling if tooling else self._rest) if self._exists(name)]

    def _exists(self, name: str) -> bool:
        if self.shape.seed == "restricted" and name in _HIDDEN_WHEN_RESTRICTED:
            return False
        if name in _SHIELD_ONLY and not self.shape.has_shield:
            return False
        if name == "Network" and not self.shape.has_experience_cloud:
            return False
        return name not in _NEEDS or _NEEDS[name] in self.shape.held

    def tables(self) -> dict[str, Entity]:
        """Objects of the REST query API that the integration user sees."""
        found = {name: self.object(name) for name in self._names(tooling=False)}
        return {name: entity for name, entity in found.items() if entity is not None}

    def tooling_tables(self) -> dict[str, Entity]:
        """Objects of the Tooling query API that the integration user sees."""
        found = {name: self.object(name, tooling=True) for name in self._names(tooling=True)}
        return {name: entity for name, entity in found.items() if entity is not None}

    def _collections(self) -> dict[str, _Held]:
        """Records that are held, by the name under which they are changed."""
        shape, people = self.shape, self.people
        apps = estate.connected_apps(shape)
        external, policies, scopes = estate.external_client_apps(shape)
        sets = people.permission_sets
        models = {
            name: {"InternalSharingModel": inside, "ExternalSharingModel": outside}
            for name, (inside, outside) in sharing_models(shape).items()
        }
        named: dict[str, tuple[str, estate.Collection]] = {
            "remoteSites": ("RemoteProxy", estate.remote_sites(shape)),
            "connectedApps": ("ConnectedApplication", apps),
            "externalClientApps": ("ExternalClientApplication", external),
            "externalClientAppPolicies": ("ExtlClntAppOauthPlcyCnfg", policies),
            "externalClientAppScopes": ("ExtlClntAppOauthSettings", scopes),
            "certificates": ("Certificate", estate.certificates(shape)),
            "sites": ("Site", estate.sites(shape)),
            "networks": ("Network", estate.networks(shape)),
            "siteDetails": ("SiteDetail", estate.site_details(shape)),
            "publicLinks": ("ContentDistribution", estate.content_distributions(shape)),
            "objectPermissions": ("ObjectPermissions", estate.object_permissions(people.profiles, sets, shape)),
            "fieldPermissions": ("FieldPermissions", estate.field_permissions(sets, shape)),
            "appAccess": ("SetupEntityAccess", estate.app_access(apps, sets)),
            "licences": ("UserLicense", estate.licences(shape)),
            "sharingModels": ("EntityDefinition", models),
            "profiles": ("Profile", people.profiles),
            "permissionSets": ("PermissionSet", people.own_permission_sets),
        }
        groups = {**estate.trusted(shape), **estate.single_sign_on(shape), **estate.packages(shape),
                  **estate.mail(shape), **estate.shield(shape)}  # fmt: skip
        named |= {name[0].lower() + name[1:]: (name, rows) for name, rows in groups.items()}
        return {key: _Held(name, rows, _plain_columns(rows)) for key, (name, rows) in named.items()}

    def _held_as(self, *names: str, without: str = "") -> dict[str, Callable[[], Entity]]:
        """How the objects of held records are made, by their names."""
        held = {collection.name: collection for collection in self.held.values()}

        def of(name: str) -> Callable[[], Entity]:
            key, collection = "DurableId" if name == "SiteDetail" else "Id", held[name]
            columns = _COLUMNS.get(name, collection.columns) - {without}
            return lambda: listed(name, columns, collection.rows.values(), key)

        return {name: of(name) for name in names}

    def _rest_objects(self) -> dict[str, Callable[[], Entity]]:
        """The objects of the REST query API and how each is made."""
        people = self.people
        return {
            "Organization": self._organization,
            "User": people.users,
            "UserLogin": people.logins,
            "TwoFactorMethodsInfo": people.all_methods,
            "TwoFactorInfo": people.authenticator_codes,
            "VerificationHistory": people.verifications,
            "LoginHistory": people.login_history,
            "AuthSession": people.sessions,
            "LoginIp": people.login_addresses,
            "PermissionSetAssignment": people.assignments,
            "OauthToken": lambda: people.oauth_tokens(list(self.held["connectedApps"].rows.values())),
            "PermissionSet": self._permission_sets,
            "Profile": self._profiles,
            "SetupAuditTrail": self._audit_entity,
            "UserPermissionAccess": self._rights,
            "EntityDefinition": self._definitions,
            "SecurityCustomBaseline": self._custom_baselines,
            **self._held_as("NamedCredential", without="NamedCredentialType"),
            **self._held_as(*_REST_ALONE, *_BOTH),
        }

    def _tooling_objects(self) -> dict[str, Callable[[], Entity]]:
        """The objects of the Tooling query API and how each is made."""
        return {
            "SecurityHealthCheck": self._health_check,
            "SecurityHealthCheckRisks": self._risks,
            "EntityDefinition": self._definitions,
            "Profile": self._profile_metadata,
            **self._held_as("NamedCredential", *_TOOLING_ALONE, *_BOTH),
            **{name: self._settings_entity(name) for name in self.blobs},
        }

    def _definitions(self) -> Entity:
        return entity_definitions(self.held["sharingModels"].rows)

    def _settings_entity(self, name: str) -> Callable[[], Entity]:
        def make() -> Entity:
            row = {"Id": "000000000000000AAA", "DurableId": "000000000000000AAA", "FullName": name,
                   "Metadata": copy.deepcopy(self.blobs[name])}  # fmt: skip
            return listed(name, row, [row])

        return make

    def _organization(self) -> Entity:
        models = self.held["sharingModels"].rows
        row = {
            "Id": "00D000000000001EAA",
            "Name": "Example Org",
            "OrganizationType": "Enterprise Edition",
            "IsSandbox": False,
            "InstanceName": "EX1",
            "NamespacePrefix": None,
            "TrialExpirationDate": None,
            **{f"Default{name}Access": _ACCESS.get(models[name]["InternalSharingModel"], "Edit") for name in _DEFAULTS},
        }
        return listed("Organization", row, [row])

    def _permission_sets(self) -> Entity:
        columns = permission_set_columns(self.shape)
        return listed("PermissionSet", columns, self.people.permission_sets.values())

    def _profiles(self) -> Entity:
        columns = PROFILE_COLUMNS | set(permission_columns(self.shape))
        return listed("Profile", columns, self.people.profiles.values())

    def _profile_metadata(self) -> Entity:
        """Profiles with their login addresses and hours, which only the Tooling API shows."""
        return listed("Profile", ("Id", "Name", "FullName", "Metadata"), (
            {"Id": row["Id"], "Name": row["Name"], "FullName": name, "Metadata": self._login_limits(name)}
            for name, row in self.people.profiles.items()
        ))  # fmt: skip

    def _login_limits(self, profile: str) -> Row:
        """Administrators of a strong org come from one network, of any other from two halves of all there is."""
        ends = [("HQ", "203.0.113.0", "203.0.113.255")]
        if not self.shape.is_strong:
            ends = [("West", "1.1.1.1", "127.255.255.255"), ("East", "128.0.0.0", "255.255.255.255")]
        ranges = [dict(zip(("description", "startAddress", "endAddress"), each, strict=True)) for each in ends]
        limited = profile == "System Administrator"
        return {"loginIpRanges": ranges if limited else [], "loginHours": None, "custom": profile == "Sales User"}

    def _audit_entity(self) -> Entity:
        trail = self.audit_trail
        by_number = {
            "Id": lambda number: trail[number]["Id"],
            "CreatedDate": lambda number: trail[number]["CreatedDate"],
        }
        return Entity("SetupAuditTrail", frozenset(_AUDIT_COLUMNS), len(trail), trail.__getitem__, by_number)

    def _rights(self) -> Entity:
        """The caller's own permissions, one row."""
        held = self.shape.held
        row = {
            "LastCacheUpdate": self.shape.now,
            **{column: column in held for column in permission_columns(self.shape)},
        }
        return listed("UserPermissionAccess", row, [row], "LastCacheUpdate")

    def _custom_baselines(self) -> Entity:
        row = {"Id": _BASELINE_ID, "DeveloperName": "Relaxed", "MasterLabel": "Relaxed", "IsDefault": True,
               "Baseline": "<SecurityHealthCheckBaseline/>"}  # fmt: skip
        return listed("SecurityCustomBaseline", row, [row] if self.shape.has_custom_baseline else [])

    def _health_check(self) -> Entity:
        row = {
            "Id": "000000000000000AAA",
            "DurableId": "0",
            "CustomBaselineId": _BASELINE_ID if self.shape.has_custom_baseline else None,
            "Score": health_check.score(self._risk_rows()),
        }
        return listed("SecurityHealthCheck", row, [row])

    def _risks(self) -> Entity:
        return listed("SecurityHealthCheckRisks", health_check.COLUMNS, self._risk_rows(), "DurableId")

    def _risk_rows(self) -> list[Row]:
        values = dict(settings.leaves(self.blobs["SecuritySettings"])) | self._figures()
        custom, language = self.shape.has_custom_baseline, self.shape.language
        return health_check.rows(values, is_custom=custom, language=language)

    def _figures(self) -> Row:
        """What Health Check counts or takes from other places than SecuritySettings."""
        rows = {name: list(collection.rows.values()) for name, collection in self.held.items()}
        session = self.blobs["SecuritySettings"]["sessionSettings"]
        blocked = self.blobs["SecuritySettings"]["redirectBlockModeEnabled"]
        files = self.blobs["FileUploadAndDownloadSecuritySettings"]["dispositions"]
        expiry, now = [row["ExpirationDate"] for row in rows["certificates"]], self.shape.now
        administrators = sum(self.people.is_administrator(number) for number in range(min(20, self.user_count)))
        return {
            "consumerSecretAccess": self.blobs["ExternalClientAppSettings"]["enableConsumerSecretApiAccess"],
            "hybridRiskTypes": sum(kind["securityRiskFileType"] and kind["behavior"] == "HYBRID" for kind in files),
            "expiredCertificates": sum(moment <= now for moment in expiry),
            "publicObjects": sum(row["ExternalSharingModel"] in _PUBLIC for row in rows["sharingModels"]),
            "trustedRanges": int(bool(self.blobs["SecuritySettings"]["networkAccess"]["ipRanges"])),
            "unprotectedRemoteSites": sum(row["ProtocolMismatch"] for row in rows["remoteSites"]),
            "smallestKey": min(row["KeySize"] for row in rows["certificates"]),
            "daysToExpiry": health_check.days_until(expiry, now),
            "lookupNamesProtected": self.blobs["SharingSettings"]["enableRestrictAccessLookupRecords"],
            "untrustedRedirects": not session["redirectionWarning"] and not blocked,
            "guestEdit": self._guest_objects("PermissionsEdit"),
            "guestRead": self._guest_objects("PermissionsRead"),
            "guestSharingRules": 0 if self.shape.is_strong else 2,
            "administrators": administrators,
        }

    def _guest_objects(self, column: str) -> int:
        guest = self.people.profiles["Portal Guest Profile"]["Id"]
        rows = self.held["objectPermissions"].rows.values()
        return sum(row["Parent"]["ProfileId"] == guest and row[column] for row in rows)

    # -- how it is changed --------------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        """Every setting by the name that `change` takes."""
        found = dict(settings.leaves(self.blobs["SecuritySettings"]))
        for name, blob in self.blobs.items():
            if name != "SecuritySettings":
                found |= dict(settings.leaves(blob, f"{name}."))
        return found | dict(self._record_settings())

    def _record_settings(self) -> Iterator[tuple[str, Any]]:
        for name, collection in self.held.items():
            for key, row in collection.rows.items():
                for column in _changeable(row):
                    value = row[column]
                    shown = value.isoformat() if isinstance(value, datetime) else value
                    yield f"{name}.{key}.{_lowered(column)}", shown

    def change(self, name: str, value: Any) -> None:  # noqa: ANN401 - any JSON
        """Change one setting as an administrator would; see `control_plane.Settable`.

        A setting of a blob may be named by its last part alone when that is unique.
        """
        if name.startswith("users."):
            node, last, full = self._user_field(name)
        elif name.partition(".")[0] in self.held:
            node, last, full = self._record_field(name)
        else:
            node, last, full = self._blob_field(name)
        old = node.get(last)
        node[last] = settings.like(True if name.startswith("users.") else old, value, full)
        self.people.mirror_profiles()
        self._audit(full, old, node[last])

    def _blob_field(self, name: str) -> tuple[Row, str, str]:
        known = [full for full in self.settings() if full.partition(".")[0] not in self.held]
        matching = [full for full in known if full == name] or [f for f in known if f.rsplit(".", 1)[-1] == name]
        if len(matching) != 1:
            raise UnknownSettingError(name)
        *path, last = matching[0].split(".")
        node = self.blobs[path.pop(0) if path and path[0] in self.blobs else "SecuritySettings"]
        for step in path:
            node = node[step]
        return node, last, matching[0]

    def _record_field(self, name: str) -> tuple[Row, str, str]:
        collection, _, rest = name.partition(".")
        key, _, field = rest.rpartition(".")
        row = self.held[collection].rows.get(key)
        column = next((known for known in _changeable(row or {}) if _lowered(known) == _lowered(field)), None)
        if row is None or column is None:
            raise UnknownSettingError(name)
        return row, column, f"{collection}.{key}.{_lowered(column)}"

    def _user_field(self, name: str) -> tuple[Row, str, str]:
        """`users.NAME.FIELD`, for the fields that are true or false."""
        username, _, field = name.removeprefix("users.").rpartition(".")
        digits = username.removeprefix("user").partition("@")[0]
        number = CALLER if username == self.people.username(CALLER) else int(digits) if digits.isdecimal() else -1
        if not 0 <= number < self.user_count or self.people.username(number) != username or field not in CHANGEABLE:
            raise UnknownSettingError(name)
        return self.shape.user_changes.setdefault(username, {}), field, name

    def _audit(self, full: str, old: Any, new: Any) -> None:  # noqa: ANN401
        field = full.rsplit(".", 1)[-1]
        of_record = full.partition(".")[0] in {*self.held, "users"}
        display = f"Changed {full if of_record else field} from {_word(old)} to {_word(new)}"
        entry = _entry(
            len(self.audit_trail),
            field,
            "Security Controls",
            display,
            datetime.now(UTC).replace(microsecond=0),
            self.people.username(1),
        )
        self.audit_trail.append(entry)


_DEFAULTS = ("Account", "Contact", "Opportunity", "Lead", "Case", "Campaign")
_ACCESS = {"Private": "None", "Read": "Read", "ControlledByParent": "ControlledByParent"}
_REST_ALONE = (
    "Network", "Site", "CorsWhitelistEntry", "SamlSsoConfig", "AuthProvider", "AuthConfig", "FieldPermissions",
    "ObjectPermissions", "PackageLicense", "EmailDomainKey", "EmailRelay", "EmailServicesFunction", "TenantSecret",
    "ContentDistribution", "EventLogFile", "SetupEntityAccess", "UserLicense",
)  # fmt: skip
_TOOLING_ALONE = ("Certificate", "RemoteProxy", "SiteDetail", "InstalledSubscriberPackage")
_BOTH = (
    "ConnectedApplication", "ExternalClientApplication", "ExtlClntAppOauthPlcyCnfg", "ExtlClntAppOauthSettings",
    "CspTrustedSite", "TransactionSecurityPolicy",
)  # fmt: skip
_PARENT = through("Parent", {"Label", "Name", "Type", "IsOwnedByProfile", "ProfileId", "Profile.Name"})
_OBJECT_RIGHTS = {
    f"Permissions{kind}" for kind in ("Create", "Read", "Edit", "Delete", "ViewAllRecords", "ModifyAllRecords")
}
_COLUMNS = {
    "ConnectedApplication": frozenset(
        {
            "Id", "Name", "OptionsAllowAdminApprovedUsersOnly", "OptionsRefreshTokenValidityMetric",
            "RefreshTokenValidityPeriod", "OptionsHasSessionLevelPolicy", "OptionsIsInternal", "MobileSessionTimeout",
            "PinLength", "StartUrl", "CreatedDate", "LastModifiedDate",
        }
    ),
    "SetupEntityAccess": frozenset({"Id", "ParentId", "SetupEntityId", "SetupEntityType"}),
    "ObjectPermissions": _PARENT | {"Id", "ParentId", "SobjectType"} | _OBJECT_RIGHTS,
    "FieldPermissions": _PARENT | {"Id", "ParentId", "SobjectType", "Field", "PermissionsRead", "PermissionsEdit"},
    "InstalledSubscriberPackage": frozenset(
        {
            "Id", "SubscriberPackage.Name", "SubscriberPackage.NamespacePrefix",
            "SubscriberPackageVersion.IsSecurityReviewed", "SubscriberPackageVersion.IsBeta",
            "SubscriberPackageVersion.IsDeprecated",
        }
    ),
}  # fmt: skip
ENTITY_BEHIND = {
    "Assignee": "User", "CreatedBy": "User", "Parent": "PermissionSet", "PermissionSet": "PermissionSet",
    "Profile": "Profile", "UserLicense": "UserLicense", "AppMenuItem": "AppMenuItem",
    "SubscriberPackage": "SubscriberPackage", "SubscriberPackageVersion": "SubscriberPackageVersion",
}  # fmt: skip
"""The object that a relationship leads to."""


def _head(entity: Entity, column: str, own: str) -> Entity:
    """The rows up to and with those of the first user, who is the caller."""
    end = entity.past(column, own)
    return Entity(entity.name, entity.columns, end, entity.make, entity.ascending, entity.is_dense)


def _plain_columns(rows: estate.Collection) -> frozenset[str]:
    """The columns of held records that lead to no other record."""
    return frozenset(name for row in rows.values() for name, value in row.items() if not isinstance(value, dict))


def _changeable(row: Row) -> Iterator[str]:
    """What an administrator can change of a record: no id, no secret, no related record."""
    return (
        name
        for name, value in row.items()
        if not name.endswith(("Id", "CreatedDate", "LastModifiedDate"))
        and value != SECRET
        and not isinstance(value, dict)
    )


def _lowered(column: str) -> str:
    return column[:1].lower() + column[1:]


def _word(value: Any) -> str:  # noqa: ANN401
    """A value as the audit trail writes it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "nothing" if value in (None, "") else str(value)


def _entry(number: int, action: str, section: str, display: str, at: datetime, username: str) -> Row:
    return {
        "Id": record_id("0Ym", number),
        "Action": action,
        "Section": section,
        "Display": display,
        "CreatedDate": at,
        "CreatedById": user_id(1),
        "CreatedBy": {"Username": username},
        "DelegateUser": None,
    }


def _past_entries(now: datetime, username: str) -> list[Row]:
    """What the trail of half a year holds before anyone changes the simulated org, oldest first."""
    first = _entry(
        0, "organizationCreated", "Company Information", "Org was set up", now - timedelta(days=179), username
    )
    later = (
        _entry(number, "changedUserEmail", "Manage Users", f"Changed email for user {number} from old to new",
               now - timedelta(days=170 - 4 * number), username)
        for number in range(1, _KEPT_AUDIT_ENTRIES)
    )  # fmt: skip
    return [first, *later]
