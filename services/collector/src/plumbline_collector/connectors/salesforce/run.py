"""One run through an org: reading it whole, or trying a row of everything."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from plumbline_contracts.datasets import DatasetSchema
from plumbline_contracts.datasets import datasets as schemas_of
from plumbline_contracts.events import DatasetState, DatasetSummary, MissingField, Product, Row

from plumbline_collector.connectors import summaries
from plumbline_collector.connectors.ports import DatasetSink
from plumbline_collector.connectors.rows import RowWriter
from plumbline_collector.connectors.salesforce.client import SalesforceClient
from plumbline_collector.connectors.salesforce.columns import SourceColumns
from plumbline_collector.connectors.salesforce.objects import ObjectReader
from plumbline_collector.connectors.salesforce.pages import Record
from plumbline_collector.connectors.salesforce.rights import Rights
from plumbline_collector.connectors.salesforce.soql import Selection
from plumbline_collector.connectors.salesforce.tables import MOST_GROUPS, Table
from plumbline_collector.errors import ReadError

SCHEMAS = schemas_of(Product.SALESFORCE)
Pages = AsyncIterator[list[Record]]


@dataclass
class Run:
    """What the readings of one run share. With `is_probe` only a row of each object is asked for and none is kept."""

    client: SalesforceClient
    sink: DatasetSink
    started_at: datetime
    is_probe: bool = False
    rights: Rights = field(default_factory=Rights)
    objects: ObjectReader = field(init=False)

    def __post_init__(self) -> None:
        """Build the reader of single objects."""
        self.objects = ObjectReader(self.client, is_probe=self.is_probe)

    async def document(self, name: str, read: Callable[[], Awaitable[Row]], source: str = "") -> DatasetSummary:
        """A document; `source` is the object whose withheld columns make fields missing, if not the dataset's own."""
        schema = SCHEMAS[name]
        try:
            row = await read()
        except ReadError as failure:
            return summaries.failed(schema, self.rights.judged(name, failure))
        return self.written(name, row, self.objects.missing_fields(schema, source or schema.source))

    def written(self, name: str, row: Row, missing: Iterable[MissingField] = ()) -> DatasetSummary:
        """A document that was read."""
        self.sink.add(name, [row])
        return summaries.read(SCHEMAS[name], 1, missing=list(missing))

    def rows_of(self, name: str, rows: list[Row]) -> DatasetSummary:
        """Rows that came out of a document."""
        if rows:
            self.sink.add(name, rows)
        return summaries.read(SCHEMAS[name], len(rows))

    async def table(
        self,
        table: Table,
        add: Callable[[Record], Row] | None = None,
        *,
        pages: Pages | None = None,
        missing: Iterable[MissingField] = (),
        expected: int | None = None,
    ) -> DatasetSummary:
        """Read a table to its end. `add`: fields that joins give; `pages`: in place of the table's own query."""
        schema = SCHEMAS[table.dataset]
        writer, copy = RowWriter(schema, self.sink), table.maker(schema, self.started_at)

        def make(record: Record) -> Row:
            return {**copy(record), **add(record)} if add else copy(record)

        try:
            reported = await self._write(writer, make, pages, table.selection(schema))
        except ReadError as failure:
            return writer.failed(self.rights.judged(table.dataset, failure))
        withheld = [*missing, *self.objects.missing_fields(schema, schema.source)]
        return self._summary(writer, schema, table, reported if expected is None else expected, withheld)

    async def _write(
        self, writer: RowWriter, make: Callable[[Record], Row], pages: Pages | None, selection: Selection
    ) -> int | None:
        if pages is not None:
            async for records in pages:
                writer.write(make, records)
            return None
        opened = await self.objects.open(selection)
        async for records in opened:
            writer.write(make, records)
        return opened.reported

    def _summary(
        self, writer: RowWriter, schema: DatasetSchema, table: Table, reported: int | None, missing: list[MissingField]
    ) -> DatasetSummary:
        hidden = self._hidden(table, schema, is_empty=not (self.is_probe or writer.count))
        if self.is_probe:
            return summaries.read(schema, 1, missing=missing, hidden=hidden)
        if table.count and writer.count >= MOST_GROUPS:
            message = f"a grouped query ends after {MOST_GROUPS} groups; there may be more of {schema.source}"
            hidden = ReadError(DatasetState.TRUNCATED, "most_groups", message)
        return writer.summary(reported=reported, missing=missing, hidden=hidden)

    def _hidden(self, table: Table, schema: DatasetSchema, *, is_empty: bool) -> ReadError | None:
        what = f"rows of {schema.source}"
        if table.whole_with:
            return self.rights.hidden(table.whole_with, what)
        return self.rights.lacking(schema.permission, what, is_empty=is_empty)

    def selection_of(self, name: str, api_object: str, *extra: str) -> Selection:
        """The columns of an object that a dataset's fields name, and some more."""
        columns = dict.fromkeys((*extra, *SourceColumns(SCHEMAS[name], api_object).columns))
        return Selection(api_object, tuple(columns))


class NoSink:
    """Takes rows and keeps none."""

    def add(self, dataset: str, rows: list[Row]) -> None:
        """Drop them."""
