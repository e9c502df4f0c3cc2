"""Small wrong versions of a control. Its cases are good enough when they notice every one of them."""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from plumbline_evaluator.catalogue.model import Control
from plumbline_evaluator.judging.releases import FAMILIES

Document = dict[str, Any]

_STRING = re.compile(r"'[^']*'")
_COMPARISON = re.compile(r">=|<=|==|!=|>|<")
_NUMBER = re.compile(r"(?<![\w.])\d+")
_ATOM = re.compile(r"!?[a-z_]\w*(?:\.\w+)?(?:\([^()]*\))?(?:\s*(?:>=|<=|==|!=|>|<|in)\s*(?:\[[^\]]*\]|[\w.']+))?")
_NEIGHBOURS = {">=": ">", "<=": "<", ">": ">=", "<": "<=", "==": "!=", "!=": "=="}
_OUTCOMES = ("PASS", "FAIL", "UNKNOWN", "NOT_APPLICABLE")
_OTHER_VALUES = {"true": "false", "false": "true", "private": "public", "30": "100000"}


@dataclass(frozen=True)
class Mutant:
    """A control that differs in one place, and what was changed there."""

    change: str
    control: Control


def mutants(control: Control) -> Iterator[Mutant]:
    """Every one-place change of how the control judges: comparisons, conditions, thresholds, names, absence, points."""
    original = control.model_dump(mode="json", by_alias=True)
    for change, document in _documents(original):
        yield Mutant(change, Control.model_validate(document))


def _documents(original: Document) -> Iterator[tuple[str, Document]]:
    check: Document = original["check"]
    named: Document = check.get("checks") or {"": check}
    for name in named:
        place = ("check", "checks", name) if name else ("check",)
        yield from _leaf(original, named[name], place)
    if "checks" in check:
        yield _changed(original, ("check", "kind"), "all" if check["kind"] == "any" else "any")
    for name, param in original["params"].items():
        for value in (param["default"] - 1, param["default"] + 1):
            bounds = {"minimum": min(value, param["minimum"]), "maximum": max(value, param["maximum"])}
            yield _changed(original, ("params", name), {**param, **bounds, "default": value})
    yield _changed(original, ("points",), original["points"] - 1)


def _leaf(original: Document, leaf: Document, place: tuple[str | int, ...]) -> Iterator[tuple[str, Document]]:
    for key in ("pass", "where"):
        for text in _expressions(leaf.get(key) or ""):
            yield _changed(original, (*place, key), text)
    for key in ("key", "property"):
        if leaf.get(key):
            yield _changed(original, (*place, key), leaf[key] + "x")
    if leaf["kind"] in ("row", "rows"):
        # Beside another check, an absence that does not apply decides as little as one that fails.
        undecided = {"NOT_APPLICABLE"} if "checks" in place else set()
        for outcome in set(_OUTCOMES) - {leaf["absent"]} - undecided:
            yield _changed(original, (*place, "absent"), outcome)
    if leaf["kind"] == "property":
        yield from _absences(original, leaf["absent"], (*place, "absent"))
    for number, band in enumerate(leaf.get("bands", [])):
        for changed in _bands(band):
            yield _changed(original, (*place, "bands", number), changed)


def _expressions(text: str) -> Iterator[str]:
    """The expression with a neighbour's comparison, a number one off, a string altered, or a condition decided."""
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
        yield from (_replaced(text, match, decided) for decided in ("true", "false"))


def _absences(original: Document, absent: Document, place: tuple[str | int, ...]) -> Iterator[tuple[str, Document]]:
    bands = [((*place, "releases", number), band) for number, band in enumerate(absent["releases"])]
    for where, stated in [(place, absent), *bands]:
        for other in _other_meanings(stated):
            yield _changed(original, where, {**stated, **other})
    for where, band in bands:
        first = FAMILIES.index(band["from"])
        for family in (FAMILIES[first - 1], *FAMILIES[first + 1 : first + 2]):
            yield _changed(original, where, {**band, "from": family})


def _other_meanings(stated: Document) -> Iterator[Document]:
    if stated["value"] is not None:
        yield {"value": _OTHER_VALUES[stated["value"]]}
        return
    for outcome in set(_OUTCOMES) - {stated["outcome"]}:
        yield {"outcome": outcome}


def _bands(band: Document) -> Iterator[Document]:
    if band["share"]:
        yield {**band, "share": band["share"] / 2}
    for bound in ("min", "max"):
        if isinstance(band[bound], int):
            yield from ({**band, bound: band[bound] + step} for step in (-1, 1))


def _replaced(text: str, match: re.Match[str], by: str) -> str:
    return text[: match.start()] + by + text[match.end() :]


def _changed(original: Document, place: tuple[str | int, ...], value: Any) -> tuple[str, Document]:
    document = copy.deepcopy(original)
    node: Any = document
    for step in place[:-1]:
        node = node[step]
    before, node[place[-1]] = node[place[-1]], value
    return f"{'.'.join(map(str, place))}: {before!r} -> {value!r}", document
