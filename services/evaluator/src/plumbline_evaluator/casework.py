"""Runs the cases that stand in a control's file."""

from collections.abc import Iterator
from dataclasses import dataclass

from plumbline_contracts.events import ControlResult, ExposedEntities, Outcome

from plumbline_evaluator.catalogue import case_data
from plumbline_evaluator.catalogue.model import Case, Control
from plumbline_evaluator.judging.evaluation import Evaluation
from plumbline_evaluator.judging.plan import ProductPlan, build_plan

REQUIRED_OUTCOMES = (Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN)


@dataclass(frozen=True)
class CaseFailure:
    """A case that gave something else than it says, or that is missing."""

    control: str
    case: str
    message: str


def run_cases(control: Control) -> Iterator[CaseFailure]:
    """Judge every case of a control; what went wrong."""
    if control.check is None:
        return
    plan = build_plan(control.product, [control])
    for case in control.cases:
        for message in _run(plan, control, case):
            yield CaseFailure(control.id, case.name, message)
    present = {case.expect.outcome for case in control.cases}
    for outcome in REQUIRED_OUTCOMES:
        if outcome not in present and not (outcome is Outcome.FAIL and Outcome.PARTIAL in present):
            yield CaseFailure(control.id, "-", f"has no case that gives {outcome}")


def judge(plan: ProductPlan, control: Control, case: Case) -> tuple[ControlResult, list[str]]:
    """What the case's data gives, and the ids of the exposed entities. The data has no `case_data.problems`."""
    tables = case_data.tables(control, case.given)
    evaluation = Evaluation(plan, {control.id: ""}, {control.id: case.params})
    items: list[ExposedEntities | ControlResult] = []
    for summary, rows in tables:
        items += evaluation.take(summary.name, rows)
    items += evaluation.conclude(summary for summary, _ in tables)
    result = next(item for item in items if isinstance(item, ControlResult))
    listed = sorted(entity.id for item in items if isinstance(item, ExposedEntities) for entity in item.entities)
    return result, listed


def _run(plan: ProductPlan, control: Control, case: Case) -> Iterator[str]:
    result, listed = judge(plan, control, case)
    yield from _differences(case, result, listed)


def _differences(case: Case, result: ControlResult, listed: list[str]) -> Iterator[str]:
    expect = case.expect
    if expect.outcome is not result.outcome:
        yield f"expected {expect.outcome}, got {result.outcome} ({result.explanation})"
    for name in ("reason", "points", "compliant", "total"):
        wanted, got = getattr(expect, name), getattr(result, name)
        if wanted is not None and wanted != got:
            yield f"expected {name} {wanted}, got {got}"
    if expect.exposed is not None and sorted(expect.exposed) != listed:
        yield f"expected exposed {sorted(expect.exposed)}, got {listed}"
