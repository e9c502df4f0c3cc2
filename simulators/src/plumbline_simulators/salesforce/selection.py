"""What a query finds in an object: rows by page, their number, groups. No row is kept that is not asked for."""

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice
from typing import Any

from plumbline_simulators.salesforce.entity import Entity
from plumbline_simulators.salesforce.soql import (
    Comparison,
    Condition,
    Junction,
    Membership,
    Negation,
    Query,
    paths,
)
from plumbline_simulators.tables import Row, value_at

Predicate = Callable[[Row], bool]
_REMEMBERED = 10_000
_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}


class Selection:
    """The rows that a query without aggregates finds, in its order."""

    def __init__(self, entity: Entity, query: Query) -> None:
        self._entity, self._query = entity, query
        self._first, self._end, rest = _narrowed(entity, query.where)
        self._judge = predicate(rest) if rest else None
        self._rows, self._position = self._found(), 0

    def __iter__(self) -> Iterator[Row]:
        return self._found()

    @cached_property
    def total(self) -> int:
        """How many rows there are: known from their numbers, or counted once."""
        if self._judge is None and self._entity.is_dense:
            left = max(0, self._end - self._first - self._query.offset)
            return left if self._query.limit is None else min(left, self._query.limit)
        return sum(1 for _ in self._found())

    def _found(self) -> Iterator[Row]:
        end = None if self._query.limit is None else self._query.offset + self._query.limit
        return islice(self._ordered(), self._query.offset, end)

    def _ordered(self) -> Iterator[Row]:
        order = self._query.order
        if not order:
            return self._matching()
        if len(order) == 1 and order[0].path in self._entity.ascending:
            return self._matching(backwards=order[0].is_descending)
        rows = list(self._matching())
        for wanted in reversed(order):
            rows.sort(key=lambda row, path=wanted.path: _sortable(value_at(row, path)), reverse=wanted.is_descending)  # type: ignore[misc]
        return iter(rows)

    def _matching(self, *, backwards: bool = False) -> Iterator[Row]:
        rows = self._entity.between(self._first, self._end, backwards=backwards)
        return rows if self._judge is None else filter(self._judge, rows)

    def page(self, start: int, size: int) -> list[Row]:
        """Up to `size` rows from `start`; going on is cheap, going back starts again."""
        if start != self._position:
            self._rows = self._found()
            next(islice(self._rows, start, start), None)
        rows = list(islice(self._rows, size))
        self._position = start + len(rows)
        return rows

    def values(self, path: str) -> frozenset[Any]:
        """All values of a column."""
        return frozenset(value_at(row, path) for row in self._found())


class _Figures:
    """What the aggregates of one group have seen so far; values are kept for COUNT_DISTINCT alone."""

    def __init__(self) -> None:
        self.count, self.total = 0, 0
        self.least: Any = None
        self.most: Any = None
        self.distinct: set[Any] = set()

    def take(self, value: Any, function: str) -> None:  # noqa: ANN401 - any cell
        """One more cell; null is none."""
        if value is None:
            return
        self.count += 1
        if function == "COUNT_DISTINCT":
            self.distinct.add(value)
        elif function in ("MIN", "MAX"):
            self.least = value if self.least is None else min(self.least, value)
            self.most = value if self.most is None else max(self.most, value)
        elif function != "COUNT":
            self.total += value

    def of(self, function: str) -> Any:  # noqa: ANN401 - any cell
        """The figure that the function asks for."""
        match function:
            case "COUNT":
                return self.count
            case "COUNT_DISTINCT":
                return len(self.distinct)
            case "AVG":
                return self.total / self.count if self.count else None
            case "SUM":
                return self.total if self.count else None
        return self.least if function == "MIN" else self.most


def grouped(entity: Entity, query: Query) -> list[Row]:
    """The AggregateResult records of a query; a column is named by its last step, an aggregate by alias or expr0 on."""
    wanted = [item for item in query.items if item.function]
    groups: dict[tuple[Any, ...], list[_Figures]] = {} if query.group else {(): [_Figures() for _ in wanted]}
    for row in Selection(entity, Query(query.text, query.name, query.items, query.where)):
        key = tuple(value_at(row, path) for path in query.group)
        if key not in groups:
            groups[key] = [_Figures() for _ in wanted]
        for item, figures in zip(wanted, groups[key], strict=True):
            figures.take(value_at(row, item.path), str(item.function))
    records = [_aggregated(query, key, figures) for key, figures in groups.items()]
    end = None if query.limit is None else query.offset + query.limit
    return records[query.offset : end]


def _aggregated(query: Query, key: tuple[Any, ...], figures: list[_Figures]) -> Row:
    record: Row = {}
    remaining, unnamed = iter(figures), 0
    for item in query.items:
        if item.function is None:
            record[item.path.rsplit(".", 1)[-1]] = key[query.group.index(item.path)]
            continue
        record[item.alias or f"expr{unnamed}"] = next(remaining).of(item.function)
        unnamed += item.alias is None
    return record


def _narrowed(entity: Entity, where: Condition | None) -> tuple[int, int, Condition | None]:
    """The numbers that the comparisons of ascending columns leave, and what remains to be judged row by row."""
    first, end, rest = 0, entity.count, []
    for part in _conjuncts(where):
        if not isinstance(part, Comparison) or not _is_numbered(entity, part):
            rest.append(part)
            continue
        if part.operator in (">", ">=", "="):
            at_least = entity.past if part.operator == ">" else entity.reaching
            first = max(first, at_least(part.path, part.value))
        if part.operator in ("<", "<=", "="):
            until = entity.reaching if part.operator == "<" else entity.past
            end = min(end, until(part.path, part.value))
    return first, max(first, end), Junction("all", tuple(rest)) if rest else None


def _conjuncts(where: Condition | None) -> Iterator[Condition]:
    if isinstance(where, Junction) and where.kind == "all":
        for part in where.parts:
            yield from _conjuncts(part)
    elif where is not None:
        yield where


def _is_numbered(entity: Entity, part: Comparison) -> bool:
    key_of = entity.ascending.get(part.path)
    if key_of is None or part.operator in ("!=", "LIKE") or not entity.count:
        return False
    return type(key_of(0)) is type(part.value)


def predicate(condition: Condition) -> Predicate:
    """Whether a row meets a condition. Semi-joins must have been resolved."""
    match condition:
        case Comparison():
            return _comparison(condition)
        case Membership(path=path, values=values):
            wanted = {_folded(value) for value in values}
            cell = _getter(path)
            return lambda row: _folded(cell(row)) in wanted
        case Negation(part=part):
            judge = predicate(part)
            return lambda row: not judge(row)
        case Junction():
            return _once_per_related(condition, _junction(condition))
        case _:
            raise TypeError(f"{condition} was not resolved")


def _junction(condition: Junction) -> Predicate:
    judges = [predicate(part) for part in condition.parts]
    holds = all if condition.kind == "all" else any
    return lambda row: holds(judge(row) for judge in judges)


def _once_per_related(condition: Junction, judge: Predicate) -> Predicate:
    """A long condition on one related record alone is judged once per related record: many rows share it."""
    roots = {path.partition(".")[0] if "." in path else "" for path in paths(condition)}
    if len(condition.parts) < 3 or len(roots) != 1 or "" in roots:
        return judge
    (root,), known = roots, dict[str, bool]()

    def remembered(row: Row) -> bool:
        identity = (row.get(root) or {}).get("Id")
        if identity is None or len(known) > _REMEMBERED:
            return judge(row)
        if identity not in known:
            known[identity] = judge(row)
        return known[identity]

    return remembered


def _comparison(condition: Comparison) -> Predicate:
    cell, operator, wanted = _getter(condition.path), condition.operator, condition.value
    if operator == "LIKE":
        pattern = re.compile(re.escape(wanted).replace("%", ".*").replace("_", "."), re.IGNORECASE | re.DOTALL)
        return lambda row: bool(pattern.fullmatch(str(cell(row) or "")))
    folded = _folded(wanted)
    if operator == "=":
        return lambda row: bool(_folded(cell(row)) == folded)
    if operator == "!=":
        return lambda row: bool(_folded(cell(row)) != folded)
    ordering = _ORDERINGS[operator]

    def ordered(row: Row) -> bool:
        value = _folded(cell(row))
        return type(value) is type(folded) and ordering(value, folded)

    return ordered


def _folded(value: Any) -> Any:  # noqa: ANN401 - any cell
    return value.lower() if isinstance(value, str) else value


def _getter(path: str) -> Callable[[Row], Any]:
    if "." not in path:
        return lambda row: row.get(path)
    return lambda row: value_at(row, path)


def _sortable(value: Any) -> tuple[bool, Any]:  # noqa: ANN401 - any cell
    """Nulls first, as the API does."""
    return (value is not None, value if value is not None else 0)
