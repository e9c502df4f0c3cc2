"""Targets, reference populations and shares: what gives all points, what a part, and what cannot be decided."""

from typing import Any

import pytest
from plumbline_contracts.events import ControlResult, DatasetState, DatasetSummary, Outcome, Product, UnknownReason
from plumbline_evaluator.catalogue.model import Control
from plumbline_evaluator.judging.evaluation import Evaluation
from plumbline_evaluator.judging.plan import PlanError, build_plan

ROWS = {"kind": "rows", "dataset": "users", "population": "users", "exposed": "without a method",
        "where": "is_standard", "pass": "has_mfa_method", "expected": "a method"}  # fmt: skip
COUNT = {"kind": "count", "dataset": "users", "population": "administrators", "where": "is_system_administrator",
         "expected": "few"}  # fmt: skip


def control(check: dict[str, Any], product: str = "salesforce", **more: Any) -> Control:
    """A control of ten points with nothing but a check."""
    return Control.model_validate(
        {
            "id": "X-1",
            "version": 1,
            "title": "x",
            "product": product,
            "category": "Identity",
            "severity": "high",
            "points": 10,
            "user_impact": "low",
            "implementation_cost": "low",
            "description": "-",
            "rationale": "-",
            "remediation": {"steps": ["-"]},
            "check": check,
            **more,
        }
    )


def judge(
    judged: Control, state: DatasetState = DatasetState.OK, params: dict[str, Any] | None = None, **tables: list[Any]
) -> ControlResult:
    """The result of a control on these tables, each in `state`."""
    evaluation = Evaluation(build_plan(judged.product, [judged]), {"X-1": ""}, {"X-1": params or {}})
    for name, rows in tables.items():
        evaluation.take(name, rows)
    summaries = [DatasetSummary(name=name, kind="rows", state=state, source=name) for name in tables]
    return next(item for item in evaluation.conclude(summaries) if isinstance(item, ControlResult))


def users(compliant: int, other: int) -> list[dict[str, Any]]:
    return [
        {"id": str(number), "username": f"u{number}", "is_standard": True, "has_mfa_method": number < compliant}
        for number in range(compliant + other)
    ]


@pytest.mark.parametrize(
    ("target", "compliant", "other", "outcome", "share"),
    [
        (100, 19, 1, Outcome.PARTIAL, 0.95),
        (95, 19, 1, Outcome.PASS, 1),
        (95, 18, 2, Outcome.PARTIAL, 0.9 / 0.95),
        (50, 1, 3, Outcome.PARTIAL, 0.5),
        (50, 0, 3, Outcome.FAIL, 0),
        (1, 1, 99, Outcome.PASS, 1),
    ],
)
def test_a_target_gives_all_points_and_less_in_proportion(
    target: int, compliant: int, other: int, outcome: Outcome, share: float
) -> None:
    result = judge(control({**ROWS, "target_percent": target}), users=users(compliant, other))
    assert result.outcome is outcome
    assert result.share == pytest.approx(share)
    assert (result.compliant, result.total, result.exposed) == (compliant, compliant + other, other)


def test_a_target_may_be_a_parameter_within_one_and_a_hundred_percent() -> None:
    params = {"target": {"type": "int", "default": 90, "minimum": 50, "maximum": 100, "description": "-"}}
    judged = control({**ROWS, "target_percent": "params.target"}, params=params)
    assert judge(judged, users=users(9, 1)).outcome is Outcome.PASS
    assert judge(judged, params={"target": 91}, users=users(9, 1)).outcome is Outcome.PARTIAL
    too_low = {"target": {**params["target"], "minimum": 0}}
    with pytest.raises(PlanError, match="is not bounded to 1 to 100 percent"):
        build_plan(Product.SALESFORCE, [control({**ROWS, "target_percent": "params.target"}, params=too_low)])


def members(administrators: int, others: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        {
            "id": str(n),
            "username": f"u{n}",
            "is_standard": True,
            "is_system_administrator": n < administrators,
            **fields,
        }
        for n in range(administrators + others)
    ]


RELATIVE = control({**COUNT, "of": "is_standard", "bands": [{"max": 3, "max_percent": 2, "share": 1}]})


@pytest.mark.parametrize(
    ("administrators", "others", "outcome"),
    [
        (3, 0, Outcome.PASS),
        (4, 0, Outcome.FAIL),
        (4, 195, Outcome.FAIL),
        (4, 196, Outcome.PASS),
        (5, 244, Outcome.FAIL),
        (5, 245, Outcome.PASS),
        (0, 0, Outcome.PASS),
    ],
)
def test_a_bound_follows_the_reference_population(administrators: int, others: int, outcome: Outcome) -> None:
    result = judge(RELATIVE, users=members(administrators, others))
    assert (result.outcome, result.total) == (outcome, administrators)
    assert result.exposed == (0 if outcome is Outcome.PASS else administrators)


def test_rows_beside_the_reference_population_neither_count_nor_widen_the_bound() -> None:
    guests = [{**row, "id": f"g{row['id']}", "is_standard": False} for row in members(50, 5000)]
    assert judge(RELATIVE, users=[*members(3, 0), *guests]).outcome is Outcome.PASS
    assert judge(RELATIVE, users=[*members(4, 0), *guests]).outcome is Outcome.FAIL


def test_a_row_of_which_it_is_open_whether_it_matches_counts_against_the_org() -> None:
    unclear = {"id": "x", "username": "x", "is_standard": True}
    assert judge(RELATIVE, users=[*members(2, 0), unclear]).outcome is Outcome.PASS
    assert judge(RELATIVE, users=[*members(3, 0), unclear]).outcome is Outcome.FAIL
    assert judge(RELATIVE, users=[unclear]).reason is UnknownReason.MISSING_FIELD


def test_a_count_over_a_truncated_reference_is_not_decided() -> None:
    for administrators in (0, 3, 500):
        result = judge(RELATIVE, DatasetState.TRUNCATED, users=members(administrators, 0))
        assert (result.outcome, result.reason) == (Outcome.UNKNOWN, UnknownReason.TRUNCATED)


def test_a_percentage_needs_its_reference_population() -> None:
    with pytest.raises(ValueError, match="need each other"):
        control({**COUNT, "bands": [{"max": 3, "max_percent": 2, "share": 1}]})
    with pytest.raises(ValueError, match="need each other"):
        control({**COUNT, "of": "is_standard", "bands": [{"max": 3, "share": 1}]})


def _switch(name: str, absent: str) -> dict[str, Any]:
    return {"kind": "property", "property": name, "type": "bool", "pass": "value", "expected": "true",
            "absent": {"outcome": absent}}  # fmt: skip


PARTS = {"A": _switch("a", "UNKNOWN"), "B": _switch("b", "UNKNOWN"), "C": _switch("c", "NOT_APPLICABLE")}
SHARE = control({"kind": "share", "checks": PARTS}, "servicenow")


@pytest.mark.parametrize(
    ("values", "outcome", "share", "compliant", "total"),
    [
        ({"a": "true", "b": "true", "c": "true"}, Outcome.PASS, 1, 3, 3),
        ({"a": "true", "b": "true", "c": "false"}, Outcome.PARTIAL, 2 / 3, 2, 3),
        ({"a": "true", "b": "true"}, Outcome.PASS, 1, 2, 2),
        ({"a": "true"}, Outcome.PARTIAL, 0.5, 1, 2),
        ({"a": "false"}, Outcome.FAIL, 0, 0, 2),
        ({"c": "true"}, Outcome.PARTIAL, 1 / 3, 1, 3),
        ({}, Outcome.UNKNOWN, 0, None, None),
    ],
)
def test_a_share_is_the_part_that_passes_and_what_is_unknown_does_not(
    values: dict[str, str], outcome: Outcome, share: float, compliant: int | None, total: int | None
) -> None:
    rows = [{"sys_id": name, "name": name, "value": value} for name, value in values.items()]
    result = judge(SHARE, system_properties=rows)
    assert result.outcome is outcome
    assert result.share == pytest.approx(share)
    assert (result.compliant, result.total) == (compliant, total)


def test_a_list_is_the_texts_between_commas() -> None:
    check = {**_switch("a", "UNKNOWN"), "type": "list", "pass": "size(value) == 2 && 'x y' in value && 'z' in value"}
    rows = [{"sys_id": "1", "name": "a", "value": " x y ,, z,"}]
    assert judge(control(check, "servicenow"), system_properties=rows).outcome is Outcome.PASS


@pytest.mark.parametrize("text", ["yes", "1", "", "on", "truee"])
def test_a_switch_that_is_neither_true_nor_false_complies_with_nothing(text: str) -> None:
    rows = [{"sys_id": "1", "name": "a", "value": text}]
    for wanted in ("value", "!value"):
        result = judge(control({**_switch("a", "PASS"), "pass": wanted}, "servicenow"), system_properties=rows)
        assert result.outcome is Outcome.FAIL
        assert "which is neither true nor false" in result.explanation


def test_an_expression_over_a_property_may_name_the_release() -> None:
    check = {**_switch("a", "PASS"), "type": "string", "pass": "value == 'new' || (value == 'old' && family_rank < 27)"}
    judged, rows = control(check, "servicenow"), [{"sys_id": "1", "name": "a", "value": "old"}]
    for rank, outcome in ((26, Outcome.PASS), (27, Outcome.FAIL)):
        instance = [{"family": "f", "family_rank": rank, "build": "b"}]
        assert judge(judged, system_properties=rows, instance=instance).outcome is outcome
    unknown = judge(judged, system_properties=rows)
    assert (unknown.outcome, unknown.reason) == (Outcome.UNKNOWN, UnknownReason.MISSING_FIELD)


def test_a_document_that_was_read_in_part_proves_nothing() -> None:
    check = {"kind": "document", "dataset": "guest_access", "pass": "true", "expected": "nothing"}
    result = judge(control(check), DatasetState.TRUNCATED, guest_access=[{"has_guest_users": False}])
    assert (result.outcome, result.reason) == (Outcome.UNKNOWN, UnknownReason.TRUNCATED)


def test_a_field_may_be_called_as_a_type_of_the_language() -> None:
    check = {**ROWS, "dataset": "tenant_secrets", "where": "type == 'Data'", "pass": "type.startsWith('D')"}
    rows = [{"id": "1", "type": "Data"}, {"id": "2", "type": "Other"}]
    result = judge(control(check), tenant_secrets=rows)
    assert (result.outcome, result.total) == (Outcome.PASS, 1)


LOOP = f"[{', '.join(map(str, range(10)))}]"


def _nested(depth: int) -> str:
    """An expression whose loops stand inside one another."""
    return f"{LOOP}.all(a{depth}, {_nested(depth - 1) if depth else f'a{depth} >= 0'})"


def test_an_expression_that_the_engine_gives_up_makes_its_control_unknown_and_leaves_the_others_theirs() -> None:
    endless = control({**ROWS, "pass": _nested(7)})
    result = judge(endless, users=users(1, 1))
    assert (result.outcome, result.reason) == (Outcome.UNKNOWN, UnknownReason.MISSING_FIELD)
    beside = endless.model_copy(update={"id": "X-2", "check": control(ROWS).check})
    evaluation = Evaluation(build_plan(Product.SALESFORCE, [endless, beside]), {"X-1": "", "X-2": ""}, {})
    evaluation.take("users", users(1, 1))
    summary = DatasetSummary(name="users", kind="rows", state=DatasetState.OK, source="User")
    found = {r.control_id: r.outcome for r in evaluation.conclude([summary]) if isinstance(r, ControlResult)}
    assert found == {"X-1": Outcome.UNKNOWN, "X-2": Outcome.PARTIAL}


def test_a_document_whose_expression_the_engine_gives_up_says_so() -> None:
    check = {"kind": "document", "dataset": "session_settings", "pass": _nested(7), "expected": "nothing"}
    result = judge(control(check), session_settings=[{"enable_clickjack_setup": True}])
    assert (result.outcome, result.reason) == (Outcome.UNKNOWN, UnknownReason.EXPRESSION_ERROR)
    assert "budget" in result.explanation


def test_a_pattern_that_is_none_is_refused_at_load() -> None:
    with pytest.raises(PlanError, match="is no regular expression"):
        build_plan(Product.SALESFORCE, [control({**ROWS, "pass": "username.matches('(')"})])
    assert build_plan(Product.SALESFORCE, [control({**ROWS, "pass": "username.matches('^a(b|c)\\\\.d$')"})])
