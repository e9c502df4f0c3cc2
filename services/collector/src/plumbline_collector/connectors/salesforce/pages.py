"""The pages of a query: to their end, each row once, with one new start when the cursor is lost."""

from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from heapq import merge
from itertools import pairwise
from typing import Any

from plumbline_contracts.events import DatasetState

from plumbline_collector.connectors.ahead import Ahead
from plumbline_collector.connectors.salesforce.cells import moment, rfc3339
from plumbline_collector.connectors.salesforce.soql import Selection, record_id
from plumbline_collector.errors import ReadError

Record = Mapping[str, Any]
LOST_CURSOR = "INVALID_QUERY_LOCATOR"
BATCH = 2000
"""Rows of a batch of an object that cannot be paged to its end; below the 2,500 after which two of them fall silent."""
MOST_BATCHES = 5000
"""Ten million rows: an end for batches that a broken server would never let end."""


def broken_paging(message: str) -> ReadError:
    """Pages that lead astray."""
    return ReadError(DatasetState.ERROR, "broken_paging", message)


class _Keys:
    """The keys of a read, eight bytes each: whether one came twice, however far apart."""

    def __init__(self) -> None:
        self._pages: list[array[int]] = []

    def add(self, keys: Iterable[str]) -> None:
        """The keys of one page."""
        self._pages.append(array("q", sorted(map(hash, keys))))

    def repeated(self) -> int:
        """How many rows came that had come before."""
        return sum(one == other for one, other in pairwise(merge(*self._pages)))


class Pages:
    """The pages of one selection. `reported`: how many rows the org says there are, `count`: how many came so far.

    A row that comes again on the same page or the next is dropped, which shows where the selection has a key; one that
    comes again later stands for another that did not come. When the cursor is lost half way, the rest is asked for once
    more from the last key.
    """

    def __init__(
        self,
        selection: Selection,
        first: Record,
        ask: Callable[[Selection, str], Awaitable[Record]],
        follow: Callable[[str], Awaitable[Record]],
    ) -> None:
        self._selection, self._first, self._ask, self._follow = selection, first, ask, follow
        self.reported = int(first["totalSize"])
        self.count = 0
        self._last, self._recent, self._seen, self._keys = "", set[str](), set[str](), _Keys()
        self._can_restart = bool(selection.key) and selection.limit is None

    async def __aiter__(self) -> AsyncIterator[list[Record]]:
        """The records, page by page. Raises ReadError when the pages lead astray, never end, or break off."""
        page = self._first
        async with Ahead[Record]() as ahead:
            while True:
                records = self._fresh(page["records"])
                self.count += len(records)
                if self.count > self.reported:
                    raise broken_paging("more rows came than the org counts")
                link = self._link(page, records)
                if link:
                    await ahead.start(self._next(link))
                if records:
                    yield records
                if page.get("done") is True:
                    self._require_unrepeated()
                    return
                if not link:
                    raise broken_paging("the pages do not lead to an end")
                page = await ahead.take()

    def _link(self, page: Record, records: list[Record]) -> str:
        """Where the next page is; empty after the last, and when the link leads nowhere or back."""
        link = page.get("nextRecordsUrl")
        if page.get("done") is True or not records or not isinstance(link, str) or link in self._seen:
            return ""
        self._seen.add(link)
        return link

    async def _next(self, link: str) -> Record:
        try:
            return await self._follow(link)
        except ReadError as failure:
            if failure.code != LOST_CURSOR:
                raise
            if not self._can_restart or not self._last:
                message = f"the query's cursor was lost after {self.count} of {self.reported} rows"
                raise ReadError(DatasetState.TRUNCATED, failure.code, message) from failure
        self._can_restart = False
        self._seen.clear()
        page = await self._ask(self._selection, self._last)
        self.reported = max(self.reported, self.count + int(page["totalSize"]))
        return page

    def _fresh(self, records: list[Record]) -> list[Record]:
        """The records of a page that were not on it or on the one before."""
        key = self._selection.key
        if not key or not records:
            return records
        fresh, names = dict[str, Record](), set[str]()
        for record in records:
            name = str(record.get(key))
            if name not in names and name not in self._recent:
                fresh[name] = record
            names.add(name)
        self._keys.add(fresh)
        self._recent, self._last = names, record_id(records[-1].get(key))
        return list(fresh.values())

    def _require_unrepeated(self) -> None:
        if repeated := self._keys.repeated():
            message = f"{repeated} rows of {self._selection.api_object} came twice, in place of others"
            raise ReadError(DatasetState.TRUNCATED, "moved_rows", message)

    def require_whole(self) -> None:
        """After the last page. Raises ReadError (truncated) when rows of the object are hidden."""
        if self.count < self.reported:
            message = f"{self.count} of {self.reported} rows of {self._selection.api_object} could be read"
            raise ReadError(DatasetState.TRUNCATED, "hidden_rows", message)


Open = Callable[[Selection, str], Awaitable[Pages]]


async def by_key(selection: Selection, open_pages: Open) -> AsyncIterator[list[Record]]:
    """All rows of an object that ends silently or cannot be paged: batch after batch by its unique key."""
    batch, after = replace(selection, limit=BATCH), ""
    for _ in range(MOST_BATCHES):
        pages, before = await open_pages(batch, after), after
        async for records in pages:
            after = record_id(records[-1].get(selection.key))
            yield records
        pages.require_whole()
        if pages.count < BATCH:
            return
        if after == before:
            break
    raise broken_paging(f"the batches of {selection.api_object} do not move on")


async def by_time(selection: Selection, open_pages: Open, times: str, then: str) -> AsyncIterator[list[Record]]:
    """The same for an object without a unique key: by the date-time `times`, and by `then` within one moment.

    The rows of the last moment of a full batch are held back and come whole with the next, so that none is lost or
    doubled at the border.
    """
    since: str | None = None
    for _ in range(MOST_BATCHES):
        rows = await _batch(selection, open_pages, times, f"{times} >= {since}" if since else "")
        if len(rows) < BATCH:
            yield rows
            return
        border = _moment_of(rows[-1], times)
        whole = [row for row in rows if _moment_of(row, times) != border]
        if whole:
            yield whole
            since = rfc3339(border)
            continue
        async for same in _one_moment(selection, open_pages, f"{times} = {rfc3339(border)}", then):
            yield same
        later = await _batch(selection, open_pages, times, f"{times} > {rfc3339(border)}", limit=1)
        if not later:
            return
        since = rfc3339(_moment_of(later[0], times))
    raise broken_paging(f"the batches of {selection.api_object} do not move on")


async def _one_moment(selection: Selection, open_pages: Open, at: str, then: str) -> AsyncIterator[list[Record]]:
    after = ""
    for _ in range(MOST_BATCHES):
        condition = f"{at} AND {then} >= '{after}'" if after else at
        rows = await _batch(selection, open_pages, then, condition)
        border = record_id(rows[-1].get(then)) if rows else ""
        if len(rows) < BATCH:
            yield rows
            return
        if border == after:
            message = f"more than {BATCH} rows of {selection.api_object} share a moment and an owner"
            raise ReadError(DatasetState.TRUNCATED, "same_moment", message)
        yield [row for row in rows if row.get(then) != border]
        after = border


async def _batch(
    selection: Selection, open_pages: Open, order: str, condition: str, limit: int = BATCH
) -> list[Record]:
    """At most `limit` rows in an order that is not unique; nothing is known of duplicates among them."""
    where = " AND ".join(part for part in (selection.where, condition) if part)
    ordered = replace(selection, where=where, key="", order_by=order, limit=limit)
    found: list[Record] = []
    opened = await open_pages(ordered, "")
    async for records in opened:
        found += records
    opened.require_whole()
    return found


def _moment_of(record: Record, column: str) -> datetime:
    try:
        at = moment(record.get(column))
    except ValueError:
        at = None
    if at is None:
        raise ReadError(DatasetState.ERROR, "broken_answer", f"a row carries no {column}")
    return at
