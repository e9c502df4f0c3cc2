"""The part of SOQL that a reader needs: SELECT … FROM … WHERE … ORDER BY … LIMIT … OFFSET."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedInput

from plumbline_simulators.tables import Row, value_at

_GRAMMAR = r"""
query: "SELECT"i selection "FROM"i NAME where? order? limit? offset?
selection: "COUNT"i "(" ")" -> count
         | PATH ("," PATH)*  -> fields
where: "WHERE"i disjunction
?disjunction: conjunction ("OR"i conjunction)* -> or_
?conjunction: condition ("AND"i condition)* -> and_
?condition: "NOT"i condition -> not_
          | "(" disjunction ")"
          | PATH OPERATOR literal -> compare
          | PATH "IN"i "(" literal ("," literal)* ")" -> in_
          | PATH "NOT"i "IN"i "(" literal ("," literal)* ")" -> not_in
order: "ORDER"i "BY"i PATH DIRECTION? ("NULLS"i ("FIRST"i|"LAST"i))?
limit: "LIMIT"i INT
offset: "OFFSET"i INT
literal: STRING -> string
       | DATETIME -> datetime
       | DATE_LITERAL -> relative
       | NUMBER -> number
       | "TRUE"i -> true
       | "FALSE"i -> false
       | "NULL"i -> null
DIRECTION: "ASC"i | "DESC"i
OPERATOR: "!=" | "<>" | "<=" | ">=" | "=" | "<" | ">" | /LIKE\b/i
DATE_LITERAL: /LAST_N_DAYS:\d+/i
DATETIME: /\d{4}-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:?\d\d)/
PATH: /(?!(FROM|WHERE|NOT|AND|OR|IN|NULL|TRUE|FALSE|COUNT)\b)[A-Za-z_][A-Za-z0-9_.]*/i
NAME: /[A-Za-z_][A-Za-z0-9_]*/
STRING: /'(\\.|[^'\\])*'/
NUMBER: /-?\d+(\.\d+)?/
INT: /\d+/
%ignore /\s+/
"""
_PARSER = Lark(_GRAMMAR, start="query", parser="earley", lexer="dynamic")

Predicate = Callable[[Row], bool]


class MalformedQueryError(ValueError):
    """Not SOQL; the message is what the API would say."""


@dataclass(frozen=True)
class Query:
    """A parsed query. `fields` is None for COUNT()."""

    fields: list[str] | None
    name: str
    matches: Predicate
    named: frozenset[str]
    order_by: str | None
    descending: bool
    limit: int | None
    offset: int
    after: str | None


def parse(text: str) -> Query:
    """Parse SOQL; raises MalformedQueryError."""
    try:
        tree = _PARSER.parse(text)
    except UnexpectedInput as error:
        column = getattr(error, "column", 1)
        raise MalformedQueryError(f"\n{text}\n^\nERROR at Row:1:Column:{column}\nunexpected token") from error
    query: Query = _Builder().transform(tree)
    return query


def _comparable(value: Any, other: Any) -> tuple[Any, Any] | None:  # noqa: ANN401 - any cell
    if isinstance(value, str) and isinstance(other, str):
        return value.lower(), other.lower()
    if value is None or other is None or type(value) is not type(other):
        return None
    return value, other


_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}


def _compare(path: str, operator: str, wanted: Any) -> Predicate:  # noqa: ANN401 - any literal
    if operator == "LIKE":
        pattern = re.compile(re.escape(str(wanted)).replace("%", ".*").replace("_", "."), re.IGNORECASE | re.DOTALL)
        return lambda row: bool(pattern.fullmatch(str(value_at(row, path) or "")))
    if operator in ("=", "!=", "<>"):

        def equal(row: Row) -> bool:
            pair = _comparable(value := value_at(row, path), wanted)
            return (pair[0] == pair[1]) if pair else value is wanted

        return equal if operator == "=" else lambda row: not equal(row)
    ordering = _ORDERINGS[operator]

    def ordered(row: Row) -> bool:
        value = value_at(row, path)
        if isinstance(wanted, timedelta):
            return isinstance(value, datetime) and value >= datetime.now(UTC) - wanted
        if value is None or type(value) is not type(wanted):
            return False
        return ordering(value, wanted)

    return ordered


class _Builder(Transformer[Token, Any]):
    """Parse tree to Query."""

    def __init__(self) -> None:
        super().__init__()
        self._named: set[str] = set()
        self._after: str | None = None

    def string(self, children: list[Token]) -> str:
        return re.sub(r"\\(.)", r"\1", children[0][1:-1])

    def number(self, children: list[Token]) -> int | float:
        return float(children[0]) if "." in children[0] else int(children[0])

    def datetime(self, children: list[Token]) -> datetime:
        return datetime.fromisoformat(children[0])

    def relative(self, children: list[Token]) -> timedelta:
        return timedelta(days=int(children[0].split(":")[1]))

    def true(self, _: list[Token]) -> bool:
        return True

    def false(self, _: list[Token]) -> bool:
        return False

    def null(self, _: list[Token]) -> None:
        return None

    def compare(self, children: list[Any]) -> Predicate:
        path, operator, wanted = str(children[0]), str(children[1]).upper(), children[2]
        self._named.add(path)
        if isinstance(wanted, timedelta):
            operator = ">="
        if path in ("Id", "UserId") and operator == ">" and isinstance(wanted, str):
            self._after = wanted
        return _compare(path, operator, wanted)

    def in_(self, children: list[Any]) -> Predicate:
        path = str(children[0])
        self._named.add(path)
        wanted = {value.lower() if isinstance(value, str) else value for value in children[1:]}

        def contained(row: Row) -> bool:
            value = value_at(row, path)
            return (value.lower() if isinstance(value, str) else value) in wanted

        return contained

    def not_in(self, children: list[Any]) -> Predicate:
        contained = self.in_(children)
        return lambda row: not contained(row)

    def and_(self, children: list[Predicate]) -> Predicate:
        return lambda row: all(child(row) for child in children)

    def or_(self, children: list[Predicate]) -> Predicate:
        if len(children) > 1:
            self._after = None
        return lambda row: any(child(row) for child in children)

    def not_(self, children: list[Predicate]) -> Predicate:
        self._after = None
        return lambda row: not children[0](row)

    def where(self, children: list[Predicate]) -> Predicate:
        return children[0]

    def fields(self, children: list[Token]) -> list[str]:
        return [str(child) for child in children]

    def count(self, _: list[Token]) -> None:
        return None

    def order(self, children: list[Token]) -> tuple[str, str, bool]:
        return "order", str(children[0]), len(children) > 1 and children[1].upper() == "DESC"

    def limit(self, children: list[Token]) -> tuple[str, int]:
        return "limit", int(children[0])

    def offset(self, children: list[Token]) -> tuple[str, int]:
        return "offset", int(children[0])

    def query(self, children: list[Any]) -> Query:
        rest = children[2:]
        clauses = {entry[0]: entry[1:] for entry in rest if isinstance(entry, tuple)}
        predicate = next((entry for entry in rest if callable(entry)), lambda _: True)
        order = clauses.get("order", (None, False))
        return Query(
            fields=children[0],
            name=str(children[1]),
            matches=predicate,
            named=frozenset(self._named | ({order[0]} if order[0] else set())),
            order_by=order[0],
            descending=order[1],
            limit=clauses["limit"][0] if "limit" in clauses else None,
            offset=clauses["offset"][0] if "offset" in clauses else 0,
            after=self._after,
        )
