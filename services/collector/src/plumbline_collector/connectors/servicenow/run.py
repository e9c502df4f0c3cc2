"""One collection under way: what all readers of datasets share, and how a table becomes a dataset."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from plumbline_contracts.events import AuditEntry, DatasetState, DatasetSummary, MissingField, Row

from plumbline_collector.connectors import summaries
from plumbline_collector.connectors.ports import DatasetSink
from plumbline_collector.connectors.rows import RowWriter
from plumbline_collector.connectors.servicenow.columns import Columns
from plumbline_collector.connectors.servicenow.identifiers import Key
from plumbline_collector.connectors.servicenow.paging import PageSource
from plumbline_collector.connectors.servicenow.people import KnownOfUsers
from plumbline_collector.connectors.servicenow.plan import SCHEMAS
from plumbline_collector.connectors.servicenow.queries import Selection
from plumbline_collector.connectors.servicenow.releases import Build, build
from plumbline_collector.connectors.servicenow.selections import Emptiness, SelectedRows, count
from plumbline_collector.connectors.servicenow.values import filled
from plumbline_collector.errors import ReadError

ROLE_TABLE = "sys_user_has_role"
Make = Callable[[Mapping[str, Any]], Row]


@dataclass
class Run:
    """What one collection learns on its way, for the datasets that come later."""

    source: PageSource
    sink: DatasetSink
    started_at: datetime
    columns: Columns = field(default_factory=Columns)
    builds: dict[str, str] = field(default_factory=dict)
    inactive_plugins: set[str] = field(default_factory=set)
    elevated_roles: list[str] = field(default_factory=list)
    exceptions: set[Key] | None = field(default_factory=set)
    exceptions_summary: DatasetSummary | None = None
    known: KnownOfUsers = field(default_factory=KnownOfUsers)
    roles_failure: ReadError | None = None
    properties: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """The properties that were read, by sys_id: name, and whether the value is secret."""
    changes: list[AuditEntry] = field(default_factory=list)
    emptiness: Emptiness = field(default_factory=Emptiness)
    first_user: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a row of `users` was read, or none will be."""

    @property
    def build(self) -> Build | None:
        """The build that the instance runs; None when it could not be read."""
        found = [build(self.builds.get(name)) for name in ("glide.buildtag.last", "glide.war")]
        return next((each for each in found if each is not None), None)

    def select(self, selection: Selection) -> SelectedRows:
        """The rows of a selection. Once roles were read whole, finding none of certain users needs no proof."""
        if selection.table == ROLE_TABLE and self.known.roles:
            selection = replace(selection, is_proven=True)
        return SelectedRows(self.source, selection, self.emptiness)

    async def count(self, selection: Selection) -> int:
        """How many rows a selection has."""
        return await count(self.source, selection, self.emptiness)

    async def require_empty(self, selection: Selection, column: str, seen: int) -> None:
        """Raises ReadError (denied) unless a column that came empty in `seen` rows is so: the instance counts them."""
        if not seen:
            return
        query = f"{selection.query}^{column}ISEMPTY"
        _, total = await self.source.page(selection.table, query, f"sys_id,{column}", 1, 0)
        if total != seen:
            message = f"{seen} rows of {selection.table} do not show their {column}"
            raise ReadError(DatasetState.DENIED, "no_value", message)

    async def table(
        self,
        name: str,
        selection: Selection,
        make: Make,
        *,
        missing: Collection[MissingField] = (),
        telling: Mapping[str, list[str]] | None = None,
        unseen: Callable[[], Awaitable[ReadError | None]] | None = None,
    ) -> DatasetSummary:
        """A dataset whose rows are those of one selection.

        `telling` names columns that are taken for withheld when they are empty in every row, with the fields they make.
        `unseen` is asked after the last page why rows may be missing all the same.
        """
        writer, empty = RowWriter(SCHEMAS[name], self.sink), set(telling or ())
        rows = self.select(selection)
        try:
            async for page in rows:
                empty -= {column for column in empty if any(filled(row, column) for row in page)}
                writer.write(make, page)
            rows.hidden = rows.hidden or (await unseen() if unseen else None)
        except ReadError as failure:
            return writer.failed(failure)
        withheld = _withheld(name, {c: f for c, f in (telling or {}).items() if c in empty}) if writer.count else []
        return summary_of(writer, rows, [*missing, *withheld])

    async def join(
        self, dataset: str, fields: list[str], read: Callable[[], Awaitable[None]]
    ) -> tuple[bool, list[MissingField]]:
        """Read what fields of a dataset are made of: whether that worked, and what is missing if not."""
        try:
            await read()
        except ReadError as failure:
            return False, summaries.missing_fields(SCHEMAS[dataset], fields, failure)
        return True, []


def summary_of(writer: RowWriter, rows: SelectedRows, missing: Collection[MissingField] = ()) -> DatasetSummary:
    """The summary of a dataset whose rows are those of a selection, read to its end."""
    return writer.summary(reported=rows.known_total, missing=missing, hidden=rows.hidden)


def _withheld(name: str, empty: Mapping[str, list[str]]) -> list[MissingField]:
    found: list[MissingField] = []
    for column, fields in empty.items():
        message = f"{column} is empty in every row, so it is hidden from the collector's user"
        failure = ReadError(DatasetState.DENIED, "no_value", message)
        found += summaries.missing_fields(SCHEMAS[name], fields, failure)
    return found
