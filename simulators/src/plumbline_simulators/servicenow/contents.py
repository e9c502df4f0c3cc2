"""What a table holds: rows by number, in the order of their sys_id, each cell made when it is asked for."""

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from plumbline_simulators.servicenow.schema import TableSchema

Row = dict[str, str]


def numbers(found: Iterable[int]) -> Sequence[int]:
    """Row numbers kept at four bytes each."""
    return array("I", found)


class Content(ABC):
    """The rows of one table. Row numbers ascend with the sys_id; not every number need be taken."""

    def __init__(self, schema: TableSchema) -> None:
        self.schema = schema

    @property
    @abstractmethod
    def numbers(self) -> Sequence[int]:
        """The numbers of all rows, ascending."""

    @abstractmethod
    def key(self, number: int) -> str:
        """The sys_id of a row."""

    @abstractmethod
    def number_of(self, key: str) -> int | None:
        """The row with this sys_id; None when there is none."""

    @abstractmethod
    def bound(self, key: str) -> tuple[int, int]:
        """The lowest row number whose sys_id is not below `key`, and the lowest whose sys_id is above it."""

    @abstractmethod
    def reader(self, column: str) -> Callable[[int], str]:
        """How to read a column of a row."""

    def constant(self, column: str) -> str | None:
        """The value that every row has in this column, where that is known; else None."""
        return None

    def narrowed(self, path: str, values: frozenset[str]) -> Sequence[int] | None:
        """The rows with one of these values there, ascending; None when only looking at every row would tell."""
        if path != "sys_id":
            return None
        found = {number for value in values if (number := self.number_of(value)) is not None}
        return sorted(found)

    def row(self, number: int) -> Row:
        """All cells of a row."""
        return {column: self.reader(column)(number) for column in sorted(self.schema.columns)}

    def rows(self, after: str | None = None) -> Iterator[Row]:
        """The rows whose sys_id is greater than `after`; all when None."""
        start = 0 if after is None else bisect_left(self.numbers, self.bound(after)[1])
        return (self.row(self.numbers[position]) for position in range(start, len(self.numbers)))


class Listed(Content):
    """A small table held as a list."""

    def __init__(self, schema: TableSchema, rows: Iterable[Row]) -> None:
        super().__init__(schema)
        self._rows = sorted(rows, key=lambda row: row["sys_id"])
        self._keys = [row["sys_id"] for row in self._rows]
        self._numbers_by_key = {key: number for number, key in enumerate(self._keys)}

    @property
    def numbers(self) -> Sequence[int]:
        """See `Content`."""
        return range(len(self._rows))

    def key(self, number: int) -> str:
        """See `Content`."""
        return self._keys[number]

    def number_of(self, key: str) -> int | None:
        """See `Content`."""
        return self._numbers_by_key.get(key)

    def bound(self, key: str) -> tuple[int, int]:
        """See `Content`."""
        return bisect_left(self._keys, key), bisect_right(self._keys, key)

    def reader(self, column: str) -> Callable[[int], str]:
        """See `Content`."""
        rows = self._rows
        return lambda number: rows[number].get(column, "")


KEY_DIGITS = 32


def numbered_key(number: int) -> str:
    """The sys_id of row `number` of a made table."""
    return f"{number:0{KEY_DIGITS}x}"


class Made(Content):
    """A table of any size that costs no memory: each column is a function of the row's number."""

    def __init__(
        self,
        schema: TableSchema,
        taken: Sequence[int],
        columns: Mapping[str, Callable[[int], str]],
        constants: Mapping[str, str],
    ) -> None:
        super().__init__(schema)
        self._taken, self._columns, self._constants = taken, columns, constants

    @property
    def numbers(self) -> Sequence[int]:
        """See `Content`."""
        return self._taken

    def key(self, number: int) -> str:
        """See `Content`."""
        return numbered_key(number)

    def number_of(self, key: str) -> int | None:
        """See `Content`."""
        low, above = self.bound(key)
        position = bisect_left(self._taken, low)
        is_taken = low < above and position < len(self._taken) and self._taken[position] == low
        return low if is_taken else None

    def bound(self, key: str) -> tuple[int, int]:
        """See `Content`. A key that is no made sys_id lies between two numbers, where its digits put it."""
        text = key.lower()
        digits = len(text) - len(text.lstrip("0123456789abcdef"))
        low = int((text[:digits] + "0" * KEY_DIGITS)[:KEY_DIGITS], 16)
        if digits == len(text) == KEY_DIGITS:
            return low, low + 1
        sorts_behind = digits < len(text) if digits < KEY_DIGITS else True
        low += 16 ** (KEY_DIGITS - digits) if sorts_behind and digits < KEY_DIGITS else int(sorts_behind)
        return low, low

    def reader(self, column: str) -> Callable[[int], str]:
        """See `Content`."""
        if column == "sys_id":
            return numbered_key
        if made := self._columns.get(column):
            return made
        value = self._constants.get(column, "")
        return lambda _: value

    def constant(self, column: str) -> str | None:
        """See `Content`."""
        return None if column == "sys_id" or column in self._columns else self._constants.get(column, "")
