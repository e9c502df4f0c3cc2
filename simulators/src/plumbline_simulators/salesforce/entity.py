"""An object of the org: rows that are made from their number when they are asked for."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from plumbline_simulators.tables import Row

Make = Callable[[int], Row | None]
KeyOf = Callable[[int], Any]


@dataclass(frozen=True)
class Entity:
    """The numbers 0 to `count` - 1, of which `make` gives the rows; None where a number has no row.

    `ascending` maps columns that never fall while the number rises to their value by number; the first is the key.
    `is_dense` says that every number has a row.
    """

    name: str
    columns: frozenset[str]
    count: int
    make: Make
    ascending: Mapping[str, KeyOf]
    is_dense: bool = True

    @property
    def key(self) -> str:
        """The column that the rows are in the order of."""
        return next(iter(self.ascending))

    def rows(self, after: str | None = None) -> Iterator[Row]:
        """The rows whose key is greater than `after`; all if None."""
        first = 0 if after is None else self.past(self.key, after)
        return self.between(first, self.count)

    def between(self, first: int, end: int, *, backwards: bool = False) -> Iterator[Row]:
        """The rows of these numbers."""
        numbers = range(end - 1, first - 1, -1) if backwards else range(first, end)
        return (row for number in numbers if (row := self.make(number)) is not None)

    def reaching(self, column: str, value: Any) -> int:  # noqa: ANN401 - any cell
        """The first number whose `column` is at least `value`."""
        return bisect_left(range(self.count), value, key=self.ascending[column])

    def past(self, column: str, value: Any) -> int:  # noqa: ANN401 - any cell
        """The first number whose `column` is greater than `value`."""
        return bisect_right(range(self.count), value, key=self.ascending[column])

    def only(self, keeps: Callable[[Row], bool]) -> "Entity":
        """The same object with the other rows out of sight."""

        def make(number: int) -> Row | None:
            row = self.make(number)
            return row if row is not None and keeps(row) else None

        return replace(self, make=make, is_dense=False)

    def without(self, columns: Iterable[str]) -> "Entity":
        """The same object with these columns out of sight."""
        return replace(self, columns=self.columns - frozenset(columns))


def listed(name: str, columns: Iterable[str], rows: Iterable[Row], key: str = "Id") -> Entity:
    """A small object held as a list."""
    ordered = sorted(rows, key=lambda row: str(row[key]))
    return Entity(name, frozenset(columns), len(ordered), ordered.__getitem__, {key: lambda n: str(ordered[n][key])})


def record_id(prefix: str, number: int) -> str:
    """An 18-character id; ids ascend with the number."""
    return f"{prefix}{number:012d}AAA"


def through(relation: str, columns: Iterable[str]) -> frozenset[str]:
    """The columns of a related record as they are named from here."""
    return frozenset(f"{relation}.{column}" for column in columns)
