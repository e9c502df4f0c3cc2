"""The data of a control's cases: what may stand under `given` and `params`, and the tables that it stands for.

A dataset is given as its rows, as its document, or as `{$state, $rows | $document, $missing}`. A row may leave out its
id and name, and `$count: N` stands for N of a kind.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from plumbline_contracts.datasets import DatasetSchema, datasets
from plumbline_contracts.documents import Place
from plumbline_contracts.events import (
    DatasetError,
    DatasetState,
    DatasetSummary,
    MissingField,
    Row,
    UnknownReason,
)
from pydantic import JsonValue

from plumbline_evaluator.catalogue.model import Case, Control

DEFAULT_INSTANCE: dict[str, JsonValue] = {"family": "zurich", "family_rank": 26, "build": "glide-zurich-07-01-2025"}
STATE, ROWS, DOCUMENT, MISSING, COUNT = "$state", "$rows", "$document", "$missing", "$count"
MOST_COPIES = 100_000
_KEYS = (STATE, ROWS, DOCUMENT, MISSING)
Table = tuple[DatasetSummary, list[Row]]


def problems(control: Control) -> Iterator[tuple[Place, str]]:
    """Place in the control's file and text of everything in its cases that is no data."""
    for number, case in enumerate(control.cases):
        for place, message in _problems_of(control, case):
            yield ("cases", number, *place), f"{message} (case `{case.name}`)"


def _problems_of(control: Control, case: Case) -> Iterator[tuple[Place, str]]:
    schemas = datasets(control.product)
    for name, content in case.given.items():
        if name not in schemas:
            known = ", ".join(schemas)
            yield ("given", name), f"{control.product} has no dataset {name}; it has {known}"
            continue
        for place, message in _content_problems(schemas[name], content):
            yield ("given", name, *place), message
    if case.expect.reason is UnknownReason.INVALID_PARAMETER:
        return
    for name, value in case.params.items():
        if name not in control.params:
            yield ("params", name), f"no such parameter; {control.id} has {', '.join(control.params) or 'none'}"
        elif problem := control.params[name].problem_with(value):
            yield ("params", name), problem


def _content_problems(schema: DatasetSchema, content: JsonValue) -> Iterator[tuple[Place, str]]:
    if not _is_stated(content):
        yield from _row_problems(schema, content, ())
        return
    assert isinstance(content, dict)
    for key in content.keys() - set(_KEYS):
        yield (key,), f"unknown key; known here: {', '.join(_KEYS)}"
    states = [state.value for state in DatasetState]
    if content.get(STATE, "ok") not in states:
        yield (STATE,), f"no such state; there are {', '.join(states)}"
    for field in _as_list(content.get(MISSING, [])):
        if field not in schema.fields:
            yield (MISSING,), f"{field}: not a field of {schema.name}"
    for key in (ROWS, DOCUMENT):
        if key in content:
            yield from _row_problems(schema, content[key], (key,))


def _row_problems(schema: DatasetSchema, given: JsonValue, place: Place) -> Iterator[tuple[Place, str]]:
    """What in rows, or in the one row of a document, is not as the dataset declares it."""
    listed = isinstance(given, list)
    for number, row in enumerate(given if isinstance(given, list) else [given]):
        where: Place = (*place, number) if listed else place
        if not isinstance(row, dict):
            yield where, f"{_cut(row)} is no row of {schema.name}"
            continue
        count = row.get(COUNT, 1)
        if type(count) is not int or not 1 <= count <= MOST_COPIES:
            yield (*where, COUNT), f"expected 1 to {MOST_COPIES:,} copies"
        fields = {key: value for key, value in row.items() if key != COUNT}
        yield from (((*where, key), problem) for key, problem in schema.faults(fields))


def _cut(value: JsonValue) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def tables(control: Control, given: Mapping[str, JsonValue]) -> list[Table]:
    """The datasets of a case, with their rows. `given` has no `problems`; where it names no release, it is Zurich."""
    schemas = datasets(control.product)
    stated = dict(given)
    if "instance" in schemas:
        stated.setdefault("instance", dict(DEFAULT_INSTANCE))
    return [_table(schemas[name], content) for name, content in stated.items()]


def _is_stated(content: JsonValue) -> bool:
    return isinstance(content, dict) and any(key.startswith("$") and key != COUNT for key in content)


def _table(schema: DatasetSchema, content: JsonValue) -> Table:
    state, rows, missing = DatasetState.OK, content, list[MissingField]()
    if _is_stated(content):
        assert isinstance(content, dict)
        state = DatasetState(str(content.get(STATE, "ok")))
        rows = content.get(ROWS, content.get(DOCUMENT, []))
        missing = [_missing(schema, str(field)) for field in _as_list(content.get(MISSING, []))]
    listed = list(_rows(schema, rows))
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
    """The rows of a case; who has no id or name is called after its place."""
    place = 0
    for stated in given if isinstance(given, list) else [given]:
        assert isinstance(stated, dict)
        row: dict[str, Any] = dict(stated)
        for _ in range(row.pop(COUNT, 1)):
            place += 1
            names = {schema.entity.id: f"row{place}", schema.entity.name: f"row{place}"} if schema.entity else {}
            yield {**names, **row}


def _as_list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else [value]


def _missing(schema: DatasetSchema, field: str) -> MissingField:
    permission = schema.fields[field].permission or schema.permission
    error = DatasetError(code="denied", message="not readable", permission=permission)
    return MissingField(field=field, state=DatasetState.DENIED, error=error)
