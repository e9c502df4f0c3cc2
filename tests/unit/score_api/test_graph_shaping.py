"""Controls of several instances as Graph shows them."""

import re
from datetime import date, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from plumbline_contracts.events import ControlDefinition, Link, Outcome, Product, Remediation, Severity
from plumbline_score_api.decisions.decision import Ended, Status
from plumbline_score_api.graph.entities import CONTROL_PROFILE, SECURE_SCORE
from plumbline_score_api.graph.schemas import ControlProfile, ControlScore, SecureScoreEntity
from plumbline_score_api.graph.shaping import (
    FRAMEWORKS,
    THREATS,
    Group,
    Groups,
    azure_tenant,
    control_profile,
    control_score,
    former_control_score,
    grouped,
    secure_score,
    services_of,
    state_update,
)
from plumbline_score_api.history.changing import states_of
from plumbline_score_api.pictures.picture import Summary

from tests.unit.score_api.painting import START, control, decision, definition, picture

ROOT = Path(__file__).parents[3]
GUID = "0f1d2c3b-4a59-4687-9786-a5b4c3d2e1f0"


def _microsofts(**more: object) -> ControlDefinition:
    return definition("SF-1", aliases=["HC-7", "MDA_SF_forceRelogin"], **more)


def _one(groups: Groups) -> Group:
    (group,) = groups.all
    return group


def test_microsofts_controls_have_its_ids_and_the_rest_ours() -> None:
    groups = grouped([picture([control("SF-1"), control("SF-2")], definitions=[_microsofts()])])
    assert [group.profile_id for group in groups.all] == ["MDA_SF_forceRelogin", "SF-2"]
    assert groups.find("MDA_SF_forceRelogin") == groups.find("SF-1") == groups.all[0]
    assert groups.find("HC-7") is groups.find("SF-3") is None
    assert set(groups.ranks.values()) == {1, 2}


def test_points_and_counts_are_summed_over_the_instances() -> None:
    groups = grouped(
        [
            picture([control("C-1", Outcome.PARTIAL, share=0.5, compliant=5, total=10)], instance="a"),
            picture([control("C-1", Outcome.PASS, compliant=3, total=3)], instance="b"),
            picture([control("C-1", Outcome.NOT_APPLICABLE)], instance="c"),
        ]
    )
    shown = control_score(_one(groups))
    assert (shown["score"], shown["scoreInPercentage"], shown["count"], shown["total"]) == (6.0, 75.0, "8", "13")
    assert "on" not in shown
    assert control_profile(_one(groups), GUID, 1)["maxScore"] == 8.0
    assert shown["implementationStatus"].splitlines()[2] == "c: Not applicable. C-1 is NOT_APPLICABLE"
    ControlScore.model_validate(shown)


@pytest.mark.parametrize(
    ("outcomes", "on"),
    [
        ([Outcome.PASS], "true"), ([Outcome.FAIL], "false"), ([Outcome.PASS, Outcome.UNKNOWN], "false"),
        ([Outcome.PASS, Outcome.NOT_APPLICABLE], "true"), ([Outcome.NOT_APPLICABLE], None),
    ],
)  # fmt: skip
def test_a_control_without_counts_is_on_or_off(outcomes: list[Outcome], on: str | None) -> None:
    pictures = [picture([control("C-1", outcome)], instance=f"i{n}") for n, outcome in enumerate(outcomes)]
    assert control_score(_one(grouped(pictures))).get("on") == on


def test_what_applies_nowhere_is_there_without_points() -> None:
    group = _one(grouped([picture([control("C-1", Outcome.NOT_APPLICABLE)])]))
    shown = control_score(group)
    assert (shown["score"], shown["scoreInPercentage"]) == (0.0, 0.0)
    assert shown["implementationStatus"].startswith("Not applicable.")
    assert control_profile(group, GUID, 1)["maxScore"] == 0.0


def test_a_control_that_is_only_reported_passes_by_its_outcome() -> None:
    for outcome, expected in ((Outcome.PASS, 100.0), (Outcome.FAIL, 0.0), (Outcome.UNKNOWN, 0.0)):
        group = _one(grouped([picture([control("C-1", outcome, most=0.0)])]))
        assert control_score(group)["scoreInPercentage"] == expected


def test_decisions_make_the_points_and_are_told() -> None:
    group = _one(grouped([picture([control("C-1")], decision("C-1", Status.RESOLVED_THIRD_PARTY))]))
    shown = control_score(group)
    assert (shown["score"], shown["scoreInPercentage"], shown["on"]) == (4.0, 100.0, "false")
    assert shown["implementationStatus"] == "C-1 is FAIL Resolved through a third party."


def test_a_stale_control_says_since_when_and_when_it_was_read() -> None:
    since = START - timedelta(hours=2)
    group = _one(grouped([picture([control("C-1", stale_since=since, evaluated_at=since)])]))
    shown = control_score(group)
    assert "could not be read since 2026-11-23T22:00:00Z" in shown["implementationStatus"]
    assert shown["lastSynced"] == "2026-11-23T22:00:00Z"


def test_many_instances_are_told_briefly() -> None:
    pictures = [picture([control("C-1")], instance=f"i{n:03d}") for n in range(50)]
    lines = control_score(_one(grouped(pictures)))["implementationStatus"].splitlines()
    assert (len(lines), lines[-1]) == (21, "And 30 more instances.")


def test_text_of_elsewhere_is_no_markup() -> None:
    nasty = "<script>alert('x')</script> & more"
    link = Link(title=nasty, url='https://vendor.example/a?b="><script>')
    remediation = Remediation(steps=[nasty], side_effects=nasty, verify=nasty, links=[link])
    found = definition("C-1", description=nasty, remediation=remediation)
    group = _one(grouped([picture([control("C-1", explanation=nasty)], definitions=[found])]))
    profile = control_profile(group, GUID, 1)
    shown = control_score(group)
    for text in (
        profile["remediation"],
        profile["remediationImpact"],
        shown["description"],
        shown["implementationStatus"],
    ):
        assert "<script" not in text
        assert "&lt;script&gt;" in text
    assert profile["remediation"].startswith("<ol><li>&lt;script")
    assert former_control_score("C-1", {}, found)["description"] == shown["description"]


def test_what_microsoft_leaves_empty_is_filled() -> None:
    link = Link(title="Session settings", url="https://vendor.example/session")
    found = _microsofts(
        severity=Severity.LOW,
        threats=["account_breach", "phishing_or_whaling", "new_threat"],
        frameworks={"soc2": ["CC6.1"], "own_framework": ["1", "2"]},
        remediation=Remediation(steps=["Open Setup.", "Tick it."], verify="It is ticked.", links=[link]),
    )
    group = _one(grouped([picture([control("SF-1", Outcome.PASS)], definitions=[found])]))
    profile = control_profile(group, GUID, 12)
    assert profile == {
        "id": "MDA_SF_forceRelogin",
        "actionType": "Config",
        "actionUrl": "https://vendor.example/session",
        "azureTenantId": GUID,
        "complianceInformation": [
            {
                "certificationName": "own_framework",
                "certificationControls": [{"name": "1", "url": None}, {"name": "2", "url": None}],
            },
            {
                "certificationName": "SOC 2 Trust Services Criteria",
                "certificationControls": [{"name": "CC6.1", "url": None}],
            },
        ],
        "controlCategory": "Identity",
        "controlName": "MDA_SF_forceRelogin",
        "controlStateUpdates": [
            {"assignedTo": None, "comment": None, "state": "Default", "updatedBy": None, "updatedDateTime": None}
        ],
        "deprecated": False,
        "implementationCost": "Low",
        "lastModifiedDateTime": "2026-11-24T00:00:00Z",
        "maxScore": 4.0,
        "rank": 12,
        "remediation": "<ol><li>Open Setup.</li><li>Tick it.</li></ol><p>It is ticked.</p>"
        '<ul><li><a href="https://vendor.example/session">Session settings</a></li></ul>',
        "remediationImpact": "No side effects are known.",
        "service": "MDA_SF",
        "threats": ["Account breach", "Phishing or Whaling", "new_threat"],
        "tier": "Core",
        "title": "Title of SF-1",
        "userImpact": "Low",
        "vendorInformation": {
            "provider": "SecureScore",
            "providerVersion": None,
            "subProvider": None,
            "vendor": "Plumbline",
        },
    }
    ControlProfile.model_validate(profile)
    assert list(profile) == list(CONTROL_PROFILE.properties)


@pytest.mark.parametrize(
    ("severity", "tier"),
    [
        (Severity.CRITICAL, "Core"),
        (Severity.HIGH, "Core"),
        (Severity.MEDIUM, "Defense in Depth"),
        (Severity.LOW, "Advanced"),
    ],
)
def test_our_own_controls_have_a_tier_by_severity(severity: Severity, tier: str) -> None:
    group = _one(grouped([picture([control("C-1")], definitions=[definition("C-1", severity=severity)])]))
    assert control_profile(group, GUID, 1)["tier"] == tier


def test_the_newest_definition_speaks_and_no_id_comes_twice() -> None:
    old, new = (
        definition("C-1", title="Old", catalogue_generation=1),
        definition("C-1", title="New", catalogue_generation=2),
    )
    groups = grouped(
        [
            picture([control("C-1")], instance="a", definitions=[new]),
            picture([control("C-1")], instance="b", definitions=[old]),
        ]
    )
    assert _one(groups).definition.title == "New"
    twins = [definition(name, aliases=["MDA_SF_x"]) for name in ("C-1", "C-2")]
    groups = grouped([picture([control("C-1"), control("C-2")], definitions=twins)])
    assert [group.profile_id for group in groups.all] == ["C-2", "MDA_SF_x"]


# --- what was decided


def test_one_state_on_all_instances_is_the_state() -> None:
    group = _one(
        grouped(
            [
                picture([control("C-1")], decision("C-1", Status.RISK_ACCEPTED, note="old"), instance="a"),
                picture(
                    [control("C-1", Outcome.PASS)],
                    decision("C-1", Status.RISK_ACCEPTED, revision=2, note="new", assignee="ben"),
                    instance="b",
                ),
            ]
        )
    )
    assert state_update(group) == {
        "assignedTo": "ben",
        "comment": "new",
        "state": "Ignored",
        "updatedBy": "ann",
        "updatedDateTime": "2026-11-24T00:02:00Z",
    }


def test_different_states_are_told_apart() -> None:
    group = _one(
        grouped(
            [
                picture([control("C-1")], decision("C-1", Status.RESOLVED_ALTERNATE_MITIGATION), instance="a"),
                picture([control("C-1")], instance="b"),
            ]
        )
    )
    update = state_update(group)
    assert (update["state"], update["comment"]) == ("Default", "a: Reviewed; b: Default")


def test_planned_is_default_with_its_note_and_templates_speak() -> None:
    planned = _one(grouped([picture([control("C-1")], decision("C-1", Status.PLANNED, note="soon"))]))
    assert (state_update(planned)["state"], state_update(planned)["comment"]) == ("Default", "soon")
    template = decision("C-1", Status.RISK_ACCEPTED)
    spoken = _one(grouped([picture([control("C-1")], templates=(template,))]))
    assert state_update(spoken)["state"] == "Ignored"


def test_a_decision_that_ended_says_why() -> None:
    ended = decision(
        "C-1",
        Status.RISK_ACCEPTED,
        ended=Ended.EXPIRED,
        ended_at=START + timedelta(days=1),
        ended_detail="Its time was over.",
    )
    update = state_update(_one(grouped([picture([control("C-1")], ended)])))
    assert update["state"] == "Default"
    assert (update["comment"], update["updatedBy"]) == ("Its time was over.", "system")
    assert update["updatedDateTime"] == "2026-11-25T00:00:00Z"


def test_a_decision_that_the_evaluation_contradicts_is_none() -> None:
    resolved = decision("C-1", Status.RESOLVED_THIRD_PARTY)
    group = _one(grouped([picture([control("C-1")], resolved, reopened={"C-1": resolved.decision_id})]))
    assert state_update(group)["state"] == "Default"


# --- sums


_CONTROLS = st.builds(
    lambda name, outcome, share, most: control(name, outcome, share=share, most=most),
    st.sampled_from(["C-1", "C-2", "C-3"]),
    st.sampled_from(Outcome),
    st.floats(0.01, 0.99),
    st.sampled_from([0.0, 3.0, 10.0]),
)
_DECISIONS = st.builds(
    decision, st.sampled_from(["C-1", "C-2", "C-3"]), st.sampled_from([s for s in Status if s != "completed"])
)
_PICTURES = st.lists(
    st.tuples(
        st.lists(_CONTROLS, unique_by=lambda c: c.control_id), st.lists(_DECISIONS, unique_by=lambda d: d.control_id)
    ),
    max_size=4,
)


@given(_PICTURES)
def test_the_controls_add_up_to_the_score_today_and_on_former_days(made: list[tuple[list, list]]) -> None:  # type: ignore[type-arg]
    pictures = [picture(controls, *decisions, instance=f"i{n}") for n, (controls, decisions) in enumerate(made)]
    points = Summary.sum(each.summary for each in pictures).points
    groups = grouped(pictures)
    scores = [control_score(group) for group in groups.all]
    profiles = [control_profile(group, GUID, groups.ranks[group.profile_id]) for group in groups.all]
    assert sum(each["score"] for each in scores) == pytest.approx(points.current, abs=0.01)
    assert sum(each["maxScore"] for each in profiles) == pytest.approx(points.maximum, abs=0.01)
    assert {each["controlName"] for each in scores} == {each["id"] for each in profiles}
    assert all(0 <= each["scoreInPercentage"] <= 100 for each in scores)
    for group, score in zip(groups.all, scores, strict=True):
        states = {
            item.instance: states_of(next(p for p in pictures if p.instance == item.instance))[group.control_id]
            for item in group.items
        }
        former = former_control_score(group.control_id, states, group.definition)
        assert former["score"] == pytest.approx(score["score"], abs=0.01)
        assert former["scoreInPercentage"] == pytest.approx(score["scoreInPercentage"], abs=0.01)
        ControlScore.model_validate(score)
        ControlScore.model_validate(former)


def test_the_score_of_a_day() -> None:
    pictures = [picture([control("C-1")]), picture([control("C-2")], instance="now", product=Product.SERVICENOW)]
    shown = secure_score(GUID, date(2026, 11, 24), 1.0, 8.0, services_of(pictures), [])
    SecureScoreEntity.model_validate(shown)
    assert list(shown) == list(SECURE_SCORE.properties)
    assert (shown["id"], shown["createdDateTime"]) == (f"{GUID}_2026-11-24", "2026-11-24T00:00:00Z")
    assert shown["enabledServices"] == ["HasSalesforce", "HasServiceNow"]
    assert services_of(pictures[1:]) == ["HasServiceNow"]


def test_a_tenant_has_its_guid_or_one_that_lasts() -> None:
    configured = {"contoso": UUID(GUID)}
    assert azure_tenant("contoso", configured) == GUID
    assert azure_tenant("fabrikam", configured) == "989d93a0-af2f-5649-a0a8-4cbc7fc64ee2"
    assert azure_tenant("fabrikam", {}) != azure_tenant("contoso", {})


def test_the_names_of_frameworks_and_threats_are_the_catalogues() -> None:
    files = (ROOT / "controls/frameworks").glob("*.yaml")
    assert {path.stem: yaml.safe_load(path.read_text())["name"] for path in files} == FRAMEWORKS
    paths = [path for product in ("salesforce", "servicenow") for path in (ROOT / "controls" / product).glob("*.yaml")]
    lists = [re.search(r"^threats:(.*?)^\w", path.read_text(), re.MULTILINE | re.DOTALL) for path in paths]
    assert {threat for found in lists if found for threat in re.findall(r"\w+", found[1])} == THREATS.keys()
