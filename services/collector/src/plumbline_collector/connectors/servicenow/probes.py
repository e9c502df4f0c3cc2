"""Whether tables may be read at all: one row of each, each asked once."""

from plumbline_contracts.events import DatasetState

from plumbline_collector.connectors.servicenow.paging import PageSource
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

    async def _try(self, table: str) -> ReadError | None:
        try:
            rows, total = await self._source.page(table, "", "sys_id", 1, 0)
        except ReadError as failure:
            return failure
        if rows or (total == 0 and table not in NEVER_EMPTY):
            return None
        hidden = f"{table} has {'hidden' if total is None else total} rows and shows none"
        return ReadError(DatasetState.DENIED, "no_rows", hidden if total else f"{table} shows no row")
