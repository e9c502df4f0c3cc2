"""OData expressions over one entity: `$filter`, `$orderby`, `$select`, as far as Secure Score clients use them. Pure.

Known are `eq ne gt ge lt le in`, `and or not`, parentheses, `startswith endswith contains tolower toupper`, and `any`
over collections (OData 4.01 URL Conventions, 5.1.1). Text compares without regard to case, as Microsoft Graph does. A
quoted value is taken as the property's type, because Graph's own pages write `{property} eq '{value}'` for all types.
Whatever is asked, the work is bounded: length, depth and number of terms are.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

LONGEST = 4_000
MOST_TOKENS = 600
DEEPEST = 25
MOST_KEYS = 10

Entity = Mapping[str, Any]
Predicate = Callable[[Entity], bool]
_Row = Mapping[str, Any]
"""What an expression sees: the entity under "", and the variables of the `any` around it."""


class ExpressionError(ValueError):
    """An expression that cannot be used; the message is for the caller."""


class Kind(Enum):
    """What a value is, by its name in OData."""

    STRING = "Edm.String"
    NUMBER = "Edm.Double"
    BOOLEAN = "Edm.Boolean"
    MOMENT = "Edm.DateTimeOffset"
    NULL = "Edm.Null"
    COMPLEX = "a complex type"
    COLLECTION = "a collection"


@dataclass(frozen=True)
class Type:
    """The type of a property; `members` of a complex one, `of` what a collection holds."""

    kind: Kind
    members: Mapping[str, "Type"] = field(default_factory=dict)
    of: "Type | None" = None
    is_comparable: bool = True


@dataclass(frozen=True)
class EntityType:
    """An entity of Graph with its properties."""

    name: str
    properties: Mapping[str, Type]


@dataclass(frozen=True)
class _Operand:
    type: Type
    value: Callable[[_Row], Any]
    literal: str | None = None
    """The text of a quoted literal, which may stand for a value of another type."""


_BOOLEAN, _STRING = Type(Kind.BOOLEAN), Type(Kind.STRING)
_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')"
    r"|(?P<guid>[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![\w-]))"
    r"|(?P<moment>\d{4}-\d\d-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d)?)?(?![\w-]))"
    r"|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?(?![\w-]))"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<mark>[(),/:]))"
)
_COMPARISONS: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "eq": ("Equal", operator.eq),
    "ne": ("NotEqual", operator.ne),
    "gt": ("GreaterThan", operator.gt),
    "ge": ("GreaterThanOrEqual", operator.ge),
    "lt": ("LessThan", operator.lt),
    "le": ("LessThanOrEqual", operator.le),
}
_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "startswith": str.startswith,
    "endswith": str.endswith,
    "contains": str.__contains__,
}
_CHANGES: Mapping[str, Callable[[str], str]] = {"tolower": str.lower, "toupper": str.upper}
_ORDERED = (Kind.STRING, Kind.NUMBER, Kind.MOMENT)


def parse_filter(text: str, entity: EntityType) -> Predicate:
    """Whether an entity matches. Raises ExpressionError."""
    tokens = _tokens(text)
    if not tokens:
        raise ExpressionError("Invalid filter clause: The expression is empty.")
    found = _Parser(tokens, entity).whole()
    return lambda row: found.value({"": row}) is True


def parse_orderby(text: str, entity: EntityType) -> list[tuple[Callable[[Entity], Any], bool]]:
    """Keys to sort by, the most significant first, each with whether it descends. Raises ExpressionError."""
    parts = [part.split() for part in text[:LONGEST].split(",")]
    if len(parts) > MOST_KEYS:
        raise ExpressionError(f"Invalid orderby clause: At most {MOST_KEYS} properties can be sorted by.")
    return [_key(part, entity) for part in parts]


def parse_select(text: str, entity: EntityType) -> tuple[str, ...]:
    """The properties that are asked for, in the entity's order. Raises ExpressionError."""
    names = {name.strip() for name in text[:LONGEST].split(",")} - {""}
    if "*" in names:
        return tuple(entity.properties)
    for name in sorted(names):
        if name not in entity.properties:
            raise ExpressionError(f"Parsing OData Select and Expand failed: {_no_property(name, entity.name)}")
    return tuple(name for name in entity.properties if name in names)


def _key(part: list[str], entity: EntityType) -> tuple[Callable[[Entity], Any], bool]:
    if not part or len(part) > 2 or (len(part) == 2 and part[1].lower() not in ("asc", "desc")):
        raise ExpressionError(f"Invalid orderby clause: Syntax error in '{' '.join(part)}'.")
    operand = _Parser(_tokens(part[0]), entity, "orderby").only_path()
    if operand.type.kind not in (*_ORDERED, Kind.BOOLEAN) or not operand.type.is_comparable:
        raise ExpressionError(f"Invalid orderby clause: '{part[0]}' cannot be sorted by.")
    return lambda row: _sortable(operand.value({"": row})), len(part) == 2 and part[1].lower() == "desc"


def _sortable(value: Any) -> tuple[bool, Any]:  # noqa: ANN401 - a value of any type
    """Null sorts before everything, text without regard to case."""
    return value is not None, value.casefold() if isinstance(value, str) else value or 0


def _no_property(name: str, type_name: str) -> str:
    return f"Could not find a property named '{name[:100]}' on type '{type_name}'."


def _tokens(text: str) -> list[tuple[str, str]]:
    if len(text) > LONGEST:
        raise ExpressionError(f"Invalid filter clause: It is longer than {LONGEST} characters.")
    found, place, end = [], 0, len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            raise ExpressionError(f"Invalid filter clause: Syntax error at position {place} in '{text[:200]}'.")
        found.append((str(match.lastgroup), match[str(match.lastgroup)]))
        place = match.end()
    if len(found) > MOST_TOKENS:
        raise ExpressionError(f"Invalid filter clause: It has more than {MOST_TOKENS} terms.")
    return found


class _Parser:
    """Recursive descent; deepest `DEEPEST`, every chain of `and` and `or` being one level."""

    def __init__(self, tokens: list[tuple[str, str]], entity: EntityType, clause: str = "filter") -> None:
        self._tokens, self._entity, self._clause = tokens, entity, clause
        self._place, self._depth = 0, 0
        self._variables: dict[str, Type] = {}

    def whole(self) -> _Operand:
        """The expression, which is all there is."""
        found = self._boolean(self._either())
        if self._place < len(self._tokens):
            raise self._error(f"Syntax error at '{self._tokens[self._place][1][:100]}'.")
        return found

    def only_path(self) -> _Operand:
        """One path, which is all there is."""
        kind, name = self._next()
        if kind != "name":
            raise self._error(f"Syntax error at '{name[:100]}'.")
        found = self._path(name)
        if self._place < len(self._tokens):
            raise self._error(f"Syntax error at '{self._tokens[self._place][1][:100]}'.")
        return found

    # --- boolean

    def _either(self) -> _Operand:
        return self._chain("or", lambda: self._chain("and", self._comparison, all), any)

    def _chain(self, word: str, part: Callable[[], _Operand], verdict: Callable[[Iterable[bool]], bool]) -> _Operand:
        parts = [part()]
        while self._accept("name", word):
            parts.append(self._boolean(part()))
        if len(parts) == 1:
            return parts[0]
        values = [self._boolean(each).value for each in parts]
        return _Operand(_BOOLEAN, lambda row: verdict(value(row) is True for value in values))

    def _comparison(self) -> _Operand:
        if self._accept("name", "not"):
            with self._deeper():
                inner = self._boolean(self._comparison())
            return _Operand(_BOOLEAN, lambda row: inner.value(row) is not True)
        left = self._operand()
        if self._accept("name", "in"):
            return self._one_of(left)
        kind, word = self._peek()
        if kind != "name" or word not in _COMPARISONS:
            return left
        self._next()
        return self._compared(word, left, self._operand())

    def _compared(self, word: str, left: _Operand, right: _Operand) -> _Operand:
        name, compare = _COMPARISONS[word]
        one, other = self._alike(name, left, right)
        is_ordering = word not in ("eq", "ne")
        if is_ordering and Kind.NULL not in (one.type.kind, other.type.kind) and one.type.kind not in _ORDERED:
            raise self._incompatible(name, one, other)

        def result(row: _Row) -> bool:
            a, b = _folded(one.value(row)), _folded(other.value(row))
            return False if is_ordering and (a is None or b is None) else compare(a, b)

        return _Operand(_BOOLEAN, result)

    def _one_of(self, left: _Operand) -> _Operand:
        self._expect("(")
        compared = []
        while True:
            compared.append(self._compared("eq", left, self._literal()).value)
            if not self._accept("mark", ","):
                break
        self._expect(")")
        return _Operand(_BOOLEAN, lambda row: any(value(row) for value in compared))

    def _alike(self, name: str, left: _Operand, right: _Operand) -> tuple[_Operand, _Operand]:
        """Both sides in one type."""
        if any(
            side.type.kind in (Kind.COMPLEX, Kind.COLLECTION) or not side.type.is_comparable for side in (left, right)
        ):
            raise self._incompatible(name, left, right)
        if Kind.NULL in (left.type.kind, right.type.kind) or left.type.kind is right.type.kind:
            return left, right
        if right.literal is not None:
            return left, self._read_as(left.type, right)
        if left.literal is not None:
            return self._read_as(right.type, left), right
        raise self._incompatible(name, left, right)

    def _read_as(self, wanted: Type, operand: _Operand) -> _Operand:
        text = str(operand.literal)
        try:
            value = _READERS[wanted.kind](text)
        except (KeyError, ValueError) as error:
            raise self._error(f"The value '{text[:100]}' is not of the type {wanted.kind.value}.") from error
        return _Operand(wanted, lambda _: value)

    # --- values

    def _operand(self) -> _Operand:
        if self._accept("mark", "("):
            with self._deeper():
                found = self._either()
            self._expect(")")
            return found
        kind, text = self._peek()
        if kind != "name" or text in ("true", "false", "null"):
            return self._literal()
        self._next()
        return self._call(text) if self._accept("mark", "(") else self._path(text)

    def _literal(self) -> _Operand:
        kind, text = self._next()
        if kind == "string":
            value = text[1:-1].replace("''", "'")
            return _Operand(_STRING, lambda _: value, value)
        if kind == "guid":
            return _Operand(_STRING, lambda _: text)
        if kind == "number":
            number = float(text)
            return _Operand(Type(Kind.NUMBER), lambda _: number)
        if kind == "moment":
            return self._read_as(Type(Kind.MOMENT), _Operand(_STRING, lambda _: text, text))
        if text in ("true", "false"):
            return _Operand(_BOOLEAN, lambda _: text == "true")
        if text == "null":
            return _Operand(Type(Kind.NULL), lambda _: None)
        raise self._error(f"Syntax error at '{text[:100]}'.")

    def _call(self, name: str) -> _Operand:
        with self._deeper():
            arguments = [self._text(name)]
            while self._accept("mark", ","):
                arguments.append(self._text(name))
            self._expect(")")
        if name in _CHANGES and len(arguments) == 1:
            return _Operand(_STRING, _changed(_CHANGES[name], arguments[0]))
        if name in _TESTS and len(arguments) == 2:
            return _Operand(_BOOLEAN, _tested(_TESTS[name], *arguments))
        raise self._error(f"An unknown function with name '{name[:100]}' was found.")

    def _text(self, function: str) -> _Operand:
        operand = self._operand()
        if operand.type.kind is not Kind.STRING or not operand.type.is_comparable:
            raise self._error(f"The function '{function[:100]}' takes {Kind.STRING.value}.")
        return operand

    def _path(self, name: str) -> _Operand:
        if name in self._variables:
            current, type_name = self._variables[name], name
            steps, is_done = [name], not self._accept("mark", "/")
        else:
            current, type_name = Type(Kind.COMPLEX, self._entity.properties), self._entity.name
            steps, is_done = [""], False
            self._place -= 1
        while not is_done:
            kind, step = self._next()
            if kind == "name" and step == "any" and current.kind is Kind.COLLECTION:
                return self._any(current, steps)
            if kind != "name" or step not in current.members:
                raise self._error(_no_property(step, type_name))
            current, type_name = current.members[step], step
            steps.append(step)
            is_done = not self._accept("mark", "/")
        return _Operand(current, _follow(steps, current.kind))

    def _any(self, collection: Type, steps: list[str]) -> _Operand:
        members = _follow(steps, collection.kind)
        if self._clause != "filter":
            raise self._error("'any' gives no value to sort by.")
        if not collection.is_comparable or collection.of is None:
            raise self._error(f"'{steps[-1]}' cannot be filtered by.")
        self._expect("(")
        if self._accept("mark", ")"):
            return _Operand(_BOOLEAN, lambda row: bool(members(row)))
        kind, variable = self._next()
        if kind != "name" or variable in self._variables or variable in self._entity.properties:
            raise self._error(f"'{variable[:100]}' cannot be the variable of 'any'.")
        self._expect(":")
        with self._deeper():
            self._variables[variable] = collection.of
            inner = self._boolean(self._either())
            del self._variables[variable]
        self._expect(")")
        return _Operand(
            _BOOLEAN, lambda row: any(inner.value({**row, variable: each}) is True for each in members(row) or ())
        )

    # --- tokens

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._place] if self._place < len(self._tokens) else ("end", "the end")

    def _next(self) -> tuple[str, str]:
        found = self._peek()
        self._place += 1
        return found

    def _accept(self, kind: str, text: str) -> bool:
        is_there = self._peek() == (kind, text)
        self._place += is_there
        return is_there

    def _expect(self, mark: str) -> None:
        if not self._accept("mark", mark):
            raise self._error(f"'{mark}' is expected at '{self._peek()[1][:100]}'.")

    def _boolean(self, operand: _Operand) -> _Operand:
        if operand.type.kind is not Kind.BOOLEAN:
            raise self._error("The expression must be a boolean one; compare it with a value.")
        return operand

    def _deeper(self) -> "_Level":
        return _Level(self)

    def enter(self) -> None:
        """One level deeper. Raises ExpressionError."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error(f"It is nested deeper than {DEEPEST} levels.")

    def leave(self) -> None:
        """One level up."""
        self._depth -= 1

    def _error(self, detail: str) -> ExpressionError:
        return ExpressionError(f"Invalid {self._clause} clause: {detail}")

    def _incompatible(self, name: str, left: _Operand, right: _Operand) -> ExpressionError:
        kinds = f"'{left.type.kind.value}' and '{right.type.kind.value}'"
        detail = f"Found operand types {kinds} for operator kind '{name}'."
        return self._error(f"A binary operator with incompatible types was detected. {detail}")


class _Level:
    """One level of nesting."""

    def __init__(self, parser: _Parser) -> None:
        self._parser = parser

    def __enter__(self) -> None:
        self._parser.enter()

    def __exit__(self, *_: object) -> None:
        self._parser.leave()


def _follow(steps: list[str], kind: Kind) -> Callable[[_Row], Any]:
    """The value at the end of a path; null where something on the way is."""

    def value(row: _Row) -> Any:  # noqa: ANN401 - a value of any type
        found: Any = row
        for step in steps:
            found = found.get(step) if found is not None else None
        return _moment(found) if kind is Kind.MOMENT and isinstance(found, str) else found

    return value


def _changed(change: Callable[[str], str], operand: _Operand) -> Callable[[_Row], str | None]:
    def value(row: _Row) -> str | None:
        text = operand.value(row)
        return None if text is None else change(text)

    return value


def _tested(test: Callable[[str, str], bool], text: _Operand, part: _Operand) -> Callable[[_Row], bool]:
    def value(row: _Row) -> bool:
        whole, piece = _folded(text.value(row)), _folded(part.value(row))
        return whole is not None and piece is not None and test(whole, piece)

    return value


def _folded(value: Any) -> Any:  # noqa: ANN401 - a value of any type
    return value.casefold() if isinstance(value, str) else value


def _moment(text: str) -> datetime:
    """A date, which begins at midnight UTC, or a moment with its zone. Raises ValueError."""
    found = datetime.fromisoformat(text)
    if len(text) > len("2026-01-01") and found.tzinfo is None:
        raise ValueError(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_READERS: Mapping[Kind, Callable[[str], Any]] = {
    Kind.STRING: str,
    Kind.NUMBER: float,
    Kind.BOOLEAN: _truth,
    Kind.MOMENT: _moment,
}
