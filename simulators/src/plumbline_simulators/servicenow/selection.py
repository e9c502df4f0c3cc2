"""Which rows a query finds, in which order. A page of a table with millions of rows costs its own rows alone."""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from plumbline_simulators.servicenow.contents import Content, numbers
from plumbline_simulators.servicenow.encoded_query import (
    MATCH_OPERATORS,
    Condition,
    EncodedQuery,
    Group,
    parse,
    test_of,
)

_LONGEST_WALK = 3
_REMEMBERED = 24
KEY = "sys_id"
_KEY_BOUNDS = frozenset({">", ">=", "<", "<="})
Reader = Callable[[int], str]


class Database:
    """The tables of one instance at one revision, and what was found in them so far."""

    def __init__(self, tables: Mapping[str, Content]) -> None:
        self.tables = tables
        self._found: OrderedDict[tuple[str, object], Sequence[int]] = OrderedDict()

    def knows(self, table: str, path: str) -> bool:
        """Whether a table has this column, or dot-walks to it over at most two references."""
        *steps, column = path.split(".")
        content: Content | None = self.tables[table]
        for step in steps:
            content = self.tables.get(content.schema.references.get(step, "")) if content else None
        return content is not None and len(steps) < _LONGEST_WALK and column in content.schema.columns

    def owner(self, table: str, path: str) -> tuple[str, str]:
        """The table and column where a known path ends."""
        *steps, column = path.split(".")
        for step in steps:
            table = self.tables[table].schema.references[step]
        return table, column

    def reader(self, table: str, path: str) -> Reader:
        """How to read a column of a row, dot-walked or not; "" where a reference leads nowhere."""
        content = self.tables[table]
        step, _, rest = path.partition(".")
        if not rest:
            return content.reader(step)
        target = self.tables[content.schema.references[step]]
        key, further = content.reader(step), self.reader(target.schema.name, rest)

        def walked(number: int) -> str:
            found = target.number_of(key(number))
            return "" if found is None else further(found)

        return walked

    def parse(self, table: str, text: str) -> EncodedQuery:
        """A query on a table."""
        return parse(text, lambda path: self.knows(table, path))

    def select(self, table: str, query: EncodedQuery) -> Sequence[int]:
        """The numbers of the rows that the query finds, in its order; by sys_id when it names none."""
        parts = [self._alternative(table, groups) for groups in query.alternatives]
        found = parts[0] if len(parts) == 1 else numbers(sorted(set(chain.from_iterable(parts))))
        return self._sorted(table, found, query)

    def _alternative(self, table: str, groups: tuple[Group, ...]) -> Sequence[int]:
        bounds, rest = _apart(groups)
        return _between(self.tables[table], self._matching(table, rest), bounds)

    def _matching(self, table: str, groups: tuple[Group, ...]) -> Sequence[int]:
        """What all groups leave, remembered: the next page asks again."""
        if not groups:
            return self.tables[table].numbers
        return self._remember((table, groups), lambda: self._search(table, groups))

    def _remember(self, key: tuple[str, object], find: Callable[[], Sequence[int]]) -> Sequence[int]:
        if key not in self._found:
            self._found[key] = find()
            while len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)
        self._found.move_to_end(key)
        return self._found[key]

    def _search(self, table: str, groups: tuple[Group, ...]) -> Sequence[int]:
        content = self.tables[table]
        verdicts = {group: _decided(content, group) for group in groups}
        if False in verdicts.values():
            return ()
        undecided = [group for group, verdict in verdicts.items() if verdict is None]
        narrowed = {group: found for group in undecided if (found := _narrowed(content, group)) is not None}
        candidates = min([*narrowed.values(), content.numbers], key=len)
        tests = [self._test(table, group) for group in undecided if narrowed.get(group) is not candidates]
        if not tests:
            return candidates
        return numbers(number for number in candidates if all(test(number) for test in tests))

    def _test(self, table: str, group: Group) -> Callable[[int], bool]:
        tests = [(self.reader(table, condition.field), test_of(condition)) for condition in group]
        if len(tests) == 1:
            read, test = tests[0]
            return lambda number: test(read(number))
        return lambda number: any(test(read(number)) for read, test in tests)

    def _sorted(self, table: str, found: Sequence[int], query: EncodedQuery) -> Sequence[int]:
        orders = query.orders
        if not orders or orders[0].field == KEY:
            return found[::-1] if orders and orders[0].descending else found

        def ordered() -> Sequence[int]:
            result = list(found)
            for order in reversed(orders):
                result.sort(key=self.reader(table, order.field), reverse=order.descending)
            return numbers(result)

        return self._remember((table, query), ordered)


def _apart(groups: tuple[Group, ...]) -> tuple[list[Condition], tuple[Group, ...]]:
    """The bounds of the sys_id, which need no search, and the other groups."""
    bounds = [group[0] for group in groups if len(group) == 1 and _is_key_bound(group[0])]
    return bounds, tuple(group for group in groups if len(group) != 1 or not _is_key_bound(group[0]))


def _is_key_bound(condition: Condition) -> bool:
    return condition.field == KEY and condition.operator in _KEY_BOUNDS


def _between(content: Content, found: Sequence[int], bounds: list[Condition]) -> Sequence[int]:
    """The part of the ascending `found` that lies within the bounds."""
    start, stop = 0, len(found)
    for bound in bounds:
        at, above = content.bound(bound.value)
        edge = bisect_left(found, at if bound.operator in (">=", "<") else above)
        if bound.operator in (">", ">="):
            start = max(start, edge)
        else:
            stop = min(stop, edge)
    return found[start:stop] if bounds else found


def _decided(content: Content, group: Group) -> bool | None:
    """Whether every row passes, or none does; None when it depends on the row."""
    verdicts = []
    for condition in group:
        constant = None if "." in condition.field else content.constant(condition.field)
        verdicts.append(None if constant is None else test_of(condition)(constant))
    if True in verdicts:
        return True
    return None if None in verdicts else False


def _narrowed(content: Content, group: Group) -> Sequence[int] | None:
    """The rows that pass, when the table can name them without a look at each."""
    if len(group) != 1 or group[0].operator not in MATCH_OPERATORS:
        return None
    return content.narrowed(group[0].field, group[0].values)
