"""Reads what is open to whom: access rules, public pages, callable scripts, custom tables, knowledge bases."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from plumbline_contracts.events import DatasetSummary, MissingField

from plumbline_collector.connectors.rows import RowWriter
from plumbline_collector.connectors.servicenow import access, tables
from plumbline_collector.connectors.servicenow.identifiers import Key, key
from plumbline_collector.connectors.servicenow.paging import TableRow
from plumbline_collector.connectors.servicenow.plan import SCHEMAS
from plumbline_collector.connectors.servicenow.queries import Selection, in_chunks
from plumbline_collector.connectors.servicenow.run import Run, summary_of
from plumbline_collector.connectors.servicenow.values import filled
from plumbline_collector.errors import ReadError


async def empty_acls(run: Run) -> DatasetSummary:
    """Active rules that ask for nothing. Of those that ask for a role alone only the ids are kept."""
    with_roles: set[Key] = set()

    def note(row: Mapping[str, Any]) -> None:
        with_roles.add(key(filled(row, "sys_security_acl") or ""))

    writer, rows = RowWriter(SCHEMAS["empty_acls"], run.sink), run.select(tables.EMPTY_ACLS)
    try:
        await run.select(tables.ROLES_OF_EMPTY_ACLS).each(note)
        async for page in rows:
            writer.write(access.empty_acl, [row for row in page if access.is_empty_acl(row, with_roles)])
    except ReadError as failure:
        return writer.failed(failure)
    return writer.summary(hidden=rows.hidden)


async def public_acls(run: Run) -> DatasetSummary:
    """Read the active rules that the role public fulfils."""
    return await run.table("public_acls", tables.PUBLIC_ACLS, access.public_acl)


async def public_pages(run: Run) -> DatasetSummary:
    """Read the active public pages."""
    return await run.table("public_pages", tables.PUBLIC_PAGES, access.public_page)


async def public_portal_pages(run: Run) -> DatasetSummary:
    """Read the public pages of portals."""
    return await run.table("public_portal_pages", tables.PUBLIC_PORTAL_PAGES, access.portal_part)


async def public_portal_widgets(run: Run) -> DatasetSummary:
    """Read the public widgets of portals."""
    return await run.table("public_portal_widgets", tables.PUBLIC_PORTAL_WIDGETS, access.portal_part)


async def client_callable_scripts(run: Run) -> DatasetSummary:
    """Read the rules of script includes by name, then the active script includes that a client may call."""
    protected: set[str] = set()
    is_read, missing = await run.join(
        "client_callable_scripts", ["has_acl"], lambda: _names(run, tables.SCRIPT_ACLS, protected)
    )
    make = partial(access.script_include, protected=protected if is_read else None)
    return await run.table("client_callable_scripts", tables.CALLABLE_SCRIPTS, make, missing=missing)


async def _names(run: Run, selection: Selection, found: set[str]) -> None:
    """Collect the names of rules, in lower case."""
    await run.select(selection).each(lambda row: found.add((filled(row, "name") or "").lower()))


async def custom_tables(run: Run) -> DatasetSummary:
    """Read the custom tables, then the rules of exactly these."""
    found: list[TableRow] = []
    writer, rows = RowWriter(SCHEMAS["custom_tables"], run.sink), run.select(tables.CUSTOM_TABLES)
    try:
        async for page in rows:
            found += [{"sys_id": row["sys_id"], "name": filled(row, "name") or ""} for row in page]
    except ReadError as failure:
        return writer.failed(failure)
    protected: set[str] = set()
    is_read, missing = await run.join("custom_tables", ["has_acl"], lambda: _table_rules(run, found, protected))
    writer.write(partial(access.custom_table, protected=protected if is_read else None), found)
    return summary_of(writer, rows, missing)


async def _table_rules(run: Run, found: list[TableRow], protected: set[str]) -> None:
    for chunk in in_chunks((str(row["name"]) for row in found), tables.TABLES_PER_QUERY):
        await _names(run, tables.table_acls(chunk), protected)


async def knowledge_bases(run: Run) -> DatasetSummary:
    """Read which user criteria say who may read and contribute, then the active knowledge bases."""
    readers, contributors = dict[Key, int](), dict[Key, int]()
    can_read, missing = await _criteria(run, tables.READ_CRITERIA, "read", readers)
    can_contribute, more = await _criteria(run, tables.CONTRIBUTE_CRITERIA, "contribute", contributors)
    make = partial(
        access.knowledge_base,
        readers=readers if can_read else None,
        contributors=contributors if can_contribute else None,
    )
    return await run.table("knowledge_bases", tables.KNOWLEDGE_BASES, make, missing=[*missing, *more])


async def _criteria(
    run: Run, selection: Selection, kind: str, counts: dict[Key, int]
) -> tuple[bool, list[MissingField]]:
    def note(row: Mapping[str, Any]) -> None:
        base = key(filled(row, "kb_knowledge_base") or "")
        counts[base] = counts.get(base, 0) + 1

    fields = [f"{kind}_criteria_count", f"has_{kind}_criteria"]
    return await run.join("knowledge_bases", fields, lambda: run.select(selection).each(note))
