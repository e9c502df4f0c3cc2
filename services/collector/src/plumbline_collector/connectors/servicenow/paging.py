"""The pages of a table, each row once, however the instance lets itself be paged. Source: Table API."""

import math
from collections.abc import AsyncIterator
from enum import Enum
from typing import Protocol

from plumbline_contracts.events import DatasetState

from plumbline_collector.connectors.ahead import Ahead
from plumbline_collector.connectors.servicenow.identifiers import Key, key
from plumbline_collector.errors import ReadError

PAGE_ROWS = 1000
SMALLEST_PAGE = 50
MOST_ASKED, SPARE_ROWS = 3, 10 * PAGE_ROWS
"""How many times its rows, and how many rows besides, a table is asked for before it counts as endless."""
MOST_HIDDEN = 5 * PAGE_ROWS
"""How many rows may be hidden, if they are more than those that are shown, before the rest is not asked for."""

TableRow = dict[str, str]


class PageSource(Protocol):
    """Where `TableRows` gets its pages: the client, or a table in a test."""

    async def page(
        self, table: str, query: str, fields: str, size: int, offset: int
    ) -> tuple[list[TableRow], int | None]:
        """See `ServiceNowClient.page`."""


class _Paging(Enum):
    """How the next page is asked for, from the safest way to the last resort."""

    BY_KEY = "sys_id>LAST, in order"
    BY_OFFSET = "offset, in order"
    UNORDERED = "offset, in whatever order the instance likes"


class TableRows:
    """The pages of one table, each row once. `fields` must name sys_id, by which pages are told apart.

    Paging goes by key, which holds when rows come and go. Where the instance forbids range queries it goes by offset,
    and where it forbids sorting as well, or leaves the order out, without order: then rows may be missed when the
    table changes meanwhile, and that is noticed. A page is short, even empty, when access rules trim it after the
    limit, so only the total that the instance reports says where the end is; and a page that is shorter than limit
    and total say shows that rows are hidden. Where most of many rows are hidden, the rest is left unread, for it would
    prove no more. `hidden` says after the last page why rows may be missing, if they may.
    """

    def __init__(self, source: PageSource, table: str, query: str, fields: str) -> None:
        self._source, self._table, self._query, self._fields = source, table, query, fields
        self._size = PAGE_ROWS
        self._paging, self._last, self._offset = _Paging.BY_KEY, "", 0
        self._seen: set[Key] = set()
        self._trimmed, self._asked = 0, 0
        self._has_shifted = self._is_total_wrong = False
        self._first_total: int | None = None
        self._last_total: int | None = None
        self.count = 0
        self.hidden: ReadError | None = None

    async def __aiter__(self) -> AsyncIterator[list[TableRow]]:
        """The rows, page by page. Raises ReadError when the table cannot be read to its end."""
        at_end = False
        async with Ahead[tuple[list[TableRow], int | None]]() as ahead:
            await ahead.start(self._read())
            while not at_end:
                try:
                    rows, total = await ahead.take()
                except ReadError as failure:
                    if failure.state is not DatasetState.DENIED or not self._fall_back():
                        raise
                    await ahead.start(self._read())
                    continue
                self._account(rows, total)
                at_end = self._is_end(rows, total) or self._is_mostly_hidden(rows)
                fresh = self._fresh(rows)
                if not at_end:
                    self._move_on(rows, fresh)
                    await ahead.start(self._read())
                if fresh:
                    self.count += len(fresh)
                    yield fresh
        self.hidden = await self._what_is_hidden()

    @property
    def reported(self) -> int:
        """How many rows there are as far as is known: more than `count` when some are hidden."""
        return max(self._first_total or 0, self.count + 1) if self.hidden else self.count

    def require_whole(self) -> None:
        """After the last page. Raises ReadError (truncated) when rows of the table are hidden."""
        if self.hidden is not None:
            raise self.hidden

    async def _read(self) -> tuple[list[TableRow], int | None]:
        parts = [self._query] if self._query else []
        if self._paging is _Paging.BY_KEY and self._last:
            parts.insert(0, f"sys_id>{self._last}")
        if self._paging is not _Paging.UNORDERED:
            parts.append("ORDERBYsys_id")
        while True:
            try:
                return await self._source.page(self._table, "^".join(parts), self._fields, self._size, self._offset)
            except ReadError as failure:
                if not failure.can_halve or self._size <= SMALLEST_PAGE:
                    raise
                self._size //= 2

    def _is_end(self, rows: list[TableRow], total: int | None) -> bool:
        if total is None or self._is_total_wrong:
            return not rows
        return self._offset + self._size >= total

    def _is_mostly_hidden(self, rows: list[TableRow]) -> bool:
        return self._trimmed > max(MOST_HIDDEN, self.count + len(rows))

    def _account(self, rows: list[TableRow], total: int | None) -> None:
        """Compare a page with the total that came along. Raises ReadError when the table has no end."""
        if self._first_total is None:
            self._first_total = total
        self._require_end(total)
        if total is None:
            return
        self._is_total_wrong = self._is_total_wrong or len(rows) > max(0, total - self._offset)
        if self._paging is not _Paging.BY_KEY and total != self._first_total:
            self._has_shifted = True
        self._trimmed += max(0, min(self._size, total - self._offset) - len(rows))

    def _require_end(self, total: int | None) -> None:
        """What remains never grows by a page from one answer to the next, and no table is asked for over and over."""
        grows = self._last_total is not None and total is not None and total >= self._last_total + self._size
        self._last_total, self._asked = total, self._asked + self._size
        if grows or self._asked > MOST_ASKED * max(self._first_total or 0, self.count) + SPARE_ROWS:
            message = f"{self._table} has no end: the instance reports a page more after every page"
            raise ReadError(DatasetState.ERROR, "broken_paging", message)

    async def _what_is_hidden(self) -> ReadError | None:
        if self._first_total is None:
            message = f"{self._table} came without X-Total-Count, so hidden rows cannot be told from none"
            return ReadError(DatasetState.TRUNCATED, "no_total", message)
        if self._has_shifted:
            message = f"{self._table} changed while it was read by offset, so rows may have been passed over"
            return ReadError(DatasetState.TRUNCATED, "changed", message)
        if self._is_total_wrong:
            message = f"{self._table} shows more rows than X-Total-Count says, so it tells nothing of hidden rows"
            return ReadError(DatasetState.TRUNCATED, "wrong_total", message)
        if self.count >= self._first_total and not self._trimmed:
            return None
        if not self._trimmed and await self._total_now() <= self.count:
            return None
        message = f"{self.count} of {self._first_total} rows of {self._table} could be read; the others are hidden"
        return ReadError(DatasetState.TRUNCATED, "hidden_rows", f"{message} from the collector's user")

    async def _total_now(self) -> float:
        """The total once more: rows that were deleted while the table was read are not hidden."""
        _, total = await self._source.page(self._table, self._query, "sys_id", 1, 0)
        return math.inf if total is None else total

    def _fall_back(self) -> bool:
        """Take the next way of paging after a refusal; False when there is none, or none that could help."""
        if self._paging is _Paging.BY_KEY and self._last:
            self._paging, self._offset, self._last_total = _Paging.BY_OFFSET, self.count, None
            return True
        if not self.count and self._paging is not _Paging.UNORDERED:
            self._paging = _Paging.UNORDERED
            return True
        return False

    def _fresh(self, rows: list[TableRow]) -> list[TableRow]:
        """The rows that were not seen before."""
        identities = _identities(rows)
        if self._paging is _Paging.BY_KEY and not self._last and identities != sorted(identities):
            self._paging = _Paging.UNORDERED
        if self._paging is _Paging.UNORDERED:
            return [row for row, identity in zip(rows, identities, strict=True) if self._is_new(identity)]
        found, last = [], self._last.lower()
        for row, identity in zip(rows, identities, strict=True):
            if identity > last:
                found.append(row)
                last = identity
        return found

    def _is_new(self, identity: str) -> bool:
        size = len(self._seen)
        self._seen.add(key(identity))
        return len(self._seen) > size

    def _move_on(self, rows: list[TableRow], fresh: list[TableRow]) -> None:
        if self._paging is _Paging.BY_KEY and rows and not fresh:
            # The instance left the key out of its query, as it does with parts that it does not understand.
            self._paging, self._offset, self._last_total = _Paging.BY_OFFSET, self.count, None
        elif self._paging is _Paging.BY_KEY and fresh:
            self._last, self._offset = str(fresh[-1]["sys_id"]), 0
        else:
            self._offset += self._size
            self._last = str(fresh[-1]["sys_id"]) if fresh else self._last


def _identities(rows: list[TableRow]) -> list[str]:
    """The record ids, comparable as the database compares them. Raises ReadError when a row carries none."""
    found = [row.get("sys_id", "").lower() for row in rows]
    if "" in found:
        raise ReadError(DatasetState.DENIED, "no_sys_id", "a row comes without its sys_id, which is hidden")
    return found
