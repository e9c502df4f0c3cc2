"""No control gives up on an org with long lists: the engine allows an expression 10,000 steps of its loops."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plumbline_contracts.datasets import datasets
from plumbline_contracts.events import Outcome, UnknownReason
from plumbline_evaluator import casework
from plumbline_evaluator.catalogue.case_data import problems
from plumbline_evaluator.catalogue.loading import load
from plumbline_evaluator.catalogue.model import Case, Control, PropertyCheck
from plumbline_evaluator.judging.plan import build_plan

CATALOGUE = load(Path(__file__).parents[3] / "controls")
CONTROLS = sorted(CATALOGUE.controls.values(), key=lambda control: control.id)
MANY = 1000
LONG = [f"entry-{number:04}.example.com" for number in range(MANY)]
NOT_JUDGED = "could not be"
JUDGED = (Outcome.PASS, Outcome.PARTIAL, Outcome.FAIL)


def _lists_of(control: Control) -> list[str]:
    return [name for name, param in control.params.items() if param.type == "string_list"]


def _list_properties(control: Control) -> set[str]:
    leaves = control.leaves().values()
    return {check.property for check in leaves if isinstance(check, PropertyCheck) and check.type == "list"}


def _rows(given: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for dataset, content in given.items():
        stated = content.get("$rows", [content]) if isinstance(content, dict) else content
        yield from ((dataset, row) for row in stated if isinstance(row, dict))


def _lengthened(control: Control, case: Case) -> Case:
    """The case with long lists in its rows, in properties that are lists, and in its parameters."""
    given, schemas, properties = copy.deepcopy(dict(case.given)), datasets(control.product), _list_properties(control)
    for dataset, row in _rows(given):
        for name, value in row.items():
            if isinstance(value, list) and schemas[dataset].fields[name].type == "string_list":
                row[name] = [*value, *LONG]
        if dataset == "system_properties" and row.get("name") in properties and "value" in row:
            row["value"] = ",".join([row["value"], *LONG])
    params = {name: [*(case.params.get(name) or control.params[name].default), *LONG] for name in _lists_of(control)}  # type: ignore[misc]
    return case.model_copy(update={"given": given, "params": {**case.params, **params}})


def _cases_of(control: Control) -> Iterator[tuple[Case, Case]]:
    for case in control.cases:
        if case.expect.outcome in JUDGED and (longer := _lengthened(control, case)) != case:
            yield case, longer


WITH_LISTS = [control for control in CONTROLS if any(_cases_of(control))]


def test_there_are_such_cases() -> None:
    assert len(WITH_LISTS) > 60


@pytest.mark.parametrize("control", WITH_LISTS, ids=lambda control: control.id)
def test_a_control_is_judged_however_long_its_lists_are(control: Control) -> None:
    plan = build_plan(control.product, [control])
    for case, longer in _cases_of(control):
        assert list(problems(control.model_copy(update={"cases": [longer]}))) == []
        short, long = (casework.judge(plan, control, each)[0] for each in (case, longer))
        assert long.reason is not UnknownReason.EXPRESSION_ERROR, (case.name, long.explanation)
        if NOT_JUDGED not in short.explanation:
            assert NOT_JUDGED not in long.explanation, case.name
