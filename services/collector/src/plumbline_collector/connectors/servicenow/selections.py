"""Reading a selection of a table, and proving that it was read whole.

No row proves nothing by itself: a right may be missing, or a condition may be about a column that the release does not
have. What proves that there is none, cheapest first:

- rows were read, and the instance's total says that no other fits;
- the selection is empty by the instance's total (which counts before access rules), and one more call shows a row of
  the table with every column that the conditions name: the table may be read, and the conditions are understood;
- the whole table is empty by that total, and so may it be. An instance that counted after its access rules would show
  0 there too; it would then also show 0 for a table that is never empty, so one such finding in a collection ends the
  trust in every other 0 of it. A table that may not be read at all is refused (HTTP 403) and never gets here.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import structlog
from plumbline_contracts.events import DatasetState

from plumbline_collector.connectors.rows import typed
from plumbline_collector.connectors.servicenow.paging import PAGE_ROWS, PageSource, TableRow, TableRows
from plumbline_collector.connectors.servicenow.queries import Selection
from plumbline_collector.errors import ReadError

log = structlog.get_logger(__name__)

NEVER_EMPTY = frozenset(
    {"sys_properties", "v_plugin", "sys_user", "sys_user_has_role", "sys_user_role", "sys_security_acl", "sys_public"}
)
"""Tables in which every instance has rows."""
IGNORED_PAGES = 20
"""How many pages more than those that fit are read when the instance leaves a condition out."""


MOST_VERDICTS = 1024
"""How many verdicts on a selection's rows are remembered."""


class Emptiness:
    """What a collection learned of how much a total of 0 proves."""

    def __init__(self) -> None:
        self.is_trusted = True


class SelectedRows:
    """The rows of a selection, page by page; those that do not fit its conditions are dropped here.

    After the last page `hidden` says why rows may be missing, and `count` and `reported` compare what was read with
    what there is. Raises ReadError when it cannot be read to its end, or shows no row and that proves nothing.
    """

    def __init__(self, source: PageSource, selection: Selection, emptiness: Emptiness) -> None:
        self._source, self._selection, self._emptiness = source, selection, emptiness
        self._pages = TableRows(source, selection.table, selection.query, selection.fields)
        self._columns = selection.conditions
        self._verdict = lru_cache(MOST_VERDICTS)(partial(_verdict, selection))
        self._has_unclear, self._dropped = False, 0
        self.count = 0
        self.hidden: ReadError | None = None

    @property
    def reported(self) -> int:
        """How many rows fit, as far as is known."""
        return self.count + self._pages.reported - self._pages.count

    @property
    def known_total(self) -> int | None:
        """`reported`, or None where what is hidden cannot be counted."""
        return self.reported if self.hidden is None or self.hidden.code == "hidden_rows" else None

    async def __aiter__(self) -> AsyncIterator[list[TableRow]]:
        """The rows that fit."""
        async for rows in self._pages:
            fitting = [row for row in rows if self._fits(row)]
            self._dropped += len(rows) - len(fitting)
            self.count += len(fitting)
            self._require_conditions()
            if fitting:
                yield fitting
        if self._dropped:
            log.warning("conditions left out", table=self._selection.table, rows=self.count, dropped=self._dropped)
        if not self._pages.count:
            await self._prove_empty()
        elif not self.count and self._selection.is_never_empty:
            raise _no_such_row(self._selection)
        self.hidden = self._pages.hidden or self._unclear()

    def _fits(self, row: TableRow) -> bool:
        """Whether the row is one to keep. Most rows say the same as others in the columns that conditions are about."""
        verdict = self._verdict(*map(row.get, self._columns))
        self._has_unclear = self._has_unclear or verdict is None
        return verdict is not False

    def _require_conditions(self) -> None:
        if self._dropped > IGNORED_PAGES * PAGE_ROWS:
            message = f"{self._selection.table}: the instance leaves a condition out ({self._selection.query[:200]})"
            raise ReadError(
                DatasetState.DENIED, "query_ignored", f"{message}, and the whole table is too large to read"
            )

    def _unclear(self) -> ReadError | None:
        if not self._has_unclear:
            return None
        columns = ", ".join(dict.fromkeys(self._selection.conditions))
        message = f"{self._selection.table} does not show {columns}, so some of its rows may belong to others"
        return ReadError(DatasetState.TRUNCATED, "unverified", message)

    async def _prove_empty(self) -> None:
        if self._pages.hidden is not None:
            raise ReadError(DatasetState.DENIED, "no_rows", self._pages.hidden.message)
        if not self._selection.is_proven:
            await _Proof(self._source, self._selection, self._emptiness).require()

    async def each(self, use: Callable[[Mapping[str, Any]], object]) -> None:
        """Hand every row to `use`. Raises ReadError also when rows are hidden, or one is not as documented."""
        async for rows in self:
            typed(use, rows)
        if self.hidden is not None:
            raise self.hidden


def _verdict(selection: Selection, *cells: str | None) -> bool | None:
    """Whether a row with these cells in the columns that conditions are about fits."""
    return selection.fits(dict(zip(selection.conditions, cells, strict=True)))


class _Proof:
    """The proof that a selection whose total is 0 is empty."""

    def __init__(self, source: PageSource, selection: Selection, emptiness: Emptiness) -> None:
        self._source, self._selection, self._emptiness = source, selection, emptiness

    async def require(self) -> None:
        """Raises ReadError (denied) when rows may be hidden."""
        selection = self._selection
        if selection.is_never_empty:
            raise _no_such_row(selection)
        if not selection.where:
            self._require_trust()
            return
        columns = ",".join(dict.fromkeys(("sys_id", *selection.conditions)))
        rows, total = await self._source.page(selection.table, "", columns, 1, 0)
        if not rows and total == 0:
            self._require_trust()
        elif not rows:
            raise _hidden(selection, f"has {'hidden' if total is None else total} rows and shows none")
        elif unknown := [column for column in selection.conditions if column not in rows[0]]:
            raise _hidden(selection, f"does not show {', '.join(unknown)}, so whether it has such rows is not known")

    def _require_trust(self) -> None:
        """The whole table is empty by its total."""
        if self._selection.table in NEVER_EMPTY:
            self._emptiness.is_trusted = False
            raise _hidden(self._selection, "shows no row, and it is never empty")
        if not self._emptiness.is_trusted:
            raise _hidden(self._selection, "shows no row, and the instance's totals leave out what access rules hide")


async def count(source: PageSource, selection: Selection, emptiness: Emptiness) -> int:
    """How many rows a selection has, in one call. Raises ReadError when the number cannot be trusted."""
    rows, total = await source.page(selection.table, selection.query, selection.fields, 1, 0)
    if total is None:
        raise _hidden(selection, "came without X-Total-Count")
    if total < len(rows):
        raise _hidden(selection, f"shows {len(rows)} rows and says that it has {total}")
    if total == 0:
        await _Proof(source, selection, emptiness).require()
        return 0
    if not rows:
        raise _hidden(selection, f"has {total} rows and shows none")
    if selection.fits(rows[0]) is not True:
        raise _hidden(selection, "shows a row that does not fit the query, so a part of it was left out")
    return total


def _hidden(selection: Selection, why: str) -> ReadError:
    return ReadError(DatasetState.DENIED, "no_rows", f"{selection.table} {why}")


def _no_such_row(selection: Selection) -> ReadError:
    return _hidden(selection, "shows no such row, and every instance has some")
