"""Datasets that are one object, row by row or in groups, with no join. Pure.

The columns stand in `contracts/datasets/salesforce.yaml`, in the sources of the fields; here stands what a schema
cannot say: which rows, in which order, in which API.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from plumbline_contracts.datasets import DatasetSchema
from plumbline_contracts.events import Row

from plumbline_collector.connectors.salesforce import datasets
from plumbline_collector.connectors.salesforce.cells import text, whole
from plumbline_collector.connectors.salesforce.columns import SourceColumns
from plumbline_collector.connectors.salesforce.datasets import Derive
from plumbline_collector.connectors.salesforce.logins import login_group
from plumbline_collector.connectors.salesforce.soql import Selection

COUNTED = "counted"
MOST_GROUPS = 2000
"""A grouped query cannot be paged, so what lies beyond is not seen."""
SENSITIVE_NAMES = (
    "SSN", "Social_Security", "SocialSecurity", "Tax_ID", "TaxId", "Passport", "National_ID", "Credit_Card",
    "CreditCard", "Card_Number", "Bank_Account", "BankAccount", "IBAN", "Salary", "Birth", "Medical", "Health",
    "Password", "Secret", "Token",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """One dataset. `count` is the field that holds the size of a group; `whole_with`: any of these permissions shows
    all rows, without one the org leaves rows out and does not say so."""

    dataset: str
    tooling: bool = False
    where: str = ""
    key: str = ""
    derive: Derive | None = None
    empty: frozenset[str] = field(default_factory=frozenset)
    count: str = ""
    whole_with: tuple[str, ...] = ()

    def selection(self, schema: DatasetSchema) -> Selection:
        """What is asked of the object."""
        columns = SourceColumns(schema, schema.source).columns
        if not self.count:
            return Selection(schema.source, columns, self.where, self.key, tooling=self.tooling)
        counted = (*columns, f"COUNT(Id) {COUNTED}")
        return Selection(schema.source, counted, self.where, tooling=self.tooling, group_by=columns, limit=MOST_GROUPS)

    def maker(self, schema: DatasetSchema, started_at: datetime) -> Callable[[Mapping[str, Any]], Row]:
        """From a record to its row."""
        source = SourceColumns(schema, schema.source)

        def make(record: Mapping[str, Any]) -> Row:
            row = source.copy(record, self.empty)
            if self.count and (size := whole(record.get(COUNTED))) is not None:
                row[self.count] = size
            return {**row, **self.derive(record, started_at)} if self.derive else row

        return make


def _group(*columns: str) -> Derive:
    """A name for a group: its values joined."""

    def derive(record: Mapping[str, Any], _: datetime) -> Row:
        return {"id": datasets.joined(*(_said(record.get(column)) for column in columns))}

    return derive


def _said(value: Any) -> str:  # noqa: ANN401 - a cell
    return str(value).lower() if isinstance(value, bool) else text(value)


def _names(*fields: str) -> frozenset[str]:
    return frozenset(fields)


LOGINS = ("MonitorLoginHistory", "ManageUsers")
_SENSITIVE = " OR ".join(f"Field LIKE '%{name}%'" for name in SENSITIVE_NAMES)
TABLES = (
    Table("packages", tooling=True, derive=datasets.package, empty=_names("namespace_prefix")),
    Table("package_licences", derive=datasets.package_licence),
    Table("user_licences"),
    Table(
        "remote_sites", tooling=True, key="Id", derive=datasets.secured("EndpointUrl"), empty=_names("namespace_prefix")
    ),
    Table("cors_entries", derive=datasets.address("UrlPattern")),
    Table(
        "trusted_urls", where="IsActive = true", derive=datasets.address("EndpointUrl"), empty=_names("context")
    ),
    Table(
        "named_credentials", tooling=True, derive=datasets.endpoint("Endpoint"),
        empty=_names("endpoint", "principal_type", "credential_type"),
    ),
    Table("certificates", tooling=True, key="Id", derive=datasets.certificate),
    Table(
        "saml_providers", derive=datasets.saml_provider, empty=_names("issuer", "audience", "login_url"),
    ),
    Table("auth_providers"),
    Table("login_pages"),
    Table("networks", key="Id"),
    Table("dkim_keys", derive=datasets.dkim_key),
    Table("email_relays"),
    Table("email_services"),
    Table("tenant_secrets", key="Id", derive=datasets.tenant_secret, empty=_names("key_derivation_mode")),
    Table(
        "public_links", key="Id", derive=datasets.public_link, empty=_names("view_count"), whole_with=("ViewAllData",)
    ),
    Table("event_log_types", where="LogDate = LAST_N_DAYS:7", count="files"),
    Table(
        "transaction_security_policies", tooling=True, derive=datasets.transaction_security_policy,
        empty=_names("event_name"),
    ),
    Table("sensitive_fields", where=f"PermissionsRead = true AND ({_SENSITIVE})", count="readers"),
    Table(
        "session_activity", count="sessions", whole_with=("ManageUsers",),
        derive=_group("SessionType", "LoginType", "SessionSecurityLevel"),
        empty=_names("session_type", "login_type", "session_security_level"),
    ),
    Table(
        "login_addresses", count="addresses", whole_with=LOGINS, derive=_group("IsAuthenticated", "ChallengeMethod"),
        empty=_names("challenge_method"),
    ),
)  # fmt: skip
"""Those that need nothing of another dataset."""
LOGIN_ACTIVITY = Table(
    "login_activity", where="LoginTime = LAST_N_DAYS:30", count="logins", whole_with=LOGINS, derive=login_group,
    empty=_names("login_type", "login_sub_type", "api_type", "tls_protocol"),
)  # fmt: skip
SETUP_CHANGES = Table("setup_changes", empty=_names("section", "actor", "delegate_user", "display"))
OBJECT_SHARING = Table(
    "object_sharing", tooling=True, where="IsCustomizable = true AND IsDeprecatedAndHidden = false",
    key="QualifiedApiName", derive=datasets.sharing_model,
    empty=_names("internal_sharing_model", "external_sharing_model"),
)  # fmt: skip
ORGANIZATION = Table("organization", derive=datasets.organization, empty=_names("namespace_prefix"))
HEALTH_CHECK_RISKS = Table(
    "health_check_risks", tooling=True, derive=datasets.health_check_risk,
    empty=_names("org_value", "org_value_raw", "standard_value", "standard_value_raw"),
)  # fmt: skip
APP_ACCESS = Table("app_access", where="SetupEntityType = 'ConnectedApplication'", count="containers")
CONNECTED_APPS = Table(
    "connected_apps", key="Id", derive=datasets.connected_app,
    empty=_names("refresh_token_validity_period", "mobile_session_timeout", "pin_length", "start_url"),
)  # fmt: skip
EXTERNAL_APPS = Table("external_client_apps", key="Id")
SITES = Table(
    "sites", where="Status = 'Active'", key="Id", derive=datasets.site, empty=_names("guest_user_id")
)  # fmt: skip
USERS = Table("users", where="IsActive = true", key="Id", empty=_names("licence"), whole_with=("ViewAllUsers",))
GUEST_USERS = Table(
    "guest_users", where="UserType = 'Guest' AND IsActive = true", key="Id", whole_with=("ViewAllUsers",)
)  # fmt: skip
PERMISSION_SETS = Table(
    "permission_sets", key="Id", empty=_names("namespace_prefix", "profile_id", "profile_name")
)  # fmt: skip
PROFILES = Table("profiles", key="Id", empty=_names("licence"))
GUEST_OBJECT_ACCESS = Table(
    "guest_object_access", derive=datasets.object_permission, empty=_names("profile_id")
)  # fmt: skip
_CORE = ", ".join(repr(name) for name in datasets.CORE_OBJECTS)
OBJECT_GRANTS = Table(
    "object_grants", derive=datasets.object_grant, empty=_names("profile_name"),
    where="(PermissionsModifyAllRecords = true OR PermissionsViewAllRecords = true) "
    f"AND SobjectType IN ({_CORE})",
)  # fmt: skip
