"""Reads the settings of an instance: release, properties, plugins, apps, password policies, audited tables, counts."""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from plumbline_contracts.events import DatasetState, DatasetSummary, MissingField, Row

from plumbline_collector.connectors import summaries
from plumbline_collector.connectors.rows import RowWriter, typed
from plumbline_collector.connectors.servicenow import audit, settings, tables
from plumbline_collector.connectors.servicenow.columns import DictionaryReader
from plumbline_collector.connectors.servicenow.paging import TableRow
from plumbline_collector.connectors.servicenow.plan import READS, SCHEMAS
from plumbline_collector.connectors.servicenow.run import Run
from plumbline_collector.connectors.servicenow.values import filled, flag, text
from plumbline_collector.errors import ReadError


async def audited_tables(run: Run) -> DatasetSummary:
    """Read which security tables are audited, and which columns stand behind the labels of forms."""
    dictionary, audits = DictionaryReader(), dict[str, bool | None]()
    with suppress(ReadError):  # The fields that need it are then withheld, and say so themselves.
        await run.select(tables.DICTIONARY_COLUMNS).each(dictionary.add)
    run.columns = dictionary.columns()

    def note(row: Mapping[str, Any]) -> None:
        audits[text(row, "name") or ""] = flag(row, "audit")

    writer = RowWriter(SCHEMAS["audited_tables"], run.sink)
    try:
        await run.select(tables.AUDITS).each(note)
    except ReadError as failure:
        return writer.failed(failure)
    writer.write(lambda row: dict(row), settings.audited_tables(tables.AUDITED_TABLES, audits))
    return writer.summary()


async def system_properties(run: Run) -> DatasetSummary:
    """Read the properties, some at a time, so that all rows of one name come together."""
    writer = RowWriter(SCHEMAS["system_properties"], run.sink)
    reported, hidden, has_value = 0, None, False
    try:
        for selection in tables.properties():
            rows, held = run.select(selection), list[TableRow]()
            async for page in rows:
                held += page
            has_value = has_value or any(filled(row, "value") for row in held)
            reported, hidden = reported + (rows.known_total or rows.count), hidden or rows.hidden
            _write_properties(run, writer, held)
        await _audited_changes(run)
        if not writer.count:
            raise ReadError(DatasetState.DENIED, "no_rows", "sys_properties shows no row, and it is never empty")
    except ReadError as failure:
        return writer.failed(failure)
    return writer.summary(reported=reported, hidden=hidden, missing=[] if has_value else _no_value())


def _no_value() -> list[MissingField]:
    message = "value is empty in every row of sys_properties, so it is hidden from the collector's user"
    failure = ReadError(DatasetState.DENIED, "no_value", message)
    return summaries.missing_fields(SCHEMAS["system_properties"], ["value", "has_conflicting_values"], failure)


def _write_properties(run: Run, writer: RowWriter, rows: list[TableRow]) -> None:
    for row in rows:
        if row.get("name") in tables.BUILD_PROPERTIES:
            run.builds[str(row["name"])] = text(row, "value") or ""
        name = text(row, "name") or ""
        run.properties[text(row, "sys_id") or ""] = (name, audit.holds_secret(name, text(row, "type") or ""))
    run.changes += [entry for entry in typed(audit.property_change, rows) if entry is not None]
    writer.write(lambda row: dict(row), settings.system_properties(rows))


def instance(run: Run, properties: DatasetSummary) -> DatasetSummary:
    """The release, out of properties that were read."""
    schema = SCHEMAS["instance"]
    if not any(run.builds.values()):
        error = properties.error
        state = properties.state if error else DatasetState.DENIED
        message = error.message if error else "the properties that name the build could not be read"
        return summaries.failed(schema, ReadError(state, error.code if error else "hidden_rows", message))
    run.sink.add("instance", [settings.instance(run.builds, run.started_at)])
    return summaries.read(schema, 1)


async def _audited_changes(run: Run) -> None:
    """The newest rows of sys_audit about security tables, where they may be read."""
    query = tables.audit_query(run.started_at)
    try:
        rows, _ = await run.source.page("sys_audit", query, tables.AUDIT_COLUMNS, audit.MOST_ENTRIES, 0)
        wanted = [row for row in rows if row.get("tablename") in tables.AUDITED_TABLES]
        found = typed(partial(audit.audited_change, properties=run.properties), wanted)
    except ReadError:
        return
    run.changes += [entry for entry in found if entry is not None]


async def plugins(run: Run) -> DatasetSummary:
    """Read v_plugin, or sys_plugins on a release without it; which plugins are inactive is remembered."""

    def make(row: Mapping[str, Any]) -> Row:
        found = settings.plugin(row)
        if found.get("is_active") is False:
            run.inactive_plugins.add(str(found.get("id")))
        return found

    found = await run.table("plugins", tables.PLUGINS, make)
    if found.state is DatasetState.UNSUPPORTED:
        return await run.table("plugins", tables.OLD_PLUGINS, make)
    return found


async def store_apps(run: Run) -> DatasetSummary:
    """Read the installed apps of the store."""
    selection = tables.STORE_APPS.with_columns(run.columns.of("sys_store_app"))
    return await run.table("store_apps", selection, partial(settings.store_app, columns=run.columns))


async def script_actions(run: Run) -> DatasetSummary:
    """Read the two script actions that lock accounts."""
    return await run.table("script_actions", tables.SCRIPT_ACTION_ROWS, settings.script_action)


async def password_stores(run: Run) -> DatasetSummary:
    """Read the credential stores, each with its password policy."""
    policies: dict[str, tuple[str | None, int | None, int | None]] = {}

    def note(row: Mapping[str, Any]) -> None:
        policies[text(row, "sys_id") or ""] = (
            text(row, "name"),
            *settings.password_length(row, run.columns),
        )

    selection = tables.PASSWORD_POLICIES.with_columns(run.columns.of("password_policy"))
    fields = ["policy", "minimum_length", "maximum_length"]
    is_read, missing = await run.join("password_stores", fields, lambda: run.select(selection).each(note))
    make = partial(settings.credential_store, policies=policies if is_read else None, columns=run.columns)
    stores = tables.CREDENTIAL_STORES.with_columns(run.columns.of("pwd_cred_store"))
    return await run.table("password_stores", stores, make, missing=missing)


async def record_counts(run: Run) -> DatasetSummary:
    """Count the rows of tables whose number alone matters; each count has its own right."""
    schema, row, missing = SCHEMAS["record_counts"], Row(), list[MissingField]()
    for each in READS["record_counts"]:
        try:
            row[each.feeds[0]] = await run.count(each.selection)
        except ReadError as failure:
            missing += summaries.missing_fields(schema, list(each.feeds), failure)
    if not row:
        first = missing[0]
        failed = summaries.failed(schema, ReadError(first.state, first.error.code, first.error.message))
        return failed.model_copy(update={"error": first.error, "missing_fields": missing})
    run.sink.add(schema.name, [row])
    return summaries.read(schema, 1, missing=missing)
