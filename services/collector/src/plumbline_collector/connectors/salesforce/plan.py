"""Which Salesforce calls give which datasets."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from plumbline_contracts.datasets import datasets as schemas_of
from plumbline_contracts.events import AuditEntry, DatasetState, DatasetSummary, MissingField, Product, Row

from plumbline_collector.connectors import summaries
from plumbline_collector.connectors.ports import ChangeMarker, CollectionReport, DatasetSink
from plumbline_collector.connectors.rows import RowWriter, typed
from plumbline_collector.connectors.salesforce import datasets
from plumbline_collector.connectors.salesforce.client import API_VERSION, SalesforceClient
from plumbline_collector.errors import ReadError

SCHEMAS = schemas_of(Product.SALESFORCE)
METHODS = f"SELECT UserId, {', '.join(datasets.METHODS)} FROM TwoFactorMethodsInfo"  # noqa: S608 - SOQL of constants
METHODS_BATCH = 2000
"""Below the 2,500 rows after which TwoFactorMethodsInfo silently ends."""

ORGANIZATION = "SELECT Id, Name, OrganizationType, IsSandbox, InstanceName FROM Organization"
SETTINGS = "SELECT Metadata FROM SecuritySettings LIMIT 1"
SITES = "SELECT Id, SiteName, EndpointUrl, IsActive, ProtocolMismatch, NamespacePrefix FROM RemoteProxy"
FROZEN = "SELECT UserId FROM UserLogin WHERE IsFrozen = true"
RIGHTS = "SELECT PermissionsViewAllUsers FROM UserPermissionAccess"
"""The caller's own permissions, one row. Without View All Users, other users' rows are left out and not counted."""
USERS = (
    "SELECT Id, Username, UserType, Profile.Name, Profile.UserLicense.LicenseDefinitionKey, LastLoginDate, "
    "CreatedDate, FederationIdentifier FROM User WHERE IsActive = true"
)
AUDIT = (
    "SELECT Id, Action, Section, Display, CreatedDate, CreatedBy.Username FROM SetupAuditTrail "
    "ORDER BY CreatedDate DESC LIMIT 50"
)
LATEST = "SELECT Id, CreatedDate FROM SetupAuditTrail ORDER BY CreatedDate DESC LIMIT 1"


def grants(permissions: tuple[str, ...]) -> str:
    """The query for who holds any of these permissions: by profile, permission set or group, a row per path."""
    named = [f"PermissionSet.Permissions{name}" for name in permissions]
    held = " OR ".join(f"{name} = true" for name in named)
    return (
        f"SELECT AssigneeId, {', '.join(named)} FROM PermissionSetAssignment "  # noqa: S608 - SOQL of constants
        f"WHERE Assignee.IsActive = true AND ({held})"
    )


GRANTS = grants((*datasets.PRIVILEGES, datasets.API_ONLY))

_DOCUMENTS: dict[str, Callable[[Mapping[str, Any], frozenset[str]], Row]] = {
    "session_settings": datasets.session_settings,
    "password_policies": datasets.password_policies,
    "login_access_policies": datasets.login_access_policies,
    "single_sign_on_settings": datasets.single_sign_on_settings,
}


class SalesforceConnector:
    """Reads one org."""

    product = Product.SALESFORCE

    def __init__(self, client: SalesforceClient) -> None:
        self._client = client

    async def collect(self, sink: DatasetSink, started_at: datetime) -> CollectionReport:
        """Read every dataset. See `ports.Connector`."""
        await self._client.authenticate()
        found = [await self._reading("organization", self._organization, sink)]
        found += await self._settings(sink)
        found.append(await self._reading("remote_sites", self._remote_sites, sink))
        found.append(await self._users(sink, started_at))
        return CollectionReport(found, await self._audit_entries(), API_VERSION)

    async def check(self) -> list[DatasetSummary]:
        """Try a row of every dataset and of the joins. See `ports.Connector`."""
        await self._client.authenticate()
        found = [await self._probe("organization", self._only_record(ORGANIZATION))]
        found += await self._settings(_NoSink())
        found.append(await self._probe("remote_sites", self._client.query(f"{SITES} LIMIT 1", tooling=True)))
        missing: list[MissingField] = []
        for fields, soql in (
            (datasets.FROZEN_FIELDS, f"{FROZEN} LIMIT 1"),
            (datasets.MFA_FIELDS, f"{METHODS} LIMIT 1"),
            (datasets.PRIVILEGE_FIELDS, f"{grants(datasets.PRIVILEGES)} LIMIT 1"),
        ):
            try:
                await self._client.query(soql)
            except ReadError as failure:
                missing += summaries.missing_fields(SCHEMAS["users"], fields, failure)
        found.append(await self._probe_users(missing))
        return found

    async def _probe_users(self, missing: list[MissingField]) -> DatasetSummary:
        users = await self._probe("users", self._client.query(f"{USERS} LIMIT 1"))
        if users.state is not DatasetState.OK:
            return users
        return summaries.read(SCHEMAS["users"], 1, missing=missing, hidden=await self._hidden_users())

    async def latest_change(self) -> ChangeMarker:
        """The newest entry of the setup audit trail."""
        pages = await self._client.query(LATEST)
        async for records in pages:
            return ChangeMarker(f"{records[0].get('CreatedDate')}/{records[0].get('Id')}")
        return ChangeMarker("empty")

    async def _probe(self, name: str, read: Awaitable[Any]) -> DatasetSummary:
        try:
            await read
        except ReadError as failure:
            return summaries.failed(SCHEMAS[name], failure)
        return summaries.read(SCHEMAS[name], 1)

    async def _reading(
        self, name: str, read: Callable[[DatasetSink], Awaitable[DatasetSummary]], sink: DatasetSink
    ) -> DatasetSummary:
        try:
            return await read(sink)
        except ReadError as failure:
            return summaries.failed(SCHEMAS[name], failure)

    async def _only_record(self, soql: str, *, tooling: bool = False) -> dict[str, Any]:
        async for records in await self._client.query(soql, tooling=tooling):
            if len(records) == 1:
                return records[0]
        raise ReadError(DatasetState.DENIED, "no_record", "the org shows no such record to the collector's user")

    async def _organization(self, sink: DatasetSink) -> DatasetSummary:
        record = await self._only_record(ORGANIZATION)
        sink.add("organization", [datasets.organization(record, API_VERSION)])
        return summaries.read(SCHEMAS["organization"], 1)

    async def _settings(self, sink: DatasetSink) -> list[DatasetSummary]:
        try:
            metadata = (await self._only_record(SETTINGS, tooling=True)).get("Metadata")
            if not isinstance(metadata, dict):
                message = "the org shows SecuritySettings without its content"
                raise ReadError(DatasetState.DENIED, "no_metadata", message)
        except ReadError as failure:
            return [summaries.failed(SCHEMAS[name], failure) for name in _DOCUMENTS]
        return [self._document(sink, name, metadata) for name in _DOCUMENTS]

    @staticmethod
    def _document(sink: DatasetSink, name: str, metadata: dict[str, Any]) -> DatasetSummary:
        make, fields = _DOCUMENTS[name], frozenset(SCHEMAS[name].fields)
        try:
            sink.add(name, typed(lambda document: make(document, fields), [metadata]))
        except ReadError as failure:
            return summaries.failed(SCHEMAS[name], failure)
        return summaries.read(SCHEMAS[name], 1)

    async def _remote_sites(self, sink: DatasetSink) -> DatasetSummary:
        writer = RowWriter(SCHEMAS["remote_sites"], sink)
        try:
            pages = await self._client.query(SITES, tooling=True)
            async for records in pages:
                writer.write(datasets.remote_site, records)
        except ReadError as failure:
            return writer.failed(failure)
        return writer.summary(reported=pages.reported)

    async def _users(self, sink: DatasetSink, started_at: datetime) -> DatasetSummary:
        writer, known = RowWriter(SCHEMAS["users"], sink), datasets.KnownOfUsers()
        make = partial(datasets.user, known=known, started_at=started_at)
        try:
            hidden = await self._hidden_users()
            missing = await self._joins(known)
            pages = await self._client.query(USERS)
            async for records in pages:
                writer.write(make, records)
            if not writer.count:
                raise ReadError(DatasetState.DENIED, "no_rows", "User shows no row, and it is never empty")
        except ReadError as failure:
            return writer.failed(failure)
        return writer.summary(reported=pages.reported, missing=missing, hidden=hidden)

    async def _hidden_users(self) -> ReadError | None:
        """Why some users may be hidden; None when the collector's user is known to see all of them."""
        try:
            held = await self._only_record(RIGHTS)
        except ReadError as failure:
            message = f"whether all users are visible could not be read ({failure})"
            return ReadError(DatasetState.TRUNCATED, "visibility_unknown", message)
        if held.get("PermissionsViewAllUsers") is True:
            return None
        message = "without View All Users the org leaves users out and does not count them"
        return ReadError(DatasetState.TRUNCATED, "hidden_rows", message)

    async def _joins(self, known: datasets.KnownOfUsers) -> list[MissingField]:
        """Read what the joins need; what cannot be read becomes None in `known`, and its fields are returned."""
        schema, missing = SCHEMAS["users"], []
        try:
            await self._join(FROZEN, "UserLogin", known.add_frozen)
        except ReadError as failure:
            known.frozen = None
            missing += summaries.missing_fields(schema, datasets.FROZEN_FIELDS, failure)
        try:
            await self._read_grants(known)
        except ReadError as failure:
            known.privileges = None
            missing += summaries.missing_fields(schema, datasets.PRIVILEGE_FIELDS, failure)
        try:
            await self._read_methods(known)
        except ReadError as failure:
            known.methods = None
            missing += summaries.missing_fields(schema, datasets.MFA_FIELDS, failure)
        return missing

    async def _join(self, soql: str, name: str, add: Callable[[Mapping[str, Any]], None]) -> None:
        pages = await self._client.query(soql)
        async for records in pages:
            typed(add, records)
        pages.require_whole(name)

    async def _read_grants(self, known: datasets.KnownOfUsers) -> None:
        try:
            await self._join(GRANTS, "PermissionSetAssignment", known.add_grant)
        except ReadError as failure:
            if failure.code != "INVALID_FIELD":
                raise
            # An org without API Only User has no such column; the privileged permissions are in every org.
            await self._join(grants(datasets.PRIVILEGES), "PermissionSetAssignment", known.add_grant)

    async def _read_methods(self, known: datasets.KnownOfUsers) -> None:
        """All rows in batches by user id, because the object ends silently after 2,500 rows."""
        expected = await self._client.count("SELECT COUNT() FROM TwoFactorMethodsInfo")
        last, count, batch = "", 0, METHODS_BATCH
        while batch == METHODS_BATCH:
            after = f"WHERE UserId > '{last}' " if last else ""
            pages = await self._client.query(f"{METHODS} {after}ORDER BY UserId LIMIT {METHODS_BATCH}")
            before = last
            async for records in pages:
                typed(known.add_methods, records)
                last = _record_id(records[-1].get("UserId"))
            batch = pages.count
            count += batch
            if batch and last == before:
                raise ReadError(DatasetState.ERROR, "broken_paging", "the batches by user id do not move on")
        if count < expected:
            message = f"{count} of {expected} rows of TwoFactorMethodsInfo could be read"
            raise ReadError(DatasetState.TRUNCATED, "hidden_rows", message)

    async def _audit_entries(self) -> list[AuditEntry]:
        """The newest entries of the setup audit trail; none when it cannot be read."""
        found: list[AuditEntry | None] = []
        try:
            async for records in await self._client.query(AUDIT):
                found += typed(datasets.audit_entry, records)
        except ReadError:
            return []
        return [entry for entry in found if entry is not None]


class _NoSink:
    """Takes rows and keeps none."""

    def add(self, dataset: str, rows: list[Row]) -> None:
        """Drop them."""


def _record_id(value: Any) -> str:  # noqa: ANN401 - a cell
    """A record id that may stand in the next query. Raises ReadError for anything else."""
    if isinstance(value, str) and value.isascii() and value.isalnum() and len(value) in (15, 18):
        return value
    raise ReadError(DatasetState.ERROR, "broken_answer", "a row carries no record id")
