"""Reading one object at a time: columns that may not be read are left out, and are remembered."""

from plumbline_contracts.datasets import DatasetSchema
from plumbline_contracts.events import DatasetState, MissingField

from plumbline_collector.connectors.salesforce.client import SalesforceClient, unknown_column
from plumbline_collector.connectors.salesforce.columns import SourceColumns
from plumbline_collector.connectors.salesforce.pages import Pages, Record
from plumbline_collector.connectors.salesforce.rights import hidden_field
from plumbline_collector.connectors.salesforce.soql import Selection
from plumbline_collector.errors import ReadError

MOST_RETRIES = 3
"""Columns of one object that are found missing one by one; the rest is looked up in its description."""


class ObjectReader:
    """Queries of one collection."""

    def __init__(self, client: SalesforceClient, *, is_probe: bool = False) -> None:
        """With `is_probe`, one row is asked for in place of all."""
        self._client, self._is_probe = client, is_probe
        self._withheld: dict[str, dict[str, ReadError]] = {}

    async def open(self, selection: Selection, after: str = "") -> Pages:
        """The pages of a selection, without the columns that the org does not show. Raises ReadError."""
        withheld = self._withheld.setdefault(selection.api_object, {})
        selection = (selection.one() if self._is_probe else selection).without(withheld)
        for _ in range(MOST_RETRIES):
            try:
                return await self._client.pages(selection, after)
            except ReadError as failure:
                gone = _named_columns(selection, failure)
                withheld.update(dict.fromkeys(gone, failure))
                selection = selection.without(gone)
        try:
            return await self._client.pages(selection, after)
        except ReadError as failure:
            _named_columns(selection, failure)
            gone = await self._undescribed(selection)
            withheld.update(dict.fromkeys(gone, failure))
            return await self._client.pages(selection.without(gone), after)

    async def _undescribed(self, selection: Selection) -> list[str]:
        known = await self._client.columns_of(selection.api_object, tooling=selection.tooling)
        own = [column for column in selection.columns if "." not in column and "(" not in column]
        return [column for column in own if column not in known and column != selection.key]

    async def only_record(self, selection: Selection) -> Record:
        """The one record of a selection. Raises ReadError (denied) when there is none or more."""
        async for records in await self.open(selection):
            if len(records) == 1:
                return records[0]
        raise ReadError(DatasetState.DENIED, "no_record", "the org shows no such record to the collector's user")

    def missing_fields(self, schema: DatasetSchema, api_object: str) -> list[MissingField]:
        """The fields of a dataset that are made of columns of an object which were left out."""
        source = SourceColumns(schema, api_object)
        return [
            hidden_field(field, api_object, column, failure)
            for column, failure in self._withheld.get(api_object, {}).items()
            for field in source.fields_made_of([column])
            if field in schema.fields
        ]


def _named_columns(selection: Selection, failure: ReadError) -> list[str]:
    """The columns of a selection that a failure names; raises the failure when it can be read without none of them."""
    column = unknown_column(failure)
    named = selection.columns_called(column) if column else []
    if not named or selection.key in named or len(named) == len(selection.columns):
        raise failure
    return named
