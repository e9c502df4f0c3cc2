"""Which Salesforce calls give which datasets."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from plumbline_contracts.datasets import datasets as schemas_of
from plumbline_contracts.events import AuditEntry, DatasetState, DatasetSummary, MissingField, Product, Row

from plumbline_collector.connectors import summaries
from plumbline_collector.connectors.ports import ChangeMarker, CollectionReport, DatasetSink
from plumbline_collector.connectors.salesforce import datasets
from plumbline_collector.connectors.salesforce.client import API_VERSION, SalesforceClient
from plumbline_collector.errors import ReadError

SCHEMAS = schemas_of(Product.SALESFORCE)
_GRANTED = " OR ".join(f"PermissionSet.Permissions{name} = true" for name in datasets.PRIVILEGES)
_PERMISSIONS = ", ".join(f"PermissionSet.Permissions{name}" for name in datasets.PRIVILEGES)
METHODS = f"SELECT UserId, {', '.join(datasets.METHODS)} FROM TwoFactorMethodsInfo"  # noqa: S608 - SOQL of constants
METHODS_BATCH = 2000
"""Below the 2,500 rows after which TwoFactorMethodsInfo silently ends."""

ORGANIZATION = "SELECT Id, Name, OrganizationType, IsSandbox, InstanceName FROM Organization"
SETTINGS = "SELECT Metadata FROM SecuritySettings LIMIT 1"
SITES = "SELECT Id, SiteName, EndpointUrl, IsActive, ProtocolMismatch, NamespacePrefix FROM RemoteProxy"
FROZEN = "SELECT UserId FROM UserLogin WHERE IsFrozen = true"
GRANTS = (
    f"SELECT AssigneeId, {_PERMISSIONS} FROM PermissionSetAssignment "  # noqa: S608 - SOQL of constants
    f"WHERE Assignee.IsActive = true AND ({_GRANTED})"
)
USERS = (
    "SELECT Id, Username, UserType, Profile.Name, Profile.UserLicense.LicenseDefinitionKey, LastLoginDate, "
    "CreatedDate, FederationIdentifier FROM User WHERE IsActive = true"
)
AUDIT = (
    "SELECT Id, Action, Section, Display, CreatedDate, CreatedBy.Username FROM SetupAuditTrail "
    "ORDER BY CreatedDate DESC LIMIT 50"
)
LATEST = "SELECT Id, CreatedDate FROM SetupAuditTrail ORDER BY CreatedDate DESC LIMIT 1"

_DOCUMENTS: dict[str, Callable[[dict[str, Any], frozenset[str]], Row]] = {
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
        found = [await self._probe("organization", ORGANIZATION)]
        found += [await self._probe(name, SETTINGS, tooling=True) for name in _DOCUMENTS]
        found.append(await self._probe("remote_sites", f"{SITES} LIMIT 1", tooling=True))
        missing: list[MissingField] = []
        for fields, soql in (
            (datasets.MFA_FIELDS, f"{METHODS} LIMIT 1"),
            (datasets.PRIVILEGE_FIELDS, f"{GRANTS} LIMIT 1"),
        ):
            try:
                await self._client.query(soql)
            except ReadError as failure:
                missing += summaries.missing_fields(SCHEMAS["users"], fields, failure)
        users = await self._probe("users", f"{USERS} LIMIT 1")
        found.append(users.model_copy(update={"missing_fields": missing if users.state is DatasetState.OK else []}))
        return found

    async def latest_change(self) -> ChangeMarker:
        """The newest entry of the setup audit trail."""
        pages = await self._client.query(LATEST)
        async for records in pages:
            return ChangeMarker(f"{records[0].get('CreatedDate')}/{records[0].get('Id')}" if records else "empty")
        return ChangeMarker("empty")

    async def _probe(self, name: str, soql: str, *, tooling: bool = False) -> DatasetSummary:
        try:
            await self._client.query(soql, tooling=tooling)
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
            if len(records) == 1 and isinstance(records[0], dict):
                return records[0]
        raise ReadError(DatasetState.DENIED, "no_record", "the org shows no such record to the collector's user")

    async def _organization(self, sink: DatasetSink) -> DatasetSummary:
        sink.add("organization", [datasets.organization(await self._only_record(ORGANIZATION), API_VERSION)])
        return summaries.read(SCHEMAS["organization"], 1)

    async def _settings(self, sink: DatasetSink) -> list[DatasetSummary]:
        try:
            metadata = (await self._only_record(SETTINGS, tooling=True)).get("Metadata")
            if not isinstance(metadata, dict):
                raise ReadError(
                    DatasetState.DENIED, "no_metadata", "the org shows SecuritySettings without its content"
                )
        except ReadError as failure:
            return [summaries.failed(SCHEMAS[name], failure) for name in _DOCUMENTS]
        for name, make in _DOCUMENTS.items():
            sink.add(name, [make(metadata, frozenset(SCHEMAS[name].fields))])
        return [summaries.read(SCHEMAS[name], 1) for name in _DOCUMENTS]

    async def _remote_sites(self, sink: DatasetSink) -> DatasetSummary:
        pages = await self._client.query(SITES, tooling=True)
        count = 0
        async for records in pages:
            sink.add("remote_sites", [datasets.remote_site(record) for record in records])
            count += len(records)
        return summaries.read(SCHEMAS["remote_sites"], count, reported=pages.reported)

    async def _users(self, sink: DatasetSink, started_at: datetime) -> DatasetSummary:
        schema, known = SCHEMAS["users"], datasets.KnownOfUsers()
        count = 0
        try:
            async for records in await self._client.query(FROZEN):
                known.frozen |= {str(record.get("UserId")) for record in records}
            missing = await self._joins(known)
            pages = await self._client.query(USERS)
            async for records in pages:
                sink.add("users", [datasets.user(record, known, started_at) for record in records])
                count += len(records)
        except ReadError as failure:
            return summaries.failed(schema, failure).model_copy(update={"row_count": count})
        return summaries.read(schema, count, reported=pages.reported, missing=missing)

    async def _joins(self, known: datasets.KnownOfUsers) -> list[MissingField]:
        missing: list[MissingField] = []
        try:
            async for records in await self._client.query(GRANTS):
                for record in records:
                    known.add_grant(record)
        except ReadError as failure:
            known.privileges = None
            missing += summaries.missing_fields(SCHEMAS["users"], datasets.PRIVILEGE_FIELDS, failure)
        try:
            await self._read_methods(known)
        except ReadError as failure:
            known.methods = None
            missing += summaries.missing_fields(SCHEMAS["users"], datasets.MFA_FIELDS, failure)
        return missing

    async def _read_methods(self, known: datasets.KnownOfUsers) -> None:
        """All rows in batches by user id, because the object ends silently after 2,500 rows."""
        expected = await self._client.count("SELECT COUNT() FROM TwoFactorMethodsInfo")
        last, count = "", 0
        while True:
            after = f"WHERE UserId > '{last}' " if last else ""
            soql = f"{METHODS} {after}ORDER BY UserId LIMIT {METHODS_BATCH}"
            batch = 0
            async for records in await self._client.query(soql):
                for record in records:
                    known.add_methods(record)
                    last = max(last, _record_id(record.get("UserId")))
                batch += len(records)
            count += batch
            if batch < METHODS_BATCH:
                break
        if count < expected:
            message = f"{count} of {expected} rows of TwoFactorMethodsInfo could be read"
            raise ReadError(DatasetState.TRUNCATED, "hidden_rows", message)

    async def _audit_entries(self) -> list[AuditEntry]:
        try:
            found = [record async for records in await self._client.query(AUDIT) for record in records]
        except ReadError:
            return []
        return [
            AuditEntry(
                at=datasets.moment(record.get("CreatedDate")) or datetime.now(UTC),
                actor=str((record.get("CreatedBy") or {}).get("Username") or "unknown"),
                action=str(record.get("Action") or ""),
                section=record.get("Section"),
                detail=record.get("Display"),
            )
            for record in found
        ]


def _record_id(value: Any) -> str:  # noqa: ANN401 - a cell
    """A record id that may stand in the next query. Raises ReadError for anything else."""
    if isinstance(value, str) and value.isascii() and value.isalnum() and len(value) in (15, 18):
        return value
    raise ReadError(DatasetState.ERROR, "broken_answer", "a row carries no record id")
