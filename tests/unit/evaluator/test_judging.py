"""The core: whatever order and pieces rows come in, the results are the same, and lost data never helps."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plumbline_contracts.events import (
    ControlResult,
    DatasetError,
    DatasetState,
    DatasetSummary,
    ExposedEntities,
    MissingField,
    Outcome,
    Product,
    Row,
    UnknownReason,
)
from plumbline_evaluator.catalogue.loading import load
from plumbline_evaluator.judging.evaluation import Evaluation, Limits

CATALOGUE = load(Path(__file__).parents[3] / "controls")
PLAN = CATALOGUE.plans[Product.SALESFORCE]
Results = dict[str, ControlResult]


def _summary(name: str, state: DatasetState = DatasetState.OK, **more: Any) -> DatasetSummary:
    return DatasetSummary(name=name, kind="rows", state=state, source="User", **more)


def _judge(
    rows: list[dict[str, Any]], *, pieces: int = 1, state: DatasetState = DatasetState.OK, **more: Any
) -> tuple[Results, dict[str, list[str]]]:
    evaluation = Evaluation(PLAN, CATALOGUE.digests, {}, more.pop("limits", None))
    items: list[ExposedEntities | ControlResult] = []
    size = max(1, len(rows) // pieces)
    for start in range(0, len(rows), size):
        items += evaluation.take("users", rows[start : start + size])
    items += evaluation.conclude([_summary("users", state, **more)])
    exposed: dict[str, list[str]] = {}
    for item in items:
        if isinstance(item, ExposedEntities):
            exposed.setdefault(item.control_id, []).extend(entity.id for entity in item.entities)
    return {item.control_id: item for item in items if isinstance(item, ControlResult)}, exposed


def _user(number: int, **fields: Any) -> dict[str, Any]:
    base = {
        "id": f"005{number:012d}AAA",
        "username": f"user{number}@example.com",
        "is_standard": True,
        "is_integration": False,
        "is_frozen": False,
        "is_sso_bound": False,
        "must_use_sso": False,
        "has_logged_in": True,
        "idle_days": 1,
        "age_days": 400,
        "has_mfa_method": True,
        "has_phishing_resistant_mfa": True,
        "is_privileged": False,
        "is_system_administrator": False,
    }
    return {**base, **fields}


FLAGS = st.fixed_dictionaries(
    {
        "is_standard": st.booleans(),
        "is_frozen": st.booleans(),
        "has_mfa_method": st.one_of(st.booleans(), st.none()),
        "idle_days": st.one_of(st.integers(0, 400), st.none()),
        "is_system_administrator": st.booleans(),
    }
)
USERS = st.lists(FLAGS, max_size=12).map(lambda flags: [_user(n, **f) for n, f in enumerate(flags)])


@settings(max_examples=60, deadline=None)
@given(USERS, st.integers(1, 5), st.randoms(use_true_random=False))
def test_pieces_and_order_do_not_matter(users: list[dict[str, Any]], pieces: int, random: Any) -> None:
    shuffled = list(users)
    random.shuffle(shuffled)
    whole, cut = _judge(users)[0], _judge(shuffled, pieces=pieces)[0]
    assert whole == cut


@settings(max_examples=60, deadline=None)
@given(USERS, st.sampled_from([DatasetState.TRUNCATED, DatasetState.DENIED, DatasetState.ERROR]))
def test_lost_data_never_raises_a_score(users: list[dict[str, Any]], state: DatasetState) -> None:
    whole = _judge(users)[0]
    lost = _judge(users if state is DatasetState.TRUNCATED else [], state=state)[0]
    for control, result in lost.items():
        if whole[control].outcome is not Outcome.NOT_APPLICABLE:
            assert result.points <= whole[control].points
        assert result.outcome is not Outcome.PASS or whole[control].outcome is Outcome.PASS


@settings(max_examples=40, deadline=None)
@given(USERS)
def test_points_are_the_share_of_those_who_comply(users: list[dict[str, Any]]) -> None:
    for result in _judge(users)[0].values():
        assert 0 <= result.points <= result.max_points
        if result.total and result.compliant is not None and result.outcome is not Outcome.UNKNOWN:
            assert result.points == pytest.approx(result.max_points * result.compliant / result.total, abs=0.001)
            assert result.exposed == result.total - result.compliant


def test_a_permission_that_is_missing_is_named() -> None:
    error = DatasetError(code="INVALID_TYPE", message="no", permission="Manage MFA in API", remedy="Setup > there")
    missing = [MissingField(field="has_mfa_method", state=DatasetState.DENIED, error=error)]
    rows = [{k: v for k, v in _user(1).items() if k != "has_mfa_method"}]
    result = _judge(rows, missing_fields=missing)[0]["SF-ID-13"]
    assert (result.outcome, result.reason) == (Outcome.UNKNOWN, UnknownReason.MISSING_PERMISSION)
    assert "Manage MFA in API" in result.explanation
    assert "Setup > there" in result.explanation


def test_a_dataset_that_was_not_collected_is_unknown() -> None:
    evaluation = Evaluation(PLAN, CATALOGUE.digests, {})
    results = [item for item in evaluation.conclude([]) if isinstance(item, ControlResult)]
    assert {result.outcome for result in results} == {Outcome.UNKNOWN}
    assert {result.reason for result in results} == {UnknownReason.COLLECTION_ERROR}
    assert sum(result.points for result in results) == 0


@pytest.mark.parametrize("state", [DatasetState.NOT_LICENSED, DatasetState.UNSUPPORTED])
def test_what_is_proven_not_to_be_there_does_not_apply(state: DatasetState) -> None:
    assert _judge([], state=state)[0]["SF-ID-45"].outcome is Outcome.NOT_APPLICABLE


def test_or_does_not_hide_a_missing_field() -> None:
    plan, digests = CATALOGUE.plans[Product.SERVICENOW], CATALOGUE.digests
    evaluation = Evaluation(plan, digests, {})
    row: Row = {
        "sys_id": "1", "user_name": "a", "is_privileged": True, "is_integration": False, "is_locked_out": False,
        "is_sso_bound": True,
    }  # fmt: skip
    evaluation.take("users", [row])
    results = {r.control_id: r for r in evaluation.conclude([_summary("users")]) if isinstance(r, ControlResult)}
    assert results["SNOW-IAM-03"].reason is UnknownReason.MISSING_FIELD


def test_the_list_of_exposed_entities_is_cut_and_the_count_is_exact() -> None:
    users = [_user(n, has_mfa_method=False) for n in range(25)]
    results, exposed = _judge(users, limits=Limits(exposed_per_control=10, exposed_per_batch=3))
    assert len(exposed["SF-ID-13"]) == 10
    assert results["SF-ID-13"].exposed == 25
    assert results["SF-ID-13"].exposed_listed == 10


def test_an_invalid_parameter_never_becomes_the_default() -> None:
    evaluation = Evaluation(PLAN, CATALOGUE.digests, {"SF-ID-45": {"max_idle_days": 0}})
    evaluation.take("users", [_user(1)])
    results = {r.control_id: r for r in evaluation.conclude([_summary("users")]) if isinstance(r, ControlResult)}
    assert results["SF-ID-45"].reason is UnknownReason.INVALID_PARAMETER
    assert "below the minimum" in results["SF-ID-45"].explanation
    assert results["SF-ID-46"].outcome is Outcome.PASS


@pytest.mark.parametrize("states", [[True, False], [False, True], [True, False, True]])
def test_of_rows_with_one_name_the_worst_decides_whatever_their_order(states: list[bool]) -> None:
    evaluation = Evaluation(CATALOGUE.plans[Product.SERVICENOW], CATALOGUE.digests, {})
    plugin = {"id": "com.glide.role_management", "name": "Role Management", "version": "1"}
    evaluation.take("plugins", [{**plugin, "is_active": state} for state in states])
    results = {
        item.control_id: item for item in evaluation.conclude([_summary("plugins")]) if isinstance(item, ControlResult)
    }
    assert results["SNOW-ACL-03"].outcome is Outcome.FAIL
    assert "2 rows that differ" in results["SNOW-ACL-03"].explanation


def test_nothing_is_advised_that_the_collector_did_not_name() -> None:
    error = DatasetError(code="no_rows", message="RemoteProxy shows no row although the right is held")
    results, _ = _judge([], state=DatasetState.DENIED, error=error)
    assert results["SF-ID-45"].outcome is Outcome.UNKNOWN
    assert "although the right is held" in results["SF-ID-45"].explanation
    assert "Grant" not in results["SF-ID-45"].explanation
