"""An explanation says what was found and what is expected, and never the one as if it were the other."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plumbline_contracts.events import ControlResult, DatasetError, DatasetState, DatasetSummary, Outcome, Product
from plumbline_evaluator import casework
from plumbline_evaluator.catalogue.loading import load
from plumbline_evaluator.catalogue.model import Control, CountCheck, RowCheck
from plumbline_evaluator.judging.evaluation import Evaluation
from plumbline_evaluator.judging.judges import shown
from plumbline_evaluator.judging.plan import build_plan

CATALOGUE = load(Path(__file__).parents[3] / "controls")
CONTROLS = sorted(CATALOGUE.controls.values(), key=lambda control: control.id)
NOT_JUDGED = "1 of them could not be judged, and counts as exposed."
SCRIPT_ACTIONS = ("5e44f9bf0a0a0a0a019a6440b2137767", "d92636b2975301008e00958e3b297567")


def _explained(control_id: str, dataset: str, rows: list[dict[str, Any]], state: DatasetState = DatasetState.OK) -> str:
    """The explanation of one control when only one dataset, and the release, was read."""
    control = CATALOGUE.controls[control_id]
    evaluation = Evaluation(CATALOGUE.plans[control.product], CATALOGUE.digests, {})
    evaluation.take(dataset, rows)
    evaluation.take("instance", [{"family": "zurich", "family_rank": 26, "build": "b"}])
    source = {"users": "User", "remote_sites": "RemoteProxy"}.get(dataset, "T")
    summary = DatasetSummary(name=dataset, kind="rows", state=state, source=source)
    results = [item for item in evaluation.conclude([summary]) if isinstance(item, ControlResult)]
    return next(result.explanation for result in results if result.control_id == control_id)


@pytest.mark.parametrize(
    ("control", "field", "value", "text"),
    [
        (
            "SF-AP-01",
            "enable_clickjack_setup",
            False,
            "Found {} = false in SecuritySettings; expected: the setting is on.",
        ),
        (
            "SF-AP-01",
            "enable_clickjack_setup",
            True,
            "As expected: found {} = true in SecuritySettings (the setting is on).",
        ),
        (
            "SF-DV-04",
            "enable_cache_and_autocomplete",
            True,
            "Found {} = true in SecuritySettings; expected: the setting is off.",
        ),
    ],
)
def test_a_document_is_explained_by_its_values(control: str, field: str, value: bool, text: str) -> None:
    assert _explained(control, "session_settings", [{field: value}]) == text.format(field)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (["false"], "Found {} = false; expected: true."),
        (["true"], "As expected: found {} = true."),
        (["TRUE"], "As expected: found {} = TRUE."),
        (["yes"], "Found {} = yes, which is neither true nor false; expected: true."),
        ([""], "Found {} = (empty), which is neither true nor false; expected: true."),
        ([], "The property {} is absent, so false is in force; expected: true."),
        (
            ["true", "false"],
            "{} has 2 rows with different values; the worst counts. Found {} = false; expected: true.",
        ),
    ],
)
def test_a_property_is_explained_by_its_value(values: list[str], text: str) -> None:
    name = "glide.soap.require_content_type_xml"
    rows = [{"sys_id": str(number), "name": name, "value": value} for number, value in enumerate(values)]
    assert _explained("SNOW-API-18", "system_properties", rows) == text.replace("{}", name)


@pytest.mark.parametrize(
    ("has_method", "text"),
    [
        ([True, False, False], "2 of 3 {} without a registered MFA method (first: ann1, ann2); {}."),
        ([True, True, False], "1 of 3 {} without a registered MFA method (first: ann2); {}."),
        ([False] * 5, "5 of 5 {} without a registered MFA method (first: ann0, ann1, ann2); {}."),
        ([True], "As expected: 1 of 1 {} complies ({})."),
        ([True, True], "As expected: 2 of 2 {} comply ({})."),
        (
            [True, None],
            "1 of 2 {} without a registered MFA method (first: ann1); {}. " + NOT_JUDGED,
        ),
        ([], "This instance has no {}."),
    ],
)
def test_a_population_is_explained_by_its_rows(has_method: list[bool | None], text: str) -> None:
    rows = [
        {"id": str(n), "username": f"ann{n}", "is_standard": True, "is_integration": False, "is_frozen": False,
         "must_use_sso": False, "has_mfa_method": method}
        for n, method in reversed(list(enumerate(has_method)))
    ]  # fmt: skip
    words = ("active internal users who log in directly", "expected of each: a registered MFA method")
    assert _explained("SF-ID-13", "users", rows) == text.format(*words)


def test_a_count_is_explained_by_its_number() -> None:
    sites = [{"id": str(n), "site_name": f"site {n}", "is_protocol_security_disabled": True} for n in range(2)]
    expected = "expected: no remote site that gives up transport security"
    counted = "remote sites that give up transport security"
    few = _explained("SF-AP-26", "remote_sites", sites)
    assert few == f"Found 2 {counted} (first: site 0, site 1); {expected}."
    assert _explained("SF-AP-26", "remote_sites", sites[:1]) == (
        f"Found 1 remote site that gives up transport security (first: site 0); {expected}."
    )
    none = _explained("SF-AP-26", "remote_sites", [])
    assert none == f"As expected: found no {counted} (no remote site that gives up transport security)."
    part = _explained("SF-AP-26", "remote_sites", [], DatasetState.TRUNCATED)
    assert part == f"RemoteProxy was read in part only; of what was read, found no {counted}; {expected}."


def test_where_a_number_was_counted_is_told() -> None:
    text = _explained("SNOW-INP-33", "record_counts", [{"allowed_java_members": 0, "allowed_java_packages": 2}])
    assert text == ("Allowed Java packages: Found allowed_java_packages = 2 in sys_whitelist_package; expected: none.")


def test_what_may_be_absent_is_named_as_people_know_it() -> None:
    for control in CONTROLS:
        for name, check in control.leaves().items():
            if isinstance(check, RowCheck) and not name:
                assert check.subject, control.id
            assert not isinstance(check, CountCheck) or check.singular, control.id


def test_a_right_that_several_parts_need_is_told_once() -> None:
    evaluation = Evaluation(CATALOGUE.plans[Product.SERVICENOW], CATALOGUE.digests, {})
    error = DatasetError(code="http_403", message="an access rule forbids it", permission="read ACL", remedy="there")
    summary = DatasetSummary(name="system_properties", kind="rows", state=DatasetState.DENIED, source="s", error=error)
    results = [item for item in evaluation.conclude([summary]) if isinstance(item, ControlResult)]
    text = next(result.explanation for result in results if result.control_id == "SNOW-LOG-11")
    said = "sys_properties could not be read (an access rule forbids it)."
    assert text == (
        f"Multi-provider SSO debugging: {said} Grant read ACL: there. "
        f"Secure cookie debugging: {said} Locked element explanations: {said}"
    )


def test_a_part_without_any_of_a_population_says_so() -> None:
    text = _explained("SNOW-ACL-61", "system_properties", [], DatasetState.TRUNCATED)
    assert "what was read has no properties that enforce the scope of an application" in text


def test_a_name_that_several_entities_share_is_told_once() -> None:
    sites = [{"id": str(n), "site_name": f"site {n % 2}", "is_protocol_security_disabled": True} for n in range(9)]
    assert "Found 9 remote sites that give up transport security (first: site 0, site 1);" in _explained(
        "SF-AP-26", "remote_sites", sites
    )


def test_rows_of_which_it_is_open_whether_they_count_are_named() -> None:
    administrators = [{"id": str(n), "is_system_administrator": True, "is_frozen": False} for n in range(5)]
    text = _explained("SF-ID-39", "users", [*administrators, {"id": "9", "is_system_administrator": True}])
    assert text == (
        "Partly as expected: found 6 active system administrators (first: 0, 1, 2); "
        "expected: 1 to 5 system administrators. 1 of them may not match; the worst number counts."
    )


def test_rows_are_named_as_people_know_them() -> None:
    wanted = "expected: the script action is active."
    auto = {"sys_id": SCRIPT_ACTIONS[1], "name": "Renamed Unlock", "is_active": False}
    assert _explained("SNOW-IAM-18", "script_actions", [auto]) == (
        f"Found no SNC User Lockout Check in sysevent_script_action; {wanted} SNC User Lockout Check with Auto Unlock: "
        f"Found is_active = false for Renamed Unlock in sysevent_script_action; {wanted} One of them would do."
    )
    hidden = _explained("SNOW-IAM-18", "script_actions", [], DatasetState.TRUNCATED)
    assert not re.search(r"[0-9a-f]{32}", hidden)
    assert "in part only, without SNC User Lockout Check; whether that is absent cannot be decided." in hidden
    plugin = {"id": "com.glide.high_security", "name": "High Security Settings", "is_active": False}
    text = _explained("SNOW-ACL-02", "plugins", [plugin])
    assert text == "Found is_active = false for High Security Settings in v_plugin; expected: the plugin is active."
    absent = _explained("SNOW-ACL-02", "plugins", [])
    assert absent == (
        "Found no plugin High Security Settings (com.glide.high_security) in v_plugin; expected: the plugin is active."
    )


SENTENCES = {
    Outcome.PASS: re.compile(r"As expected: |.* has \d+ rows with different values; the worst counts\. As expected: "),
    Outcome.PARTIAL: re.compile(
        r"(?:[\w -]+: )?Partly as expected: .*; expected: "
        r"|(?:[\w -]+: )?\d+ of \d+ .* \(first: .*\); expected of (each|at least \d+ %): "
        r"|\d+ of \d+ settings are as expected\. "
    ),
    Outcome.FAIL: re.compile(r".*; expected(?: of each| of at least \d+ %)?: "),
    Outcome.UNKNOWN: re.compile(r"(?!As expected|Partly as expected)"),
    Outcome.NOT_APPLICABLE: re.compile(r"(?!As expected|Partly as expected)"),
}
SLIPS = re.compile(r"\b[0-9a-f]{32}\b|\s\s|\.\.|\b(\w+) \1\b|= ?[;.,(]|is not as expected|\b1 rows|expected: expected")


def _results(control: Control) -> Iterator[ControlResult]:
    plan = build_plan(control.product, [control])
    for case in control.cases:
        yield casework.judge(plan, control, case)[0]


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_the_cases_of_every_control_are_explained_in_one_form(control: Control) -> None:
    for result in _results(control):
        text = result.explanation.replace("= (empty)", "= empty")
        assert SENTENCES[result.outcome].match(text), (result.outcome, text)
        for value in (value for evidence in result.evidence for value in evidence.observed.values()):
            for each in value if isinstance(value, list) else [value]:
                text = text.replace(f"= {shown(each).strip()}", "= seen")
        assert not SLIPS.search(text), text
        assert text.endswith(".")


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.id)
def test_a_failure_names_the_value_that_was_observed(control: Control) -> None:
    failed = [result for result in _results(control) if result.outcome is Outcome.FAIL]
    for result in failed:
        deciding = [evidence for evidence in result.evidence if evidence.outcome in (None, Outcome.FAIL)]
        values = [value for evidence in deciding for value in evidence.observed.values()]
        told = [value for value in values if not isinstance(value, list) and value != ""]
        assert [value for value in told if shown(value).strip() not in result.explanation] == []


def test_a_name_that_would_steer_a_terminal_is_shown_harmless() -> None:
    assert shown("\x1b[2J\r\nann\u202eevil") == "�[2J��ann�evil"


@pytest.mark.parametrize("value", ["", []])
def test_a_value_that_is_empty_is_shown_so(value: Any) -> None:
    assert shown(value) == "(empty)"


def test_values_of_several_rows_are_listed() -> None:
    assert shown(["true", False]) == "true, false"


def test_what_does_not_apply_says_why() -> None:
    text = _explained("SNOW-IAM-20", "system_properties", [])
    assert text == "The property glide.login.no_blank_password is absent, so this control does not apply here."
