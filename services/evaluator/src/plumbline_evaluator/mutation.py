"""Small wrong versions of a control. Its cases are good enough when they notice every one of them."""

import copy
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue, ValidationError

from plumbline_evaluator.casework import run_cases
from plumbline_evaluator.catalogue.model import Control
from plumbline_evaluator.judging.plan import PlanError
from plumbline_evaluator.judging.releases import FAMILIES

Document = dict[str, Any]
Place = tuple[str | int, ...]

_STRING = re.compile(r"'[^']*'")
_COMPARISON = re.compile(r">=|<=|==|!=|>|<")
_NUMBER = re.compile(r"(?<![\w.])\d+")
_ATOM = re.compile(r"!?[a-z_]\w*(?:\.\w+)?(?:\([^()]*\))?(?:\s*(?:>=|<=|==|!=|>|<|in)\s*(?:\[[^\]]*\]|[\w.']+))?")
_NEIGHBOURS = {">=": ">", "<=": "<", ">": ">=", "<": "<=", "==": "!=", "!=": "=="}
_OUTCOMES = ("PASS", "FAIL", "UNKNOWN", "NOT_APPLICABLE")
_KINDS_OF_SEVERAL = ("all", "any", "share")


@dataclass(frozen=True)
class Mutant:
    """A control that differs in one place, and what was changed there."""

    change: str
    control: Control


@dataclass(frozen=True)
class Verdicts:
    """How many mutants of a control its cases noticed, and the changes that none noticed."""

    killed: int
    survivors: list[str]


def trial(control: Control) -> Verdicts:
    """Run the cases of a control against every mutant of it."""
    changed = list(mutants(control))
    survivors = [mutant.change for mutant in changed if not _is_noticed(mutant.control)]
    return Verdicts(len(changed) - len(survivors), survivors)


def _is_noticed(control: Control) -> bool:
    try:
        return any(run_cases(control))
    except PlanError:
        return True


def mutants(control: Control) -> Iterator[Mutant]:
    """Every one-place change of how a control judges: comparisons, conditions, thresholds, names, absence, points.

    A change that leaves no control of the format is left out.
    """
    original = control.model_dump(mode="json", by_alias=True)
    if control.check is None:
        return
    for change, document in _documents(original):
        try:
            yield Mutant(change, Control.model_validate(document))
        except ValidationError:
            continue


def _documents(original: Document) -> Iterator[tuple[str, Document]]:
    check: Document = original["check"]
    named: Document = check.get("checks") or {"": check}
    for name in named:
        place: Place = ("check", "checks", name) if name else ("check",)
        yield from _leaf(original, named[name], place)
    if "checks" in check:
        for name in named:
            rest = {other: leaf for other, leaf in named.items() if other != name}
            yield _changed(original, ("check", "checks"), rest)
        for kind in set(_KINDS_OF_SEVERAL) - {check["kind"]}:
            yield _changed(original, ("check", "kind"), kind)
    for name, param in original["params"].items():
        for changed in _params(param):
            yield _changed(original, ("params", name), changed)
    for number, condition in enumerate(original["applies_when"]):
        others = [other for other in original["applies_when"] if other is not condition]
        yield _changed(original, ("applies_when",), others)
        yield from _condition(original, condition, ("applies_when", number))
    if original["points"]:
        yield _changed(original, ("points",), original["points"] - 1)


def _leaf(original: Document, leaf: Document, place: Place) -> Iterator[tuple[str, Document]]:
    for key in ("pass", "where", "of"):
        for text in _expressions(leaf.get(key) or ""):
            yield _changed(original, (*place, key), text)
    yield from _selections(original, leaf, place)
    if leaf["kind"] in ("row", "rows"):
        # Beside another check, an absence that does not apply decides as little as one that fails.
        undecided = {"NOT_APPLICABLE"} if "checks" in place else set()
        for outcome in set(_OUTCOMES) - {leaf["absent"]} - undecided:
            yield _changed(original, (*place, "absent"), outcome)
    if leaf["kind"] == "property":
        yield from _absences(original, leaf["absent"], (*place, "absent"))
    yield from _shares(original, leaf, place)


def _selections(original: Document, leaf: Document, place: Place) -> Iterator[tuple[str, Document]]:
    for key in ("key", "property"):
        if leaf.get(key):
            yield _changed(original, (*place, key), leaf[key] + "x")
    for field, value in (leaf.get("match") or {}).items():
        yield _changed(original, (*place, "match", field), value + "x")


def _shares(original: Document, leaf: Document, place: Place) -> Iterator[tuple[str, Document]]:
    for key in ("bands", "partial"):
        for number, band in enumerate(leaf.get(key, [])):
            yield _changed(original, (*place, key), [other for other in leaf[key] if other is not band])
            for changed in _bands(band):
                yield _changed(original, (*place, key, number), changed)
    if isinstance(target := leaf.get("target_percent"), int) and target != 100:
        yield from (_changed(original, (*place, "target_percent"), target + step) for step in (-1, 1))


def _params(param: Document) -> Iterator[Document]:
    default = param["default"]
    match param["type"]:
        case "int":
            for value in (default - 1, default + 1):
                bounds = {name: param[name] for name in ("minimum", "maximum") if param[name] is not None}
                yield {
                    **param,
                    **{name: _widened(name, bound, value) for name, bound in bounds.items()},
                    "default": value,
                }
        case "bool":
            yield {**param, "default": not default}
        case "string_list":
            yield from ({**param, "default": [each for each in default if each != item]} for item in default)
        case _:
            yield {**param, "default": f"{default}x", "choices": None}


def _widened(name: str, bound: int, value: int) -> int:
    return min(bound, value) if name == "minimum" else max(bound, value)


def _condition(original: Document, condition: Document, place: Place) -> Iterator[tuple[str, Document]]:
    for text in _expressions(condition["expression"]):
        yield _changed(original, (*place, "expression"), text)
    if condition["key"]:
        yield _changed(original, (*place, "key"), condition["key"] + "x")


def _expressions(text: str) -> Iterator[str]:
    """The expression negated, with a neighbour's comparison, a number one off, a string altered, or a part decided."""
    if text:
        yield f"!({text})"
    bare = _STRING.sub(lambda match: "_" * len(match.group()), text)
    for match in _COMPARISON.finditer(bare):
        yield _replaced(text, match, _NEIGHBOURS[match.group()])
    for match in _NUMBER.finditer(bare):
        yield from (_replaced(text, match, str(int(match.group()) + step)) for step in (-1, 1))
    for match in _STRING.finditer(text):
        yield _replaced(text, match, match.group()[:-1] + "x'")
        if "(?i)" in match.group():
            yield _replaced(text, match, match.group().replace("(?i)", ""))
    for match in _ATOM.finditer(bare):
        decided = (answer for answer in ("true", "false") if match.group() != answer)
        yield from (_replaced(text, match, answer) for answer in decided)


def _absences(original: Document, absent: Document, place: Place) -> Iterator[tuple[str, Document]]:
    bands = [((*place, "releases", number), band) for number, band in enumerate(absent["releases"])]
    for where, stated in [(place, absent), *bands]:
        for other in _other_meanings(stated):
            yield _changed(original, where, {**stated, **other})
    for where, band in bands:
        for key in ("from", "until"):
            for family in _neighbouring(band[key]):
                yield _changed(original, where, {**band, key: family})


def _neighbouring(family: str | None) -> Iterable[str]:
    if family is None:
        return ()
    at = FAMILIES.index(family)
    return (*FAMILIES[max(0, at - 1) : at], *FAMILIES[at + 1 : at + 2])


def _other_meanings(stated: Document) -> Iterator[Document]:
    """A value in force that means something else; one that is only a little different need not be noticed."""
    if stated["value"] is not None:
        yield {"value": None, "outcome": "UNKNOWN"}
        yield from ({"value": other} for other in _other_values(stated["value"]))
        return
    for outcome in set(_OUTCOMES) - {stated["outcome"]}:
        yield {"outcome": outcome}


def _other_values(value: str) -> Iterator[str]:
    if value in ("true", "false"):
        yield "false" if value == "true" else "true"


def _bands(band: Document) -> Iterator[Document]:
    if band["share"]:
        yield {**band, "share": band["share"] / 2}
    for text in _expressions(band.get("when") or ""):
        yield {**band, "when": text}
    for bound in ("min", "max", "max_percent"):
        if isinstance(band.get(bound), int):
            yield from ({**band, bound: band[bound] + step} for step in (-1, 1))


def _replaced(text: str, match: re.Match[str], by: str) -> str:
    return text[: match.start()] + by + text[match.end() :]


def _changed(original: Document, place: Place, value: JsonValue) -> tuple[str, Document]:
    document = copy.deepcopy(original)
    node: Any = document
    for step in place[:-1]:
        node = node[step]
    before, node[place[-1]] = node[place[-1]], value
    return f"{'.'.join(map(str, place))}: {before!r} -> {value!r}", document
