"""The population checks of a product as a plain Python loop: what the core's speed is compared with."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from plumbline_contracts.events import Row
from plumbline_evaluator.expressions import Expression
from plumbline_evaluator.judging.plan import Leaf, ProductPlan
from pydantic import JsonValue

_TOKEN = re.compile(r"'[^']*'|\"[^\"]*\"|params\s*\.\s*(?P<param>\w+)|(?P<name>[A-Za-z_]\w*)|&&|\|\||!=|!|.", re.DOTALL)
_WORDS = {"&&": " and ", "||": " or ", "!": " not ", "true": "True", "false": "False", "in": "in"}


class UntranslatableError(ValueError):
    """The expression uses more of CEL than operators, fields and parameters."""


def translate(expression: Expression, params: Mapping[str, JsonValue]) -> Callable[[Row], bool]:
    """The expression as a Python function of a row. Raises UntranslatableError."""

    def python(match: re.Match[str]) -> str:
        token = match.group()
        if match["param"]:
            return repr(params[match["param"]])
        if match["name"] in expression.fields:
            return f"row[{token!r}]"
        if match["name"] and token not in _WORDS:
            raise UntranslatableError(f"`{expression.text}`: {token}")
        return _WORDS.get(token, token)

    source = _TOKEN.sub(python, expression.text).strip()
    function: Callable[[Row], bool] = eval(f"lambda row: {source}")  # noqa: S307 - the text of our own controls
    return function


@dataclass
class PlainCheck:
    """One population check: its counts and its exposed rows."""

    control: str
    belongs: Callable[[Row], bool]
    complies: Callable[[Row], bool] | None
    id_field: str
    name_field: str
    detail: list[str]
    total: int = 0
    compliant: int = 0
    exposed: list[dict[str, Any]] = field(default_factory=list)


def checks(plan: ProductPlan) -> dict[str, list[PlainCheck]]:
    """The population checks by dataset. Raises UntranslatableError."""
    found: dict[str, list[PlainCheck]] = {}
    for compiled in plan.controls:
        params = {name: param.default for name, param in compiled.control.params.items()}
        for leaf in compiled.leaves:
            if leaf.where is not None:
                found.setdefault(leaf.dataset.name, []).append(_check(leaf, leaf.where, params))
    return found


def _check(leaf: Leaf, where: Expression, params: Mapping[str, JsonValue]) -> PlainCheck:
    entity, passes = leaf.dataset.entity, leaf.passes
    assert entity is not None
    complies = translate(passes, params) if passes else None
    fields = sorted(where.fields | (passes.fields if passes else frozenset()))
    return PlainCheck(leaf.control, translate(where, params), complies, entity.id, entity.name, fields)


def judge(rows: Iterable[Row], population: list[PlainCheck]) -> None:
    """The loop."""
    for row in rows:
        for check in population:
            if not check.belongs(row):
                continue
            check.total += 1
            if check.complies and check.complies(row):
                check.compliant += 1
                continue
            detail = {name: row.get(name) for name in check.detail}
            check.exposed.append({"id": row[check.id_field], "name": row[check.name_field], "detail": detail})
