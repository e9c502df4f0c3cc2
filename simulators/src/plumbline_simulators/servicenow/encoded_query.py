"""ServiceNow encoded queries, such as `a=1^bINx,y^ORc!=2^NQd=3^ORDERBYsys_id`; parts on unknown fields are ignored."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from plumbline_simulators.tables import Row

Predicate = Callable[[Row], bool]

_PART = re.compile(
    r"^(?P<field>[a-z_][a-z0-9_.]*?)"
    r"(?P<operator>ISNOTEMPTY|ISEMPTY|NOT IN|NOTIN|STARTSWITH|ENDSWITH|LIKE|IN|!=|>=|<=|=|>|<)(?P<value>.*)$",
    re.DOTALL,
)
_TESTS: dict[str, Callable[[str, str], bool]] = {
    "=": lambda cell, value: cell == value,
    "!=": lambda cell, value: cell != value,
    ">": lambda cell, value: cell > value,
    "<": lambda cell, value: cell < value,
    ">=": lambda cell, value: cell >= value,
    "<=": lambda cell, value: cell <= value,
    "IN": lambda cell, value: cell in value.split(","),
    "NOT IN": lambda cell, value: cell not in value.split(","),
    "NOTIN": lambda cell, value: cell not in value.split(","),
    "LIKE": lambda cell, value: value.lower() in cell.lower(),
    "STARTSWITH": lambda cell, value: cell.lower().startswith(value.lower()),
    "ENDSWITH": lambda cell, value: cell.lower().endswith(value.lower()),
    "ISEMPTY": lambda cell, _: cell == "",
    "ISNOTEMPTY": lambda cell, _: cell != "",
}
RANGE_OPERATORS = (">", "<", ">=", "<=", "LIKE", "STARTSWITH", "ENDSWITH")


@dataclass(frozen=True)
class EncodedQuery:
    """A parsed query. `after` is the key that a leading `sys_id>X` skips to."""

    matches: Predicate
    fields: frozenset[str]
    has_range: bool
    order_by: str | None
    descending: bool
    after: str | None


def cell(row: Row, path: str) -> str:
    """A cell as text; dot-walked names are plain keys of the row."""
    return str(row.get(path, ""))


def parse(text: str, columns: frozenset[str]) -> EncodedQuery:
    """Parse an encoded query over a table with these columns."""
    order_by, descending, after, fields, has_range = None, False, None, set(), False
    alternatives: list[list[list[Predicate]]] = []
    for query in text.split("^NQ"):
        groups: list[list[Predicate]] = []
        for raw in query.split("^"):
            if raw.startswith("ORDERBY"):
                descending = raw.startswith("ORDERBYDESC")
                order_by = raw.removeprefix("ORDERBYDESC") if descending else raw.removeprefix("ORDERBY")
                continue
            is_or = raw.startswith("OR")
            match = _PART.match(raw.removeprefix("OR") if is_or else raw)
            if match is None or match["field"] not in columns:
                continue
            fields.add(match["field"])
            has_range = has_range or match["operator"] in RANGE_OPERATORS
            if match["field"] == "sys_id" and match["operator"] == ">" and not is_or:
                after = match["value"]
            predicate = _predicate(match["field"], match["operator"], match["value"])
            if is_or and groups:
                groups[-1].append(predicate)
            else:
                groups.append([predicate])
        alternatives.append(groups)
    return EncodedQuery(
        matches=lambda row: any(all(any(p(row) for p in group) for group in groups) for groups in alternatives),
        fields=frozenset(fields),
        has_range=has_range,
        order_by=order_by,
        descending=descending,
        after=after if len(alternatives) == 1 else None,
    )


def _predicate(field: str, operator: str, value: str) -> Predicate:
    test = _TESTS[operator]
    return lambda row: test(cell(row, field), value)
