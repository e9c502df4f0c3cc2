"""Encoded queries whose rows are checked again here.

The platform leaves out a part of a query that it does not understand, and then more rows come back (Table API). So a
condition is written once and used twice: as a part of the query, and to tell whether a row that came fits it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol
from urllib.parse import quote

from plumbline_collector.connectors.servicenow.values import flag, text

QUERY_CHARACTERS = 6_000
"""How long the encoded list in one query may become, so that the whole address stays below 8,000 characters."""


class Condition(Protocol):
    """One part of an encoded query."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it is about."""

    @property
    def query(self) -> str:
        """How it is written."""

    def verdict(self, row: Mapping[str, Any]) -> bool | None:
        """Whether a row satisfies it; None when the column that would tell is withheld."""


@dataclass(frozen=True)
class _OfColumn(ABC):
    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """See `Condition`."""
        return (self.column,)

    def verdict(self, row: Mapping[str, Any]) -> bool | None:
        """See `Condition`."""
        value = text(row, self.column)
        if value is None or (not value and not self._fits(value)):
            return None
        return self._fits(value)

    @abstractmethod
    def _fits(self, value: str) -> bool:
        """Whether a cell satisfies it."""


@dataclass(frozen=True)
class Equals(_OfColumn):
    """The cell has this value, in any case."""

    value: str

    @property
    def query(self) -> str:
        """See `Condition`."""
        return f"{self.column}={self.value}"

    def _fits(self, value: str) -> bool:
        return value.strip().lower() == self.value.lower()


@dataclass(frozen=True)
class Is:
    """The cell holds this truth value, however it is spelt; a cell that holds none does not tell."""

    column: str
    value: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """See `Condition`."""
        return (self.column,)

    @property
    def query(self) -> str:
        """See `Condition`."""
        return f"{self.column}={'true' if self.value else 'false'}"

    def verdict(self, row: Mapping[str, Any]) -> bool | None:
        """See `Condition`."""
        found = flag(row, self.column)
        return None if found is None else found is self.value


@dataclass(frozen=True)
class OneOf(_OfColumn):
    """The cell has one of these values, compared as the database does: without regard to case."""

    values: tuple[str, ...]

    @property
    def query(self) -> str:
        """See `Condition`."""
        return f"{self.column}IN{','.join(self.values)}"

    @cached_property
    def _lowered(self) -> frozenset[str]:
        return frozenset(each.lower() for each in self.values)

    def _fits(self, value: str) -> bool:
        return value.strip().lower() in self._lowered


@dataclass(frozen=True)
class StartsWith(_OfColumn):
    """The cell begins with one of these."""

    prefixes: tuple[str, ...]

    @property
    def query(self) -> str:
        """See `Condition`."""
        return "^OR".join(f"{self.column}STARTSWITH{prefix}" for prefix in self.prefixes)

    def _fits(self, value: str) -> bool:
        return value.lower().startswith(tuple(prefix.lower() for prefix in self.prefixes))


@dataclass(frozen=True)
class EndsWith(_OfColumn):
    """The cell ends with this."""

    suffix: str

    @property
    def query(self) -> str:
        """See `Condition`."""
        return f"{self.column}ENDSWITH{self.suffix}"

    def _fits(self, value: str) -> bool:
        return value.lower().endswith(self.suffix.lower())


@dataclass(frozen=True)
class IsEmpty(_OfColumn):
    """The cell is empty."""

    @property
    def query(self) -> str:
        """See `Condition`."""
        return f"{self.column}ISEMPTY"

    def _fits(self, value: str) -> bool:
        return not value


@dataclass(frozen=True)
class Either:
    """At least one of these holds."""

    conditions: tuple[Condition, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """See `Condition`."""
        return tuple(dict.fromkeys(column for condition in self.conditions for column in condition.columns))

    @property
    def query(self) -> str:
        """See `Condition`."""
        return "^OR".join(condition.query for condition in self.conditions)

    def verdict(self, row: Mapping[str, Any]) -> bool | None:
        """See `Condition`."""
        verdicts = [condition.verdict(row) for condition in self.conditions]
        if True in verdicts:
            return True
        return None if None in verdicts else False


@dataclass(frozen=True)
class Selection:
    """Rows of one table and the columns to read. `name` tells selections of one table apart in a forecast of calls."""

    table: str
    columns: str
    where: tuple[Condition, ...] = ()
    name: str = ""
    is_never_empty: bool = False
    """Every instance has such rows: none means that they are hidden."""
    is_proven: bool = False
    """What else is read shows that the table may be read and the conditions are understood, so that no row is none."""

    @property
    def key(self) -> str:
        """The table, or the table with what is selected from it."""
        return f"{self.table}/{self.name}" if self.name else self.table

    @property
    def query(self) -> str:
        """The encoded query."""
        return "^".join(condition.query for condition in self.where)

    @property
    def conditions(self) -> tuple[str, ...]:
        """The columns that conditions are about."""
        return tuple(dict.fromkeys(column for condition in self.where for column in condition.columns))

    @property
    def fields(self) -> str:
        """The columns to ask for: sys_id, those that are wanted, and those that conditions are about."""
        wanted = dict.fromkeys(("sys_id", *self.columns.split(","), *self.conditions))
        return ",".join(column for column in wanted if column)

    def with_columns(self, more: str) -> "Selection":
        """The same rows with more columns."""
        return replace(self, columns=f"{self.columns},{more}" if more else self.columns)

    def fits(self, row: Mapping[str, Any]) -> bool | None:
        """Whether the row satisfies every condition; None when a column that would tell is withheld."""
        is_told = True
        for condition in self.where:
            verdict = condition.verdict(row)
            if verdict is False:
                return False
            is_told = is_told and verdict is True
        return True if is_told else None


def in_chunks(values: Iterable[str], most: int = 1_000) -> Iterator[tuple[str, ...]]:
    """The values in lists that fit into one query each, of at most `most` values."""
    chunk: list[str] = []
    length = 0
    for value in values:
        size = len(quote(value, safe="")) + len("%2C")
        if chunk and (length + size > QUERY_CHARACTERS or len(chunk) == most):
            yield tuple(chunk)
            chunk, length = [], 0
        chunk.append(value)
        length += size
    if chunk:
        yield tuple(chunk)
