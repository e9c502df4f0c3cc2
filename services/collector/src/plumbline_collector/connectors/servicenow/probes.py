"""Whether tables may be read, at the price of one call each: a row of a table, or the first page of a selection."""

from plumbline_contracts.events import DatasetState

from plumbline_collector.connectors.servicenow.paging import PAGE_ROWS, PageSource
from plumbline_collector.connectors.servicenow.queries import Selection
from plumbline_collector.connectors.servicenow.selections import NEVER_EMPTY
from plumbline_collector.errors import ReadError


class Probes:
    """Tries tables through one client and remembers the answers."""

    def __init__(self, source: PageSource) -> None:
        self._source = source
        self._failures: dict[str, ReadError | None] = {}

    async def failure(self, table: str) -> ReadError | None:
        """Why a table cannot be read; None when it can."""
        if table not in self._failures:
            self._failures[table] = await self._try(table)
        return self._failures[table]

    async def failure_of_rows(self, selection: Selection) -> ReadError | None:
        """Why a selection cannot be read, or (truncated) not whole as far as its first page tells; None when it can."""
        try:
            rows, total = await self._source.page(selection.table, selection.query, selection.fields, PAGE_ROWS, 0)
        except ReadError as failure:
            return failure
        if not rows:
            return _no_rows(selection.table, total) if total else await self.failure(selection.table)
        expected = min(total or 0, PAGE_ROWS)
        if len(rows) >= expected:
            return None
        message = f"{len(rows)} of the first {expected} rows of {selection.table} could be read; the others are hidden"
        return ReadError(DatasetState.TRUNCATED, "hidden_rows", f"{message} from the collector's user")

    async def _try(self, table: str) -> ReadError | None:
        try:
            rows, total = await self._source.page(table, "", "sys_id", 1, 0)
        except ReadError as failure:
            return failure
        if rows or (total == 0 and table not in NEVER_EMPTY):
            return None
        return _no_rows(table, total)


def _no_rows(table: str, total: int | None) -> ReadError:
    hidden = f"{table} has {'hidden' if total is None else total} rows and shows none"
    return ReadError(DatasetState.DENIED, "no_rows", f"{table} shows no row" if total == 0 else hidden)
