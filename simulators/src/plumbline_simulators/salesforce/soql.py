"""SOQL as far as a reader needs it: text to `Query`, or a MalformedQueryError that names the place."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Literal

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

_GRAMMAR = r"""
query: SELECT selection FROM NAME where? group? order? limit? offset?
selection: COUNT "(" ")"    -> count_all
         | item ("," item)* -> items
?item: NAME                          -> plain
     | (COUNT|OF) "(" NAME ")" NAME? -> aggregate
where: WHERE expression
?expression: condition
           | condition (AND condition)+ -> all_of
           | condition (OR condition)+  -> any_of
?condition: NOT condition           -> negation
          | "(" expression ")"
          | NAME OPERATOR literal   -> comparison
          | NAME LIKE STRING        -> like
          | NAME membership "(" literal ("," literal)* ")" -> among
          | NAME membership "(" SELECT NAME FROM NAME where? ")" -> semi_join
membership: NOT? IN
group: GROUP BY NAME ("," NAME)*
order: ORDER BY ordering ("," ordering)*
ordering: NAME (ASC|DESC)? (NULLS (FIRST|LAST))?
limit: LIMIT NUMBER
offset: OFFSET NUMBER
literal: STRING      -> string
       | DATETIME    -> moment
       | DATE        -> day
       | LAST_N_DAYS -> last_days
       | NUMBER      -> number
       | TRUE        -> true
       | FALSE       -> false
       | NULL        -> null
OPERATOR: "!=" | "<>" | "<=" | ">=" | "=" | "<" | ">"
LAST_N_DAYS.3: /LAST_N_DAYS:\d+/i
DATETIME.2: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)/
DATE.1: /\d{4}-\d\d-\d\d/
NAME: /[A-Za-z_][A-Za-z0-9_.]*/
STRING: /'(\\.|[^'\\])*'/
NUMBER: /-?\d+(\.\d+)?/
%declare SELECT FROM WHERE AND OR NOT IN LIKE GROUP ORDER BY ASC DESC NULLS FIRST LAST
%declare LIMIT OFFSET TRUE FALSE NULL COUNT OF
%ignore /\s+/
"""
_KEYWORDS = frozenset(
    {
        "SELECT", "FROM", "WHERE", "AND", "OR", "NOT", "IN", "LIKE", "GROUP", "ORDER", "BY", "ASC", "DESC", "NULLS",
        "FIRST", "LAST", "LIMIT", "OFFSET", "TRUE", "FALSE", "NULL", "COUNT",
    }
)  # fmt: skip
_FUNCTIONS = frozenset({"COUNT_DISTINCT", "MIN", "MAX", "SUM", "AVG"})


def _keyword(token: Token) -> Token:
    word = token.upper()
    kind = word if word in _KEYWORDS else "OF" if word in _FUNCTIONS else "NAME"
    return Token.new_borrow_pos(kind, token.value, token)


_PARSER = Lark(_GRAMMAR, start="query", parser="lalr", lexer="basic", lexer_callbacks={"NAME": _keyword})

Operator = Literal["=", "!=", "<", ">", "<=", ">=", "LIKE"]


class MalformedQueryError(ValueError):
    """Not SOQL; the message is what the API would say."""


@dataclass(frozen=True)
class Days:
    """A stretch of time that a date literal names."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Comparison:
    """`path operator value`."""

    path: str
    operator: Operator
    value: Any


@dataclass(frozen=True)
class Membership:
    """`path IN (…)`."""

    path: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class SemiJoin:
    """`path IN (SELECT field FROM name WHERE …)`."""

    path: str
    field: str
    name: str
    where: "Condition | None"


@dataclass(frozen=True)
class Negation:
    """`NOT part`."""

    part: "Condition"


@dataclass(frozen=True)
class Junction:
    """Parts joined by AND (`all`) or OR (`any`)."""

    kind: Literal["all", "any"]
    parts: tuple["Condition", ...]


Condition = Comparison | Membership | SemiJoin | Negation | Junction


@dataclass(frozen=True)
class Item:
    """What is selected: a column, or an aggregate of one under the name it is answered by."""

    path: str
    function: str | None = None
    alias: str | None = None


@dataclass(frozen=True)
class Ordering:
    """A column to order by."""

    path: str
    is_descending: bool = False


@dataclass(frozen=True)
class Query:
    """A parsed query. `items` is empty for COUNT()."""

    text: str
    name: str
    items: tuple[Item, ...]
    where: Condition | None = None
    group: tuple[str, ...] = ()
    order: tuple[Ordering, ...] = ()
    limit: int | None = None
    offset: int = 0

    @property
    def is_grouped(self) -> bool:
        """Whether it answers AggregateResult records."""
        return bool(self.group) or any(item.function for item in self.items)


def paths(condition: Condition | None) -> Iterator[str]:
    """The columns that a condition names."""
    match condition:
        case Comparison(path=path) | Membership(path=path) | SemiJoin(path=path):
            yield path
        case Negation(part=part):
            yield from paths(part)
        case Junction(parts=parts):
            for part in parts:
                yield from paths(part)


def pointed(text: str, at: int, message: str) -> str:
    """A message in the form of the API: the query, a caret below column `at` (from 0), the place in words."""
    return f"\n{text}\n{' ' * at}^\nERROR at Row:1:Column:{at + 1}\n{message}"


def parse(text: str) -> Query:
    """Parse SOQL; raises MalformedQueryError."""
    try:
        tree = _PARSER.parse(text)
    except UnexpectedInput as error:
        raise MalformedQueryError(_unexpected(text, error)) from error
    return _Builder(text).transform(tree)


def _unexpected(text: str, error: UnexpectedInput) -> str:
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        return pointed(text, error.token.start_pos or 0, f"unexpected token: '{error.token}'")
    if isinstance(error, UnexpectedCharacters):
        return pointed(text, error.pos_in_stream or 0, f"unexpected token: '{error.char}'")
    return pointed(text, len(text), "unexpected token: '<EOF>'")


def _days(number: int) -> Days:
    """LAST_N_DAYS:n: from midnight n days ago to the end of today, UTC."""
    today = datetime.combine(datetime.now(UTC).date(), time(), UTC)
    return Days(today - timedelta(days=number), today + timedelta(days=1))


def _within(path: str, operator: str, days: Days) -> Condition:
    start, end = days.start, days.end
    match operator:
        case "=":
            return Junction("all", (Comparison(path, ">=", start), Comparison(path, "<", end)))
        case "!=":
            return Junction("any", (Comparison(path, "<", start), Comparison(path, ">=", end)))
        case "<" | ">=":
            return Comparison(path, "<" if operator == "<" else ">=", start)
        case _:
            return Comparison(path, ">=" if operator == ">" else "<", end)


class _Builder(Transformer[Token, Query]):
    """Parse tree to Query."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def string(self, children: list[Token]) -> str:
        return _unquoted(children[0])

    def number(self, children: list[Token]) -> int | float:
        return float(children[0]) if "." in children[0] else int(children[0])

    def moment(self, children: list[Token]) -> datetime:
        return datetime.fromisoformat(children[0])

    def day(self, children: list[Token]) -> datetime:
        return datetime.fromisoformat(children[0]).replace(tzinfo=UTC)

    def last_days(self, children: list[Token]) -> Days:
        return _days(int(children[0].split(":")[1]))

    def true(self, _: list[Token]) -> bool:
        return True

    def false(self, _: list[Token]) -> bool:
        return False

    def null(self, _: list[Token]) -> None:
        return None

    def plain(self, children: list[Token]) -> Item:
        return Item(str(children[0]))

    def aggregate(self, children: list[Token]) -> Item:
        alias = str(children[2]) if len(children) > 2 else None
        return Item(str(children[1]), children[0].upper(), alias)

    def count_all(self, _: list[Token]) -> tuple[Item, ...]:
        return ()

    def items(self, children: list[Item]) -> tuple[Item, ...]:
        return tuple(children)

    def comparison(self, children: list[Any]) -> Condition:
        path, operator, value = str(children[0]), str(children[1]).replace("<>", "!="), children[2]
        if isinstance(value, Days):
            return _within(path, operator, value)
        return Comparison(path, operator, value)  # type: ignore[arg-type] # the grammar has no other operator

    def like(self, children: list[Any]) -> Condition:
        return Comparison(str(children[0]), "LIKE", _unquoted(children[2]))

    def membership(self, children: list[Token]) -> bool:
        return len(children) == 1

    def among(self, children: list[Any]) -> Condition:
        found = Membership(str(children[0]), tuple(children[2:]))
        return found if children[1] else Negation(found)

    def semi_join(self, children: list[Any]) -> Condition:
        path, is_positive, _, field, _, name, *where = children
        found = SemiJoin(str(path), str(field), str(name), where[0] if where else None)
        return found if is_positive else Negation(found)

    def all_of(self, children: list[Any]) -> Condition:
        return Junction("all", tuple(child for child in children if not isinstance(child, Token)))

    def any_of(self, children: list[Any]) -> Condition:
        return Junction("any", tuple(child for child in children if not isinstance(child, Token)))

    def negation(self, children: list[Any]) -> Condition:
        return Negation(children[1])

    def where(self, children: list[Any]) -> Condition:
        found: Condition = children[1]
        return found

    def group(self, children: list[Token]) -> tuple[str, tuple[str, ...]]:
        return "group", tuple(str(child) for child in children[2:])

    def ordering(self, children: list[Token]) -> Ordering:
        return Ordering(str(children[0]), any(child.type == "DESC" for child in children[1:]))

    def order(self, children: list[Any]) -> tuple[str, tuple[Ordering, ...]]:
        return "order", tuple(children[2:])

    def limit(self, children: list[Token]) -> tuple[str, int]:
        return "limit", int(children[1])

    def offset(self, children: list[Token]) -> tuple[str, int]:
        return "offset", int(children[1])

    def query(self, children: list[Any]) -> Query:
        _, items, _, name, *rest = children
        clauses: dict[str, Any] = dict(entry for entry in rest if isinstance(entry, tuple))
        where = next((entry for entry in rest if not isinstance(entry, tuple)), None)
        return Query(self._text, str(name), items, where, **clauses)


def _unquoted(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1])
