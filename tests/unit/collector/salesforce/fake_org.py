"""An org in memory: it answers selections as the query API does, pages, caps and all."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from plumbline_collector.connectors.salesforce.cells import at_path, moment
from plumbline_collector.connectors.salesforce.pages import Pages, Record
from plumbline_collector.connectors.salesforce.soql import Selection
from plumbline_collector.errors import ReadError
from plumbline_contracts.events import DatasetState

CONDITION = re.compile(r"([\w.]+) (>=|>|=) '?([^']+?)'?")
MEMBERSHIP = re.compile(r"([\w.]+) IN \((.+)\)")
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": lambda a, b: a >= b,
    ">": lambda a, b: a > b,
    "=": lambda a, b: a == b,
}


def _comparable(value: str) -> datetime | str:
    try:
        return moment(value) or value
    except ValueError:
        return value


class FakeOrg:
    """Objects by name. `hidden`: columns that do not exist for the caller; `page_rows`: rows of one page."""

    def __init__(self, objects: dict[str, list[dict[str, Any]]], *, page_rows: int = 2000, cap: int = 10**9) -> None:
        self.objects, self.page_rows, self.cap = objects, page_rows, cap
        self.hidden: set[str] = set()
        self.described: dict[str, str] = {}
        self.lose_cursor_at: list[int] = []
        self.asked: list[str] = []
        self.calls = 0
        self._open: list[Record] = []

    async def pages(self, selection: Selection, after: str = "") -> Pages:
        """As `SalesforceClient.pages`."""
        return Pages(selection, await self._ask(selection, after), self._ask, self._follow)

    async def count(self, api_object: str) -> int:
        """As `SalesforceClient.count`."""
        self.calls += 1
        return len(self.objects[api_object])

    async def columns_of(self, api_object: str, *, tooling: bool = False) -> dict[str, str]:
        """As `SalesforceClient.columns_of`."""
        self.calls += 1
        return self.described

    async def _ask(self, selection: Selection, after: str = "") -> Record:
        self.calls += 1
        self.asked.append(selection.soql(after=after))
        if selection.api_object not in self.objects:
            raise ReadError(DatasetState.DENIED, "INVALID_TYPE", f"sObject type '{selection.api_object}'")
        for column in selection.columns:
            if column in self.hidden:
                message = f"No such column '{column}' on entity '{selection.api_object}'. If you are"
                raise ReadError(DatasetState.DENIED, "INVALID_FIELD", message)
        found = [row for row in self.objects[selection.api_object] if _matches(row, selection.where)]
        if order := selection.order_by or selection.key:
            found.sort(key=lambda row: _comparable(str(row[order])))
        found = [row for row in found if not after or str(row[selection.key]) > after][: selection.limit]
        self._open = list(found)
        return self._page(0)

    async def _follow(self, link: str) -> Record:
        self.calls += 1
        start = int(link.rsplit("-", 1)[1])
        if start in self.lose_cursor_at:
            self.lose_cursor_at.remove(start)
            raise ReadError(DatasetState.ERROR, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(start)

    def _page(self, start: int) -> Record:
        rows = self._open[start : min(start + self.page_rows, self.cap)]
        end = start + len(rows)
        page = {"totalSize": len(self._open), "records": rows, "done": end >= min(len(self._open), self.cap)}
        return page if page["done"] else {**page, "nextRecordsUrl": f"/query/01g-{end}"}


def _matches(row: dict[str, Any], where: str) -> bool:
    parts = where.split(" AND ") if where else []
    return all(any(_holds(row, choice) for choice in part.split(" OR ")) for part in parts)


def _holds(row: dict[str, Any], condition: str) -> bool:
    if member := MEMBERSHIP.fullmatch(condition):
        return repr(at_path(row, member[1])) in member[2].split(", ")
    match = CONDITION.fullmatch(condition)
    assert match, condition
    column, operator, wanted = match.groups()
    value = at_path(row, column)
    said = str(value).lower() if isinstance(value, bool) else str(value)
    return OPERATORS[operator](_comparable(said), _comparable(wanted))


async def rows_of(pages: Any) -> list[Record]:
    """All rows of some pages."""
    return [row async for page in pages for row in page]
