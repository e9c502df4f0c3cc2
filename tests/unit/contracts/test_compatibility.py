"""The comparison of schemas finds each way to break a reader."""

import copy
from typing import Any

import pytest
from plumbline_contracts.compatibility import breaking_changes
from plumbline_contracts.events import ControlResults
from plumbline_contracts.schemas import json_schema

SCHEMA = json_schema("io.plumbline.control-results.v1", ControlResults)


def _changed(edit: Any) -> dict[str, Any]:
    schema = copy.deepcopy(SCHEMA)
    edit(schema)
    return schema


def test_the_same_schema_is_compatible() -> None:
    assert breaking_changes(SCHEMA, copy.deepcopy(SCHEMA)) == []


def test_an_added_field_is_compatible() -> None:
    newer = _changed(lambda s: s["properties"].update(extra={"type": "string"}))
    assert breaking_changes(SCHEMA, newer) == []


@pytest.mark.parametrize(
    ("edit", "finding"),
    [
        (lambda s: s["properties"].pop("evaluation_id"), "evaluation_id: removed"),
        (lambda s: s["properties"].update(part={"type": "string"}), "part: was integer, is string"),
        (lambda s: s["$defs"]["ControlResult"]["properties"].pop("points"), "results.[].points: removed"),
        (lambda s: s["$defs"]["Outcome"]["enum"].remove("PARTIAL"), "Outcome: value PARTIAL removed"),
        (lambda s: s["required"].remove("tenant"), "tenant: was always there, is optional now"),
    ],
)
def test_a_breaking_change_is_found(edit: Any, finding: str) -> None:
    assert finding in breaking_changes(SCHEMA, _changed(edit))
