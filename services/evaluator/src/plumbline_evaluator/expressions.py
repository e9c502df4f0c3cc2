"""Expressions of controls: CEL behind a small interface (compile, evaluate).

An expression sees the fields of its dataset as typed variables, and the control's parameters as `params.NAME`.
Everything that can be refused is refused when the catalogue loads. Source: https://cel.dev.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any, Literal

from cel_expr_python import cel
from plumbline_contracts.datasets import FieldType
from pydantic import JsonValue

ParamType = Literal["int", "bool", "string", "string_list"]

_CEL_TYPES: dict[str, Any] = {
    "bool": cel.Type.BOOL,
    "int": cel.Type.INT,
    "double": cel.Type.DOUBLE,
    "string": cel.Type.STRING,
    "timestamp": cel.Type.STRING,
    "string_list": cel.Type.List(cel.Type.STRING),
}
_STRINGS = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_PARAM = re.compile(r"(?<![\w.])params\s*\.\s*([A-Za-z_]\w*)")
_PATTERN = re.compile(r"\.matches\(\s*('(?:\\.|[^'\\])*')\s*\)")
_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?![\w]*\s*\()")
_NAMES_OF_CEL = frozenset(
    ("bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "string", "timestamp", "type", "uint")
)
"""What the language declares itself: a field of such a name goes by another, inside."""


class ExpressionError(ValueError):
    """An expression that cannot be compiled: the text says what CEL objects to and where."""


MOST_QUOTED, MOST_SAID = 160, 300
"""How much of an expression, and of what the engine says about it, stands in a message, in characters."""


def quoted(text: str) -> str:
    """An expression as a message quotes it."""
    return f"`{text}`" if len(text) <= MOST_QUOTED else f"`{text[:MOST_QUOTED]}…`"


@dataclass(frozen=True)
class Expression:
    """A compiled expression of type bool.

    `fields` are the dataset fields that it names; `variables` maps the activation's parameter variables to the
    parameter names that they stand for.
    """

    text: str
    fields: frozenset[str]
    params: frozenset[str]
    variables: Mapping[str, str]
    _source: str
    _compiled: Any

    def holds(self, activation: Any) -> bool | None:  # noqa: ANN401 - CEL's own object
        """True or False, or None when the expression cannot be evaluated on this activation."""
        value = _value(self._compiled, activation)
        return value if value is True or value is False else None

    def why_not(self, activation: Any) -> str:  # noqa: ANN401
        """The engine's words for an evaluation that gave no answer."""
        return str(_value(self._compiled, activation))


Question = tuple[Expression, Expression | None]
"""Whether a row belongs (first) and, if it does, whether it complies (second, if that is asked)."""

BELONGS, COMPLIES = 1, 2
ANSWER_BITS = 2
_QUESTIONS_IN_ONE = 24
"""An integer of CEL has 64 bits."""


def _value(compiled: Any, activation: Any) -> Any:  # noqa: ANN401 - CEL's own objects
    """What an evaluation gives, or the engine's words where it gives up: it allows 10,000 steps of loops."""
    try:
        return compiled.eval(activation).value()
    except RuntimeError as error:
        return _first_line(error)


class Questionnaire:
    """Many questions compiled into few expressions, so that a row crosses into the engine once and not per question.

    The answers are one integer of two bits a question: `(answers >> 2 * number) & (BELONGS | COMPLIES)`.
    """

    def __init__(self, compiled: Sequence[Any]) -> None:
        self._compiled = compiled

    def answers(self, activation: Any) -> int | None:  # noqa: ANN401 - CEL's own object
        """All answers, or None when some question has none: then each must be asked alone."""
        found = 0
        for number, compiled in enumerate(self._compiled):
            value = _value(compiled, activation)
            if type(value) is not int:
                return None
            found |= value << (number * _QUESTIONS_IN_ONE * ANSWER_BITS)
        return found


class Language:
    """What expressions of one dataset may name.

    Parameters of different controls share one activation per row, so each control's parameters become variables of
    their own (`params.x` of the control numbered 7 is `params_7_x`).
    """

    def __init__(self, fields: Mapping[str, FieldType], params: Mapping[str, Mapping[str, ParamType]]) -> None:
        self._fields = dict(fields)
        self._prefixes = {control: f"params_{number}_" for number, control in enumerate(sorted(params))}
        self._params = params
        self._renamed = {name: f"field_{name}" for name in fields if name in _NAMES_OF_CEL}
        variables = {self._renamed.get(name, name): _CEL_TYPES[kind] for name, kind in fields.items()}
        for control, declared in params.items():
            variables |= {self._prefixes[control] + name: _CEL_TYPES[kind] for name, kind in declared.items()}
        self._env = cel.NewEnv(variables=variables)

    def compile(self, text: str, control: str) -> Expression:
        """Compile `text` for `control`. Raises ExpressionError on any mistake, a result that is no bool included."""
        bare = _STRINGS.sub(lambda match: " " * len(match.group()), text)
        named = frozenset(_PARAM.findall(bare))
        declared = self._params.get(control, {})
        if unknown := named - declared.keys():
            known = ", ".join(sorted(declared)) or "none"
            raise ExpressionError(
                f"{quoted(text)} names params.{sorted(unknown)[0]}, which is not declared (declared: {known})"
            )
        prefix = self._prefixes.get(control, "params_")
        rewritten = self._rewrite(text, bare, prefix)
        try:
            compiled = self._env.compile(rewritten)
        except RuntimeError as error:
            said = _first_line(error).replace(prefix, "params.")
            raise ExpressionError(f"{quoted(text)}: {shorten(said, MOST_SAID, placeholder=' …')}") from error
        if pattern := self._bad_pattern(text):
            raise ExpressionError(f"{quoted(text)}: {quoted(pattern)} is no regular expression (RE2)")
        if compiled.return_type().name() != "BOOL":
            kind = compiled.return_type().name().lower()
            raise ExpressionError(f"{quoted(text)} is of type {kind}, expected bool")
        without_params = _PARAM.sub(lambda match: " " * len(match.group()), bare)
        fields = frozenset(_NAME.findall(without_params)) & self._fields.keys()
        return Expression(text, frozenset(fields), named, {prefix + name: name for name in named}, rewritten, compiled)

    def _bad_pattern(self, text: str) -> str | None:
        """The first literal pattern that the engine cannot match with; it would say so of every row, and late."""
        for pattern in _PATTERN.findall(text):
            answer = _value(self._env.compile(f"''.matches({pattern})"), self._env.Activation({}))
            if not isinstance(answer, bool):
                return str(pattern)
        return None

    def questionnaire(self, questions: Sequence[Question]) -> Questionnaire | None:
        """All questions in one, or None where the engine refuses expressions of that size."""
        parts = [questions[start : start + _QUESTIONS_IN_ONE] for start in range(0, len(questions), _QUESTIONS_IN_ONE)]
        try:
            return Questionnaire([self._env.compile(_sum(_terms(part))) for part in parts])
        except RuntimeError:
            return None

    def _rewrite(self, text: str, bare: str, prefix: str) -> str:
        """The expression with the names that the engine knows its parameters and fields by."""
        found = [(match.span(), prefix + match.group(1)) for match in _PARAM.finditer(bare)]
        named = (match for match in _NAME.finditer(bare) if match.group() in self._renamed)
        found += [(match.span(), self._renamed[match.group()]) for match in named]
        pieces, position = [], 0
        for (start, end), name in sorted(found):
            pieces += [text[position:start], name]
            position = end
        return "".join([*pieces, text[position:]])

    def activation(self, data: dict[str, JsonValue]) -> Any:  # noqa: ANN401
        """Values for the variables, to be shared by all expressions of one row. `data` belongs to it from then on."""
        for name, variable in self._renamed.items():
            if name in data:
                data[variable] = data.pop(name)
        return self._env.Activation(data)


def _terms(questions: Sequence[Question]) -> list[str]:
    """A term per question. An expression may end in a comment, hence the line breaks."""
    terms = []
    for number, (belongs, complies) in enumerate(questions):
        alone, both = BELONGS << ANSWER_BITS * number, (BELONGS | COMPLIES) << ANSWER_BITS * number
        value = f"(({complies._source}\n) ? {both} : {alone})" if complies else str(alone)
        terms.append(f"(({belongs._source}\n) ? {value} : 0)")
    return terms


def _sum(terms: list[str]) -> str:
    """Their sum as a balanced tree: the engine limits the depth of an expression."""
    if len(terms) == 1:
        return terms[0]
    middle = len(terms) // 2
    return f"({_sum(terms[:middle])} + {_sum(terms[middle:])})"


def _first_line(error: RuntimeError) -> str:
    first = str(error).splitlines()[0]
    return first.removeprefix("INVALID_ARGUMENT: ERROR: <input>:").removesuffix("[INVALID_ARGUMENT]").strip()
