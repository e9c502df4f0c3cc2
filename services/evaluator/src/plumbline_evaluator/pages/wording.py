"""The check of a control in words."""

import re
from collections.abc import Iterator, Mapping

from plumbline_evaluator.catalogue.model import (
    AllCheck,
    AnyCheck,
    AppliesWhen,
    Band,
    Bound,
    Control,
    CountCheck,
    DocumentCheck,
    LeafCheck,
    Param,
    PropertyAbsent,
    PropertyCheck,
    ReleaseAbsent,
    RowCheck,
    RowsCheck,
    ShareCheck,
)
from plumbline_evaluator.judging.plan import RANK
from plumbline_evaluator.judging.releases import RANKS
from plumbline_evaluator.judging.verdicts import sentence
from plumbline_evaluator.pages.markdown import bullets, code, text

_TYPES = {"bool": "true or false", "int": "a whole number", "string": "text", "list": "a list between commas"}
_RELEASE_NAMES = {"washingtondc": "Washington DC"}
_RANK_ASKED = re.compile(rf"\b{RANK}\s*[<>=!]=?\s*(\d+)")
_LEFT_OUT = re.compile(r"!\s*\(\s*\w+ in params\.(\w+)\s*\)")
_ACCEPTED = re.compile(r"\bin params\.(allowed_\w+)")

Params = Mapping[str, Param]


def check_in_words(control: Control) -> str:
    """What is expected, as a list; empty without a check."""
    match control.check:
        case None:
            return ""
        case AllCheck(checks=checks):
            return _parts("All of these must hold.", checks, control.params)
        case AnyCheck(checks=checks):
            return _parts("One of these must hold.", checks, control.params)
        case ShareCheck(checks=checks):
            return _parts("Each of these that holds gives an equal share of the points.", checks, control.params)
        case leaf:
            return bullets(_clauses(leaf, control.params)) + "\n"


def _parts(lead: str, checks: Mapping[str, LeafCheck], params: Params) -> str:
    return f"{lead}\n\n{''.join(_part(name, leaf, params) for name, leaf in checks.items())}\n"


def _part(name: str, check: LeafCheck, params: Params) -> str:
    first, *others = _clauses(check, params)
    if isinstance(check, PropertyCheck) and check.property == name:
        return bullets([first]) + bullets(others, 1)
    return bullets([f"**{text(name)}**"]) + bullets([first, *others], 1)


def _clauses(check: LeafCheck, params: Params) -> Iterator[str]:
    """What is asked of a single check, then what gives a part of the points, then what absence means."""
    expected = check.expected.format(**{name: param.default for name, param in params.items()})
    yield f"{_subject(check)}: expected *{text(expected)}*."
    match check:
        case DocumentCheck():
            yield from _passes_when(check.passes)
            yield from (f"{_share(band.share)} when {_asked(band.when)}." for band in check.partial)
            yield f"Without the document: {check.absent}."
        case RowCheck():
            yield from _passes_when(check.passes)
            yield f"Without the row: {check.absent}."
        case PropertyCheck():
            yield from _passes_when(check.passes)
            yield _absent(check.absent)
        case RowsCheck():
            yield from _population(check, params)
        case CountCheck():
            yield from _count(check, params)


def _subject(check: LeafCheck) -> str:
    match check:
        case DocumentCheck():
            return f"Document {code(check.dataset)}"
        case RowCheck():
            meant = f" ({text(check.subject)})" if check.subject else ""
            return f"Row {_selection(check)}{meant} of {code(check.dataset)}"
        case PropertyCheck():
            return f"Property {code(check.property)} ({_TYPES[check.type]})"
        case RowsCheck():
            return f"Each of the {text(check.population)} in {code(check.dataset)}"
        case CountCheck():
            return f"Number of {text(check.population)} in {code(check.dataset)}"


def _selection(selecting: RowCheck | AppliesWhen) -> str:
    if selecting.key is not None:
        return code(selecting.key)
    return "with " + " and ".join(f"{code(field)} = {code(value)}" for field, value in selecting.match.items())


def _asked(expression: str) -> str:
    """An expression, with the names of the releases whose ranks it compares with."""
    names = {rank: _release(family) for family, rank in RANKS.items()}
    asked = dict.fromkeys(int(rank) for rank in _RANK_ASKED.findall(expression))
    meant = ", ".join(f"{rank} is {names[rank]}" for rank in asked if rank in names)
    return f"{code(expression)} ({meant})" if meant else code(expression)


def _passes_when(expression: str) -> Iterator[str]:
    yield f"Passes when {_asked(expression)}."
    if accepted := dict.fromkeys(_ACCEPTED.findall(expression)):
        yield f"Accepted by parameter: {', '.join(map(code, accepted))}."


def _belongs(label: str, where: str) -> Iterator[str]:
    yield f"{label}: every row." if where.strip() == "true" else f"{label}: rows where {_asked(where)}."
    if exceptions := dict.fromkeys(_LEFT_OUT.findall(where)):
        yield f"Left out by parameter: {', '.join(map(code, exceptions))}."


def _population(check: RowsCheck, params: Params) -> Iterator[str]:
    yield from _passes_when(check.passes)
    yield from _belongs("Population", check.where)
    yield f"Exposed: {text(check.population)} {text(check.exposed)}."
    if check.target_percent == 100:
        yield "Points: in proportion to those that comply."
    else:
        yield f"Points: all from {_bound(check.target_percent, params, ' %')} on, below in proportion."
    yield f"Without such rows: {check.absent}."


def _count(check: CountCheck, params: Params) -> Iterator[str]:
    if check.of is not None:
        yield from _belongs("Reference population", check.of)
    yield from _belongs("Counted", check.where)
    bands = [f"{_share(band.share).lower()} for {_range(band, params)}" for band in check.bands]
    yield sentence(f"{', else '.join(bands)}; otherwise no points.")


def _share(share: float) -> str:
    return {0.0: "No points", 0.5: "Half the points", 1.0: "All points"}.get(share, f"{100 * share:g} % of the points")


def _bound(bound: Bound, params: Params, unit: str = "") -> str:
    """A number, with the parameter that it comes from."""
    if isinstance(bound, int):
        return f"{bound}{unit}"
    name = bound.removeprefix("params.")
    return f"{params[name].default}{unit} ({code(name)})"


def _range(band: Band, params: Params) -> str:
    low = None if band.minimum is None else _bound(band.minimum, params)
    high = None if band.maximum is None else _bound(band.maximum, params)
    if band.maximum_percent is not None:
        part = f"{_bound(band.maximum_percent, params, ' %')} of the reference population"
        high = part if high is None else f"{high}, or {part} if that is more"
    if low is not None and high is not None:
        return f"exactly {low}" if low == high else f"{low} to {high}"
    if high is not None:
        return "none" if high == "0" else f"at most {high}"
    return "any number" if low is None else f"at least {low}"


def _absent(absent: PropertyAbsent) -> str:
    rules = [f"{_releases(band)} {_stands_for(band)}" for band in absent.releases]
    return f"Without the row: {'; '.join([_stands_for(absent), *rules])}."


def _stands_for(absent: PropertyAbsent | ReleaseAbsent) -> str:
    if absent.outcome is not None:
        return str(absent.outcome)
    return f"{code(absent.value)} is in force" if absent.value else "the empty value is in force"


def _releases(band: ReleaseAbsent) -> str:
    before = f"before {_release(band.until)}" if band.until else ""
    if band.since is None:
        return before
    return f"from {_release(band.since)} until {before}" if before else f"from {_release(band.since)} on"


def _release(family: str) -> str:
    """A release family as people write it."""
    return _RELEASE_NAMES.get(family, family.title())


def gates_in_words(control: Control) -> str:
    """Where the control applies, as a list; empty when everywhere."""
    items = [_gate(condition) for condition in control.applies_when]
    return bullets(items) + "\n" if items else ""


def _gate(condition: AppliesWhen) -> str:
    selects_row = condition.key is not None or condition.match
    subject = f"the row {_selection(condition)} of" if selects_row else "the document"
    otherwise = (
        f"otherwise NOT_APPLICABLE: {text(condition.reason)}" if condition.reason else "otherwise NOT_APPLICABLE"
    )
    return f"Only where {_asked(condition.expression)} holds for {subject} {code(condition.dataset)}; {otherwise}."
