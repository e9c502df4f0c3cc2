"""Runs the cases that stand in a control's file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from plumbline_contracts.datasets import DatasetSchema, datasets
from plumbline_contracts.events import (
    ControlResult,
    DatasetError,
    DatasetState,
    DatasetSummary,
    ExposedEntities,
    MissingField,
    Outcome,
    Row,
)
from pydantic import JsonValue

from plumbline_evaluator.catalogue.model import Case, Control
from plumbline_evaluator.judging.evaluation import Evaluation
from plumbline_evaluator.judging.plan import ProductPlan, build_plan

DEFAULT_INSTANCE: dict[str, JsonValue] = {"family": "zurich", "family_rank": 26, "build": "glide-zurich-07-01-2025"}
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
    """What the case's data gives, and the ids of the exposed entities. Raises ValueError when the data is no data."""
    tables = _tables(control, case.given)
    evaluation = Evaluation(plan, {control.id: ""}, {control.id: case.params})
    items: list[ExposedEntities | ControlResult] = []
    for summary, rows in tables:
        items += evaluation.take(summary.name, rows)
    items += evaluation.conclude(summary for summary, _ in tables)
    result = next(item for item in items if isinstance(item, ControlResult))
    listed = sorted(entity.id for item in items if isinstance(item, ExposedEntities) for entity in item.entities)
    return result, listed


def _run(plan: ProductPlan, control: Control, case: Case) -> Iterator[str]:
    try:
        result, listed = judge(plan, control, case)
    except ValueError as error:
        yield str(error)
        return
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


def _tables(control: Control, given: Mapping[str, JsonValue]) -> list[tuple[DatasetSummary, list[Row]]]:
    schemas = datasets(control.product)
    if unknown := given.keys() - schemas.keys():
        raise ValueError(f"given names unknown datasets: {', '.join(sorted(unknown))}")
    stated = dict(given)
    if "instance" in schemas:
        stated.setdefault("instance", dict(DEFAULT_INSTANCE))
    return [_table(schemas[name], content) for name, content in stated.items()]


def _table(schema: DatasetSchema, content: JsonValue) -> tuple[DatasetSummary, list[Row]]:
    state, rows, missing = DatasetState.OK, content, []
    if isinstance(content, dict) and any(key.startswith("$") for key in content):
        state = DatasetState(str(content.get("$state", "ok")))
        rows = content.get("$rows", content.get("$document", []))
        missing = [_missing(schema, str(field)) for field in _as_list(content.get("$missing", []))]
    listed = list(_rows(schema, rows))
    for row in listed:
        if violations := schema.violations(row):
            raise ValueError(f"given.{schema.name}: {'; '.join(violations)}")
    summary = DatasetSummary(
        name=schema.name,
        kind=schema.kind,
        state=state,
        row_count=len(listed),
        missing_fields=missing,
        source=schema.source,
    )
    return summary, listed


def _rows(schema: DatasetSchema, given: JsonValue) -> Iterator[Row]:
    """The rows of a case: `$count: N` stands for N of one kind, and who has no id or name is called after its place."""
    place = 0
    for stated in given if isinstance(given, list) else [given]:
        if not isinstance(stated, dict):
            raise ValueError(f"given.{schema.name}: {stated!r} is no row")
        row = dict(stated)
        count = row.pop("$count", 1)
        for _ in range(count if isinstance(count, int) else 1):
            place += 1
            names = {schema.entity.id: f"row{place}", schema.entity.name: f"row{place}"} if schema.entity else {}
            yield {**names, **row}


def _as_list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else [value]


def _missing(schema: DatasetSchema, field: str) -> MissingField:
    if field not in schema.fields:
        raise ValueError(f"given.{schema.name}: $missing names unknown field {field}")
    permission = schema.fields[field].permission or schema.permission
    error = DatasetError(code="denied", message="not readable", permission=permission)
    return MissingField(field=field, state=DatasetState.DENIED, error=error)
