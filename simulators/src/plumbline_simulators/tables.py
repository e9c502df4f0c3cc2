"""Rows that are made when they are asked for, so that an org of any size costs no memory."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A table in the order of its key. `rows(after)` yields the rows whose key is greater than `after`; all if None."""

    name: str
    columns: frozenset[str]
    rows: Callable[[str | None], Iterator[Row]]
    key: str


def listed(name: str, columns: Iterable[str], rows: Iterable[Row], key: str) -> Table:
    """A small table held as a list."""
    ordered = sorted(rows, key=lambda row: str(row[key]))
    return Table(
        name,
        frozenset(columns),
        lambda after: iter([row for row in ordered if after is None or str(row[key]) > after]),
        key,
    )


def generated(
    name: str,
    columns: Iterable[str],
    count: int,
    make: Callable[[int], Row | None],
    key: str,
    index_of: Callable[[str], int],
) -> Table:
    """A table whose row number `n` (from 0) is `make(n)`; None leaves the number out. Keys ascend with the number."""

    def rows(after: str | None) -> Iterator[Row]:
        first = 0 if after is None else index_of(after) + 1
        return (row for number in range(first, count) if (row := make(number)) is not None)

    return Table(name, frozenset(columns), rows, key)


def value_at(row: Row, path: str) -> Any:  # noqa: ANN401 - any cell
    """The cell at a dotted path; None when any step is missing."""
    value: Any = row
    for step in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value
