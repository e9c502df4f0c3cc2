"""A control applies where all its conditions hold; where that is open, it is UNKNOWN and never left out."""

from typing import Any

import pytest
from plumbline_contracts.events import (
    ControlResult,
    DatasetError,
    DatasetState,
    DatasetSummary,
    MissingField,
    Outcome,
    Product,
    UnknownReason,
)
from plumbline_evaluator.judging.evaluation import Evaluation
from plumbline_evaluator.judging.plan import PlanError, build_plan

from tests.unit.evaluator.test_populations import control, judge

SWITCH = {"kind": "property", "property": "a", "type": "bool", "pass": "value", "expected": "true",
          "absent": {"outcome": "FAIL"}}  # fmt: skip
PLUGIN = {"dataset": "plugins", "key": "com.x", "expression": "is_active", "reason": "the plugin X is not active"}
RELEASE = {"dataset": "instance", "expression": "family_rank >= 26", "reason": "the release is older than Zurich"}
ZURICH = [{"family": "zurich", "family_rank": 26, "build": "b"}]
ON = [{"sys_id": "1", "name": "a", "value": "true"}]


def plugin(**fields: Any) -> list[dict[str, Any]]:
    return [{"id": "com.y", "name": "Y", "is_active": True}, {"id": "com.x", "name": "X", **fields}]


@pytest.mark.parametrize(
    ("plugins", "outcome"),
    [
        (plugin(is_active=True), Outcome.PASS),
        (plugin(is_active=False), Outcome.NOT_APPLICABLE),
        (plugin(is_active=True)[:1], Outcome.NOT_APPLICABLE),
        (plugin(), Outcome.UNKNOWN),
        (plugin(is_active="yes"), Outcome.UNKNOWN),
        ([*plugin(is_active=False), *plugin(is_active=True)], Outcome.PASS),
    ],
    ids=["active", "inactive", "absent", "withheld", "wrong type", "one of two"],
)
def test_a_row_says_whether_a_control_applies(plugins: list[dict[str, Any]], outcome: Outcome) -> None:
    result = judge(control(SWITCH, "servicenow", applies_when=PLUGIN), plugins=plugins, system_properties=ON)
    assert result.outcome is outcome
    if outcome is Outcome.NOT_APPLICABLE:
        assert result.explanation == "This control does not apply here: the plugin X is not active."


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (DatasetState.TRUNCATED, UnknownReason.TRUNCATED),
        (DatasetState.DENIED, UnknownReason.MISSING_PERMISSION),
        (DatasetState.ERROR, UnknownReason.COLLECTION_ERROR),
    ],
)
def test_absence_is_proven_by_a_whole_table_alone(state: DatasetState, reason: UnknownReason) -> None:
    judged = control(SWITCH, "servicenow", applies_when=PLUGIN)
    result = judge(judged, state, plugins=[], system_properties=ON)
    assert (result.outcome, result.reason) == (Outcome.UNKNOWN, reason)
    assert judge(judged, DatasetState.TRUNCATED, plugins=plugin(is_active=True), system_properties=ON).points == 10


@pytest.mark.parametrize(
    ("family_rank", "is_active", "outcome"),
    [
        (26, True, Outcome.PASS),
        (25, True, Outcome.NOT_APPLICABLE),
        (26, False, Outcome.NOT_APPLICABLE),
        (None, False, Outcome.NOT_APPLICABLE),
        (None, True, Outcome.UNKNOWN),
    ],
)
def test_every_condition_must_hold_and_one_that_does_not_is_enough(
    family_rank: int | None, is_active: bool, outcome: Outcome
) -> None:
    judged = control(SWITCH, "servicenow", applies_when=[RELEASE, PLUGIN])
    instance = [{"family": "f", "build": "b", **({} if family_rank is None else {"family_rank": family_rank})}]
    result = judge(judged, plugins=plugin(is_active=is_active), instance=instance, system_properties=ON)
    assert result.outcome is outcome


def test_a_property_is_selected_by_its_name() -> None:
    condition = {"dataset": "system_properties", "match": {"name": "b"}, "expression": "value == 'true'"}
    judged = control(SWITCH, "servicenow", applies_when=condition)
    with_b = [*ON, {"sys_id": "2", "name": "b", "value": "true"}]
    assert judge(judged, system_properties=with_b).outcome is Outcome.PASS
    assert judge(judged, system_properties=ON).outcome is Outcome.NOT_APPLICABLE


def test_a_document_that_was_read_in_part_does_not_say_that_a_control_does_not_apply() -> None:
    condition = {"dataset": "guest_access", "expression": "has_guest_users"}
    check = {"kind": "document", "dataset": "session_settings", "pass": "enable_clickjack_setup", "expected": "on"}
    judged = control(check, applies_when=condition)
    tables: dict[str, Any] = {
        "guest_access": [{"has_guest_users": False}],
        "session_settings": [{"enable_clickjack_setup": True}],
    }
    assert judge(judged, **tables).outcome is Outcome.NOT_APPLICABLE
    assert judge(judged, DatasetState.TRUNCATED, **tables).reason is UnknownReason.TRUNCATED


def _withheld(field: str) -> MissingField:
    error = DatasetError(code="no_value", message="hidden", permission="the right", remedy="there")
    return MissingField(field=field, state=DatasetState.DENIED, error=error)


@pytest.mark.parametrize(
    ("field", "condition", "rows"),
    [
        ("is_active", PLUGIN, [{"id": "com.x", "name": "X"}]),
        ("id", PLUGIN, [{"name": "X", "is_active": False}]),
        ("name", {**PLUGIN, "key": None, "match": {"name": "X"}}, [{"id": "com.x", "is_active": False}]),
    ],
)
def test_a_field_that_is_withheld_never_says_that_a_control_does_not_apply(
    field: str, condition: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    judged = control(SWITCH, "servicenow", applies_when=condition)
    evaluation = Evaluation(build_plan(judged.product, [judged]), {"X-1": ""}, {})
    evaluation.take("plugins", rows)
    evaluation.take("system_properties", [dict(row) for row in ON])
    plugins = DatasetSummary(name="plugins", kind="rows", state=DatasetState.OK, source="v_plugin",
                             missing_fields=[_withheld(field)])  # fmt: skip
    properties = DatasetSummary(name="system_properties", kind="rows", state=DatasetState.OK, source="s")
    (result,) = [item for item in evaluation.conclude([plugins, properties]) if isinstance(item, ControlResult)]
    assert (result.outcome, result.reason) == (Outcome.UNKNOWN, UnknownReason.MISSING_PERMISSION)
    assert result.explanation.endswith("Grant the right: there.")


def test_a_row_that_does_not_say_which_it_is_leaves_it_open() -> None:
    judged = control(SWITCH, "servicenow", applies_when={**PLUGIN, "key": None, "match": {"name": "X"}})
    rows = [{"id": "com.y", "name": "Y", "is_active": True}, {"id": "com.x", "is_active": True}]
    result = judge(judged, plugins=rows, system_properties=ON)
    assert (result.outcome, result.reason) == (Outcome.UNKNOWN, UnknownReason.MISSING_FIELD)
    known = [*rows, {"id": "com.z", "name": "X", "is_active": True}]
    assert judge(judged, plugins=known, system_properties=ON).outcome is Outcome.PASS


@pytest.mark.parametrize("state", [DatasetState.OK, DatasetState.TRUNCATED])
def test_a_check_of_a_row_that_may_be_any_is_not_decided_by_absence(state: DatasetState) -> None:
    check = {"kind": "row", "dataset": "built_in_accounts", "match": {"user_name": "admin"}, "pass": "!is_active",
             "subject": "account admin", "expected": "inactive", "absent": "PASS"}  # fmt: skip
    judged = control(check, "servicenow")
    hidden = judge(judged, state, built_in_accounts=[{"sys_id": "1", "is_active": True}])
    assert hidden.outcome is Outcome.UNKNOWN
    assert "account admin" in hidden.explanation
    assert judge(judged, built_in_accounts=[{"sys_id": "1", "user_name": "guest"}]).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"dataset": "plugins", "expression": "is_active"}, "plugins has rows: say which by `key` or `match`"),
        ({**RELEASE, "key": "x"}, "instance is a document"),
        ({**PLUGIN, "key": None, "match": {"nonsense": "x"}}, "nonsense is not a field of plugins"),
        ({**PLUGIN, "dataset": "people"}, "servicenow has no dataset people"),
        ({**PLUGIN, "expression": "is_aktive"}, "undeclared reference to 'is_aktive'"),
    ],
)
def test_a_condition_that_cannot_be_asked_is_refused_at_load(condition: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        build_plan(Product.SERVICENOW, [control(SWITCH, "servicenow", applies_when=condition)])


def test_key_and_match_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="either `key` or `match`"):
        control(SWITCH, "servicenow", applies_when={**PLUGIN, "match": {"name": "x"}})
