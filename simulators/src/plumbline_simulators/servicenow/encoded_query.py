"""ServiceNow's encoded queries, such as `a=1^bINx,y^ORc!=2^NQd=3^ORDERBYsys_id`, as data and as tests of cells."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

RANGE_OPERATORS = frozenset({">", "<", ">=", "<=", "BEFORE", "LIKE", "STARTSWITH", "ENDSWITH"})
MATCH_OPERATORS = frozenset({"=", "IN"})

_PART = re.compile(
    r"(?P<field>[a-z_][a-z0-9_.]*)"
    r"(?P<operator>ISNOTEMPTY|ISEMPTY|NOT IN|STARTSWITH|ENDSWITH|LIKE|BEFORE|IN|!=|>=|<=|=|>|<)(?P<value>.*)",
    re.DOTALL,
)
_LONGEST_NUMBER = 15


@dataclass(frozen=True)
class Condition:
    """One comparison of a column, which may be dot-walked."""

    field: str
    operator: str
    value: str

    @property
    def values(self) -> frozenset[str]:
        """What `=` and `IN` look for."""
        return frozenset(self.value.split(",") if self.operator == "IN" else [self.value])


@dataclass(frozen=True)
class Order:
    """One ORDERBY."""

    field: str
    descending: bool


Group = tuple[Condition, ...]


@dataclass(frozen=True)
class EncodedQuery:
    """A parsed query: alternatives (`^NQ`) of groups that must all hold (`^`), of which one condition must (`^OR`).

    `grouping` are the columns of GROUPBY. `invalid` are the parts that say nothing: the platform leaves them out or, if
    told to, finds no row at all.
    """

    alternatives: tuple[tuple[Group, ...], ...]
    orders: tuple[Order, ...]
    grouping: tuple[str, ...]
    invalid: tuple[str, ...]

    @property
    def conditions(self) -> list[Condition]:
        """Every condition."""
        return [condition for groups in self.alternatives for group in groups for condition in group]

    @property
    def fields(self) -> list[str]:
        """Every column that it names."""
        return [part.field for part in self.conditions] + [order.field for order in self.orders] + list(self.grouping)

    @property
    def needs_range(self) -> bool:
        """Whether it asks for more than equality, which an ACL of type query_range can forbid."""
        return bool(self.orders or self.grouping) or any(
            condition.operator in RANGE_OPERATORS for condition in self.conditions
        )


class _Parser:
    """Collects what the parts of a query say. `knows` tells whether a field exists."""

    def __init__(self, knows: Callable[[str], bool]) -> None:
        self._knows = knows
        self.orders: list[Order] = []
        self.grouping: list[str] = []
        self.invalid: list[str] = []

    def groups(self, text: str) -> tuple[Group, ...]:
        """The groups of one alternative; orders and invalid parts are put aside."""
        groups: list[list[Condition]] = []
        has_opened = False
        for part in filter(None, text.split("^")):
            if part == "EQ" or self._is_order(part):
                continue
            is_alternative = part.startswith("OR") and has_opened
            condition = self._condition(part.removeprefix("OR") if is_alternative else part)
            if not is_alternative:
                groups.append([])
                has_opened = True
            if condition:
                groups[-1].append(condition)
        return tuple(tuple(group) for group in groups if group)

    def _is_order(self, part: str) -> bool:
        match = re.fullmatch(r"(ORDERBYDESC|ORDERBY|GROUPBY)(.+)", part)
        if match is None or not self._knows(match[2]):
            return match is not None
        if match[1] == "GROUPBY":
            self.grouping.append(match[2])
        else:
            self.orders.append(Order(match[2], descending=match[1] == "ORDERBYDESC"))
        return True

    def _condition(self, part: str) -> Condition | None:
        match = _PART.fullmatch(part)
        value = _meant(match["value"]) if match else None
        if match is None or value is None or not self._knows(match["field"]):
            self.invalid.append(part)
            return None
        return Condition(match["field"], match["operator"], value)


def parse(text: str, knows: Callable[[str], bool]) -> EncodedQuery:
    """Parse an encoded query."""
    parser = _Parser(knows)
    alternatives = tuple(parser.groups(part) for part in text.split("^NQ"))
    return EncodedQuery(alternatives, tuple(parser.orders), tuple(parser.grouping), tuple(parser.invalid))


def _meant(value: str) -> str | None:
    """The value of a part. `javascript:` is run, as far as dates go; None for any other script."""
    script = value.removeprefix("javascript:")
    if script == value:
        return value
    if match := re.fullmatch(r"gs\.dateGenerate\('([\d-]+)', *'([\d:]+|start|end)'\)", script):
        return f"{match[1]} {({'start': '00:00:00', 'end': '23:59:59'}).get(match[2], match[2])}"
    if match := re.fullmatch(r"gs\.daysAgo(?:Start)?\((\d+)\)", script):
        day = datetime.now(UTC) - timedelta(days=int(match[1]))
        return f"{day:%Y-%m-%d} 00:00:00"
    return None


def _comparable(cell: str, value: str) -> tuple[str | int, str | int]:
    """Both as numbers when they are, else as text, as dates and ids compare."""
    if cell.isdecimal() and value.isdecimal() and max(len(cell), len(value)) <= _LONGEST_NUMBER:
        return int(cell), int(value)
    return cell, value


def _less(cell: str, value: str) -> bool:
    left, right = _comparable(cell, value)
    return left < right  # type: ignore[operator]  # both are of one type


@lru_cache(maxsize=512)
def test_of(condition: Condition) -> Callable[[str], bool]:
    """How a cell is tested against a condition."""
    value, folded, values = condition.value, condition.value.lower(), frozenset(condition.value.split(","))
    tests: dict[str, Callable[[str], bool]] = {
        "=": lambda cell: cell == value,
        "!=": lambda cell: cell != value,
        "<": lambda cell: _less(cell, value),
        "BEFORE": lambda cell: _less(cell, value),
        "<=": lambda cell: not _less(value, cell),
        ">": lambda cell: _less(value, cell),
        ">=": lambda cell: not _less(cell, value),
        "IN": lambda cell: cell in values,
        "NOT IN": lambda cell: cell not in values,
        "LIKE": lambda cell: folded in cell.lower(),
        "STARTSWITH": lambda cell: cell.lower().startswith(folded),
        "ENDSWITH": lambda cell: cell.lower().endswith(folded),
        "ISEMPTY": lambda cell: cell == "",
        "ISNOTEMPTY": lambda cell: cell != "",
    }
    return tests[condition.operator]
