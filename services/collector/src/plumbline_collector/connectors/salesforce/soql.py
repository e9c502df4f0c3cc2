"""Queries: what is asked of one object, as text. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from plumbline_contracts.events import DatasetState

from plumbline_collector.errors import ReadError

IDS_PER_QUERY = 200
"""How many ids an IN list holds, so that the address of a request stays far below 16,384 bytes."""


@dataclass(frozen=True)
class Selection:
    """Columns of one object. `key` is the unique column to sort by, `order_by` one that is not unique."""

    api_object: str
    columns: tuple[str, ...]
    where: str = ""
    key: str = ""
    order_by: str = ""
    tooling: bool = False
    group_by: tuple[str, ...] = ()
    limit: int | None = None

    def soql(self, *, after: str = "") -> str:
        """The query, for the rows whose key is greater than `after`."""
        conditions = [f"({self.where})" if self.where and after else self.where] if self.where else []
        if after:
            conditions.append(f"{self.key} > '{after}'")
        parts = [f"SELECT {', '.join(self.columns)} FROM {self.api_object}"]  # noqa: S608 - SOQL of constants
        parts += [f"WHERE {' AND '.join(conditions)}"] if conditions else []
        parts += [f"GROUP BY {', '.join(self.group_by)}"] if self.group_by else []
        order = self.order_by or self.key
        parts += [f"ORDER BY {order}"] if order else []
        parts += [f"LIMIT {self.limit}"] if self.limit else []
        return " ".join(parts)

    def without(self, columns: Iterable[str]) -> "Selection":
        """The same without some columns."""
        gone = set(columns)
        kept = tuple(column for column in self.columns if column not in gone)
        return replace(self, columns=kept, group_by=tuple(column for column in self.group_by if column not in gone))

    def one(self) -> "Selection":
        """The same, of which one row is enough."""
        return self if self.group_by else replace(self, limit=1)

    def columns_called(self, name: str) -> list[str]:
        """The columns that end in a name, as an error message gives it."""
        wanted = name.lower()
        return [column for column in self.columns if wanted in column.lower().split(".")]


def record_id(value: Any) -> str:  # noqa: ANN401 - a cell
    """A record id or API name that may stand in the next query. Raises ReadError for anything else."""
    if isinstance(value, str) and value.isascii() and value.replace("_", "").isalnum() and len(value) <= 255:
        return value
    raise ReadError(DatasetState.ERROR, "broken_answer", "a row carries no key that can be asked for")


def any_of(column: str, values: Iterable[str]) -> str:
    """The condition that a column holds one of these ids."""
    return f"{column} IN ({', '.join(repr(record_id(value)) for value in values)})"


def in_groups(values: list[str]) -> list[list[str]]:
    """Ids in groups that fit into one query."""
    return [values[start : start + IDS_PER_QUERY] for start in range(0, len(values), IDS_PER_QUERY)]
