"""Reading what the org says of itself: rights, settings, Health Check, logins, changes, sharing."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from plumbline_contracts.events import AuditEntry, DatasetState, DatasetSummary, Row

from plumbline_collector.connectors import summaries
from plumbline_collector.connectors.rows import typed
from plumbline_collector.connectors.salesforce import datasets, health_check, settings, tables
from plumbline_collector.connectors.salesforce.logins import LoginTotals
from plumbline_collector.connectors.salesforce.pages import Record, by_key
from plumbline_collector.connectors.salesforce.permissions import PREFIX
from plumbline_collector.connectors.salesforce.rights import LABELS
from plumbline_collector.connectors.salesforce.run import SCHEMAS, Run
from plumbline_collector.connectors.salesforce.soql import Selection
from plumbline_collector.errors import ReadError

SECURITY_DOCUMENTS = (
    "session_settings", "password_policies", "login_access_policies", "single_sign_on_settings", "network_access",
    "browser_settings",
)  # fmt: skip
SETTINGS_DOCUMENTS = (
    "connected_app_settings", "oauth_settings", "external_client_app_settings", "my_domain_settings",
    "sharing_settings", "user_management_settings", "event_settings", "platform_encryption_settings",
    "encryption_key_settings", "content_settings", "apex_settings", "email_settings", "community_settings",
)  # fmt: skip
NEWEST_CHANGES = 50


async def organization(run: Run) -> DatasetSummary:
    """The `organization` document."""
    table = tables.ORGANIZATION
    make = table.maker(SCHEMAS[table.dataset], run.started_at)

    async def read() -> Row:
        (row,) = typed(make, [await run.objects.only_record(table.selection(SCHEMAS[table.dataset]))])
        return {**row, "api_version": run.client.version}

    return await run.document(table.dataset, read)


async def collector_permissions(run: Run) -> DatasetSummary:
    """The caller's own permissions, which `run.rights` remembers."""
    selection = Selection("UserPermissionAccess", tuple(f"{PREFIX}{name}" for name in LABELS))
    schema = SCHEMAS["collector_permissions"]
    try:
        record = await run.objects.only_record(selection)
    except ReadError as failure:
        run.rights.problem = str(failure)
        return summaries.failed(schema, failure)
    run.rights.take(record)
    copied = run.selection_of(schema.name, schema.source).columns
    shown = {f"has_{_snake(column)}": record[column] for column in copied if record.get(column) is not None}
    missing = run.rights.missing_base() if run.is_probe else []
    return run.written(schema.name, {**shown, **run.rights.document()}, missing)


def _snake(column: str) -> str:
    words = column.removeprefix(PREFIX)
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in words).lstrip("_")


async def _metadata(run: Run, type_name: str) -> Mapping[str, Any]:
    selection = Selection(type_name, ("Metadata",), tooling=True, limit=1)
    metadata = (await run.objects.only_record(selection)).get("Metadata")
    if not isinstance(metadata, dict):
        raise ReadError(DatasetState.DENIED, "no_metadata", f"the org shows {type_name} without its content")
    return metadata


def _settings_document(run: Run, name: str, metadata: Mapping[str, Any]) -> DatasetSummary:
    schema = SCHEMAS[name]
    try:
        (row,) = typed(lambda found: settings.document(schema, found), [metadata])
    except ReadError as failure:
        return summaries.failed(schema, failure)
    message = f"API version {run.client.version} does not have it"
    too_old = ReadError(DatasetState.UNSUPPORTED, "api_version", message)
    fields = [each for each in settings.unsupported_fields(name, run.client.version) if each not in row]
    return run.written(name, row, summaries.missing_fields(schema, fields, too_old))


async def security_settings(run: Run) -> list[DatasetSummary]:
    """The datasets made of SecuritySettings, one call."""
    metadata = await _metadata(run, "SecuritySettings")
    found = [_settings_document(run, name, metadata) for name in SECURITY_DOCUMENTS]
    return [*found, _settings_rows(run, "trusted_ip_ranges", settings.ip_range_rows, metadata)]


async def file_upload_settings(run: Run) -> list[DatasetSummary]:
    """The datasets made of FileUploadAndDownloadSecuritySettings, one call."""
    metadata = await _metadata(run, "FileUploadAndDownloadSecuritySettings")
    found = _settings_document(run, "file_upload_settings", metadata)
    return [found, _settings_rows(run, "file_dispositions", settings.disposition_rows, metadata)]


def _settings_rows(run: Run, name: str, make: Any, metadata: Mapping[str, Any]) -> DatasetSummary:  # noqa: ANN401
    try:
        (rows,) = typed(make, [metadata])
    except ReadError as failure:
        return summaries.failed(SCHEMAS[name], failure)
    return run.rows_of(name, rows)


async def settings_document(run: Run, name: str) -> DatasetSummary:
    """The document of one settings type, one call."""
    metadata = await _metadata(run, SCHEMAS[name].source)
    if name == "community_settings" and metadata.get("enableNetworksEnabled") is False:
        run.rights.has_sites = False
    return _settings_document(run, name, metadata)


async def health(run: Run) -> list[DatasetSummary]:
    """The Health Check's document and rows."""
    counts: dict[str, int] = {}

    def remember(record: Record) -> Row:
        counts.update(health_check.count_of(record))
        return {}

    risks = await run.table(tables.HEALTH_CHECK_RISKS, remember)

    async def read() -> Row:
        columns = ("DurableId", "CustomBaselineId", "Score")
        record = await run.objects.only_record(Selection("SecurityHealthCheck", columns, tooling=True))
        return health_check.document(record, counts)

    return [await run.document("health_check", read), risks]


async def logins(run: Run) -> list[DatasetSummary]:
    """Logins in groups, and their totals."""
    table, totals = tables.LOGIN_ACTIVITY, LoginTotals()
    make = table.maker(SCHEMAS[table.dataset], run.started_at)

    def add_up(record: Record) -> Row:
        totals.add(make(record))
        return {}

    groups, schema = await run.table(table, add_up), SCHEMAS["login_statistics"]
    if groups.state not in (DatasetState.OK, DatasetState.TRUNCATED):
        return [groups, groups.model_copy(update={"name": schema.name, "kind": schema.kind, "row_count": 0})]
    row = totals.document()
    missing = [each for each in groups.missing_fields if each.field in schema.fields]
    written = run.written(schema.name, row, missing)
    return [groups, written.model_copy(update={"state": groups.state, "error": groups.error})]


async def object_sharing(run: Run) -> DatasetSummary:
    """Sharing defaults, batch after batch by name, because the object cannot be paged."""
    table = tables.OBJECT_SHARING
    return await run.table(table, pages=by_key(table.selection(SCHEMAS[table.dataset]), run.objects.open))


async def setup_changes(run: Run, entries: list[AuditEntry]) -> DatasetSummary:
    """The newest changes in Setup, also as audit entries."""
    table, schema = tables.SETUP_CHANGES, SCHEMAS["setup_changes"]
    selection = replace(table.selection(schema), order_by="CreatedDate DESC", limit=NEWEST_CHANGES)

    async def pages() -> AsyncIterator[list[Record]]:
        async for records in await run.objects.open(selection):
            entries.extend(entry for entry in typed(datasets.audit_entry, records) if entry is not None)
            yield records

    return await run.table(table, pages=pages())


async def latest_change(run: Run) -> str:
    """The newest change in Setup as a text that moves with it; `-` when the trail may not be read. Raises ReadError."""
    selection = Selection("SetupAuditTrail", ("Id", "CreatedDate"), order_by="CreatedDate DESC", limit=1)
    try:
        pages = await run.objects.open(selection)
    except ReadError as failure:
        if failure.state is not DatasetState.DENIED:
            raise
        return "-"
    async for records in pages:
        return f"{records[0].get('CreatedDate')}/{records[0].get('Id')}"
    return "empty"


async def mfa_registrations(run: Run) -> DatasetSummary:
    """How many users have a one-time password generator."""

    async def read() -> Row:
        return {"totp_registrations": await run.client.count("TwoFactorInfo")}

    return await run.document("mfa_registrations", read)
