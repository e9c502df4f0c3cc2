"""OSCAL assessment results: valid, repeatable, and never better than what was measured."""

import json
import uuid
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_contracts.events import ControlResult, DatasetState, Evidence, Outcome, UnknownReason
from plumbline_score_api.decisions.decision import Status
from plumbline_score_api.exports.oscal import NIST, assessment_results, nist_id
from plumbline_score_api.pictures.picture import Control, InstancePicture
from trestle.oscal.assessment_results import Model

from tests.unit.score_api.painting import START, control, decision, definition, picture

EVIDENCE = [
    Evidence(
        dataset="session_settings",
        source="SecuritySettings.sessionSettings",
        state=DatasetState.OK,
        read_at=START - timedelta(minutes=3),
        observed={"timeout": "TwelveHours"},
        name="first",
        outcome=Outcome.FAIL,
    )
]


def _results(of: InstancePicture, evidence: list[Evidence] | None = None) -> dict[str, ControlResult]:
    return {
        item.control.control_id: ControlResult(
            control_id=item.control.control_id,
            control_digest="d",
            outcome=item.control.outcome,
            explanation=item.control.explanation,
            share=0,
            points=item.control.points,
            max_points=item.control.max_points,
            expected="At most two hours",
            observed=item.control.observed,
            evidence=EVIDENCE if evidence is None else evidence,
        )
        for item in of.items
    }


def _document(of: InstancePicture) -> dict[str, Any]:
    """The document, which the OSCAL models accept."""
    found = assessment_results("contoso", of, _results(of))
    Model.model_validate_json(json.dumps(found))
    document: dict[str, Any] = found["assessment-results"]
    return document


def _painted(outcomes: dict[str, Outcome], frameworks: dict[str, list[str]], *decisions: Any) -> InstancePicture:
    controls: list[Control] = [control(name, outcome, share=0.5) for name, outcome in outcomes.items()]
    known = [definition(name, frameworks={NIST: ids}) for name, ids in frameworks.items()]
    return picture(controls, *decisions, definitions=known)


MIXED = _painted(
    {"C-1": Outcome.PASS, "C-2": Outcome.FAIL, "C-3": Outcome.UNKNOWN, "C-4": Outcome.NOT_APPLICABLE},
    {"C-1": ["AC-2", "AC-2(3)"], "C-2": ["AC-2", "IA-5(1)"], "C-3": ["SC-8", "AC-2(3)"], "C-4": ["AU-2"]},
)


def _findings(of: InstancePicture) -> dict[str, tuple[str, str]]:
    found = _document(of)["results"][0].get("findings", [])
    states = [each["target"]["status"] for each in found]
    return {
        each["target"]["target-id"]: (state["state"], state["reason"])
        for each, state in zip(found, states, strict=True)
    }


def test_every_control_is_an_observation_and_every_nist_control_a_finding() -> None:
    (result,) = _document(MIXED)["results"]
    assert [each["title"] for each in result["observations"]] == [f"Title of C-{n}" for n in range(1, 5)]
    assert _findings(MIXED) == {
        "ac-2_smt": ("not-satisfied", "fail"),
        "ac-2.3_smt": ("not-satisfied", "other"),
        "ia-5.1_smt": ("not-satisfied", "fail"),
        "sc-8_smt": ("not-satisfied", "other"),
    }
    (selection,) = result["reviewed-controls"]["control-selections"]
    assert [each["control-id"] for each in selection["include-controls"]] == [
        "ac-2", "ac-2.3", "au-2", "ia-5.1", "sc-8",
    ]  # fmt: skip


def test_findings_name_their_observations_and_those_their_subject_and_times() -> None:
    document = _document(MIXED)
    (result,) = document["results"]
    known = {each["uuid"] for each in result["observations"]}
    named = [each["observation-uuid"] for finding in result["findings"] for each in finding["related-observations"]]
    assert set(named) <= known
    assert len(named) == 6
    (component,) = result["local-definitions"]["components"]
    for each in result["observations"]:
        assert each["subjects"] == [{"subject-uuid": component["uuid"], "type": "component"}]
        assert each["collected"] == "2026-11-24T00:00:00.000Z"
        (evidence,) = each["relevant-evidence"]
        props = {prop["name"]: prop["value"] for prop in evidence["props"]}
        assert (props["read-at"], props["dataset"]) == ("2026-11-23T23:57:00.000Z", "session_settings")
    (resource,) = document["back-matter"]["resources"]
    assert document["import-ap"] == {"href": f"#{resource['uuid']}"}


def _uuids(found: Any) -> list[str]:
    if isinstance(found, dict):
        return [value for name, value in found.items() if name == "uuid"] + _uuids(list(found.values()))
    return [each for part in found for each in _uuids(part)] if isinstance(found, list) else []


def test_the_same_evaluation_gives_the_same_document_and_another_one_other_ids() -> None:
    one, again = (_document(MIXED) for _ in range(2))
    assert one == again
    ids = _uuids(one)
    assert len(ids) == len(set(ids))
    assert {uuid.UUID(each).version for each in ids} == {5}
    other = assessment_results("fabrikam", MIXED, _results(MIXED))
    assert not set(ids).intersection(_uuids(other))


@given(st.dictionaries(st.sampled_from(["C-1", "C-2", "C-3"]), st.sampled_from(Outcome), min_size=1))
def test_only_controls_that_all_pass_satisfy_anything(outcomes: dict[str, Outcome]) -> None:
    found = _findings(_painted(outcomes, {name: ["AC-2"] for name in outcomes}))
    judged = set(outcomes.values()) - {Outcome.NOT_APPLICABLE}
    assert bool(found) is bool(judged)
    if judged:
        assert (found["ac-2_smt"][0] == "satisfied") is (judged == {Outcome.PASS})


@pytest.mark.parametrize("status", [s for s in Status if s not in (Status.TO_ADDRESS, Status.COMPLETED)])
def test_what_people_decided_is_told_and_changes_no_state(status: Status) -> None:
    decided = decision("C-1", status, expires_at=START + timedelta(days=9))
    of = _painted({"C-1": Outcome.FAIL}, {"C-1": ["AC-2"]}, decided)
    (finding,) = _document(of)["results"][0]["findings"]
    assert finding["target"]["status"] == {"state": "not-satisfied", "reason": "fail"}
    assert finding["remarks"] == (
        f"C-1: {status.value} by ann at 2026-11-24T00:01:00.000Z, until 2026-12-03T00:00:00.000Z."
    )


def test_without_mappings_or_controls_it_is_valid_still() -> None:
    for of in (_painted({"C-1": Outcome.FAIL}, {"C-1": []}), picture([])):
        (result,) = _document(of)["results"]
        assert "findings" not in result
        assert result["reviewed-controls"]["control-selections"][0]["include-all"] == {}
    assert "observations" not in _document(picture([]))["results"][0]


def test_text_of_any_kind_is_valid() -> None:
    """Values of properties are one line without blanks around them, whatever was read."""
    hostile = " \n=\u2028 <script> \U0001f600 \t"
    of = picture(
        [
            control(
                "C-1", Outcome.UNKNOWN, explanation=hostile, observed=hostile, reason=UnknownReason.MISSING_FIELD,
                stale_since=START, exposed=3,
            )
        ],
        definitions=[definition("C-1", title=hostile, frameworks={NIST: [" AC-2 ", "AC-3"], "soc2": ["CC6.1"]})],
    )  # fmt: skip
    evidence = [EVIDENCE[0].model_copy(update={"source": hostile, "dataset": hostile})]
    found = assessment_results("contoso", of, _results(of, evidence))
    Model.model_validate_json(json.dumps(found))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AC-2", "ac-2"), ("AC-2(3)", "ac-2.3"), ("AC-02(03)", "ac-2.3"), ("IA-5(1)", "ia-5.1"), ("ac-2", None),
        ("AC-2(3", None), ("A.5.17", None), ("AC-2 (3)", None), ("", None), ("AC-0", "ac-0"),
    ],
)  # fmt: skip
def test_ids_are_those_of_the_oscal_catalogue(text: str, expected: str | None) -> None:
    assert nist_id(text) == expected


def test_ids_stay_apart() -> None:
    texts = ["AC-2", "AC-20", "AC-2(1)", "AC-21", "AU-2", "AC-2(11)"]
    assert not [pair for pair in combinations(map(nist_id, texts), 2) if pair[0] == pair[1]]
