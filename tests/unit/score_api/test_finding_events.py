"""Events for SIEMs field by field, small and valid whatever the texts in them are."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plumbline_contracts.events import (
    ControlDefinition,
    ControlResult,
    DatasetState,
    Evidence,
    ExposedEntity,
    Insights,
    Link,
    Outcome,
    Product,
    Remediation,
    Severity,
    UnknownReason,
)
from plumbline_score_api.decisions.decision import Ended, Status
from plumbline_score_api.findings.clipping import Clipper
from plumbline_score_api.findings.definitions import ATTACK, STANDARDS
from plumbline_score_api.findings.lifecycle import Telling, Transition
from plumbline_score_api.findings.ocsf import Facts, InstanceFacts, build, encode, write
from plumbline_score_api.findings.shrinking import TooLongError, shrink
from plumbline_score_api.findings.state import Verdict
from plumbline_score_api.findings.validation import problems

from tests.unit.score_api.painting import decision, definition
from tests.unit.score_api.telling import (
    CONTROL,
    FINDING,
    INSTANCE,
    START,
    Story,
    broken_promises,
    entities,
    facts,
    result,
    seen,
)

MOST = 8_000
Json = dict[str, Any]


def told(*steps: Any) -> Telling:
    """The last thing that these steps tell."""
    return Story(*steps).tellings[-1]


FAILED = told(seen(Verdict.PARTIAL))
TEXTS = definition(
    CONTROL,
    title="Accounts lock after three wrong passwords",
    aliases=["MDA_SF_maxLoginAttempts"],
    rationale="Each further attempt is a free guess.",
    description="Judges after how many wrong passwords an account is locked.",
    remediation=Remediation(
        steps=["Open Password Policies.", "Set the limit to 3."], links=[Link(title="x", url="https://help.example/a")]
    ),
    frameworks={"soc2": ["CC6.1"], "nist_800_53_r5": ["AC-7", "IA-5(1)"], "attack": ["T1110.001", "T1078"]},
    permissions=["View Setup and Configuration"],
)


def event_of(telling: Telling = FAILED, **more: Any) -> Json:
    """The event, which is valid."""
    found = write(telling, facts(telling, **{"definition": TEXTS} | more))
    assert problems(found.event, found.record) == []
    assert broken_promises(found.event) == []
    assert json.loads(found.record) == found.event
    return found.event


def test_the_whole_event() -> None:
    at = FAILED.at
    assert event_of(result=result(Verdict.PARTIAL, observed="10"), entities=entities(2)) == {
        "activity_id": 1,
        "activity_name": "Create",
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": 2003,
        "class_name": "Compliance Finding",
        "type_uid": 200301,
        "type_name": "Compliance Finding: Create",
        "severity_id": 4,
        "severity": "High",
        "status_id": 1,
        "status": "New",
        "status_code": "TO_ADDRESS",
        "time": 1795510860000,
        "time_dt": "2026-11-24T09:01:00.000Z",
        "timezone_offset": 0,
        "message": "PARTIAL SF-ID-05 on sales-eu (Salesforce): 3 of 8 policies allow more than 3 wrong passwords.",
        "metadata": {
            "version": "1.8.0",
            "profiles": ["datetime"],
            "uid": FAILED.event_uid,
            "sequence": 1,
            "correlation_uid": "7d0f7a34-5a0e-5a55-9d0b-0c1b2a3f4e5d",
            "event_code": "SF-ID-05",
            "tenant_uid": "contoso",
            "log_name": "compliance-findings",
            "product": {"name": "Plumbline", "vendor_name": "Plumbline", "version": "0.1.0"},
            "is_truncated": True,
            "untruncated_size": 4,
        },
        "finding_info": {
            "uid": FINDING,
            "title": "Accounts lock after three wrong passwords",
            "desc": "Each further attempt is a free guess.",
            "types": ["SaaS Security Posture"],
            "src_url": "https://plumbline.contoso.example/v1/recommendations/sales-eu/SF-ID-05",
            "created_time": 1795510860000,
            "first_seen_time": 1795510800000,
            "last_seen_time": 1795510800000,
            "modified_time": int(at.timestamp() * 1000),
            "modified_time_dt": "2026-11-24T09:01:00.000Z",
            "data_sources": ["SecuritySettings.x"],
            "analytic": {
                "uid": "SF-ID-05",
                "name": "Accounts lock after three wrong passwords",
                "type_id": 1,
                "type": "Rule",
                "version": "1",
            },
            "tags": [{"name": "control_alias", "values": ["MDA_SF_maxLoginAttempts"]}],
            "attacks": [
                {"technique": {"uid": "T1110"}, "sub_technique": {"uid": "T1110.001"}},
                {"technique": {"uid": "T1078"}},
            ],
        },
        "compliance": {
            "control": "SF-ID-05",
            "category": "Identity",
            "desc": "Judges after how many wrong passwords an account is locked.",
            "status_id": 3,
            "status": "Fail",
            "status_code": "PARTIAL",
            "status_details": ["3 of 8 policies allow more than 3 wrong passwords."],
            "standards": ["NIST SP 800-53 Rev. 5", "SOC 2"],
            "requirements": [
                "NIST SP 800-53 Rev. 5: AC-7",
                "NIST SP 800-53 Rev. 5: IA-5(1)",
                "SOC 2: CC6.1",
            ],
            "checks": [
                {
                    "uid": "SF-ID-05",
                    "name": "Accounts lock after three wrong passwords",
                    "version": "1",
                    "severity_id": 4,
                    "severity": "High",
                    "status_id": 3,
                    "status": "Fail",
                }
            ],
            "assessments": [
                {
                    "name": "SecuritySettings.x",
                    "desc": "expected a lock after three attempts; observed 10",
                    "meets_criteria": False,
                }
            ],
        },
        "evidences": [
            {
                "uid": "0b5f0c1e-7c7e-5d0a-9a57-8a3c8f0d7d55#/password_policies",
                "name": "SecuritySettings.x",
                "api": {"operation": "read", "service": {"name": "Salesforce API"}},
                "data": {
                    "expected": "a lock after three attempts",
                    "observed": "10",
                    "collected_at": "2026-11-24T09:00:00.000Z",
                },
            }
        ],
        "resources": [
            {
                "uid": "sales-eu",
                "uid_alt": "00D1",
                "name": "sales-eu",
                "type": "Salesforce Org",
                "hostname": "contoso.my.salesforce.com",
                "role_id": 1,
                "role": "Target",
            },
            {"uid": "005000000000000000", "type": "Salesforce User", "role_id": 3, "role": "Affected"},
            {"uid": "005000000000000001", "type": "Salesforce User", "role_id": 3, "role": "Affected"},
        ],
        "remediation": {
            "desc": "1. Open Password Policies.\n2. Set the limit to 3.",
            "references": ["https://help.example/a"],
        },
        "unmapped": {
            "contract": "plumbline.finding/1",
            "transition": "failed",
            "episode": 1,
            "cause_id": FAILED.cause_id,
            "instance": {
                "id": "sales-eu",
                "product": "salesforce",
                "url": "https://contoso.my.salesforce.com",
                "insights": "main",
            },
            "snapshot_id": "0b5f0c1e-7c7e-5d0a-9a57-8a3c8f0d7d55",
            "evaluation_id": "7d0f7a34-5a0e-5a55-9d0b-0c1b2a3f4e5d",
            "catalogue_version": "1",
            "score": {"points": 2.0, "points_max": 4.0},
            "counts": {"compliant": 5, "total": 8, "exposed": 3, "listed": 2},
        },
    }


def test_nothing_is_marked_where_nothing_was_cut() -> None:
    assert "is_truncated" not in event_of()["metadata"]


@pytest.mark.parametrize("severity", Severity)
def test_severities(severity: Severity) -> None:
    numbers = {"informational": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
    failed = event_of(definition=definition(CONTROL, severity=severity))
    assert (failed["severity_id"], failed["severity"].lower()) == (numbers[severity], severity)
    passed = event_of(told(seen(), seen(Verdict.PASS)), definition=definition(CONTROL, severity=severity))
    assert passed["severity_id"] == 1
    assert passed["compliance"]["checks"][0]["severity_id"] == numbers[severity]


@pytest.mark.parametrize(
    ("status", "code", "points", "detail"),
    [
        (None, "TO_ADDRESS", 2.0, None),
        (Status.PLANNED, "PLANNED", 2.0, "Planned until 2027-03-31."),
        (Status.RISK_ACCEPTED, "RISK_ACCEPTED", 0.0, "Risk accepted until 2027-03-31."),
        (Status.RESOLVED_THIRD_PARTY, "THIRD_PARTY", 4.0, "Resolved by a third party until 2027-03-31."),
        (Status.RESOLVED_ALTERNATE_MITIGATION, "ALTERNATE_MITIGATION", 4.0,
         "Resolved by an alternate mitigation until 2027-03-31."),
    ],
)  # fmt: skip
def test_decisions(status: Status | None, code: str, points: float, detail: str | None) -> None:
    telling = told(seen(Verdict.PARTIAL, status))
    until = START.replace(year=2027, month=3, day=31)
    made = decision(CONTROL, status, expires_at=until, note="It ends in spring.", reason="EX-114") if status else None
    event = event_of(telling, decision=made)
    assert (event["status_code"], event.get("status_detail"), event["unmapped"]["score"]["points"]) == (
        code,
        detail,
        points,
    )
    if made is not None:
        found = event["unmapped"]["disposition"]
        assert found.pop("by").startswith("u-")
        assert found == {
            "state": made.status,
            "at": "2026-11-24T00:01:00.000Z",
            "expires_at": "2027-03-31T09:00:00.000Z",
            "reason": "It ends in spring.",
            "ticket": "EX-114",
        }


@pytest.mark.parametrize(
    ("ended", "detail"),
    [
        (Ended.EXPIRED, "The time of the decision is over; it is to be addressed again."),
        (Ended.REOPENED, "The decision does not hold any more; it is to be addressed again."),
    ],
)
def test_ended_decisions_are_told(ended: Ended, detail: str) -> None:
    event = event_of(told(seen(disposition=Status.RISK_ACCEPTED), seen(ended=ended)))
    assert event["status_detail"] == detail
    assert "disposition" not in event["unmapped"]


def test_names_of_people_only_where_they_are_allowed() -> None:
    telling = told(seen(disposition=Status.PLANNED))
    author = decision(CONTROL, Status.PLANNED, author="Ann Weber")
    hidden, open_ = (event_of(telling, decision=author, names_are_allowed=allowed) for allowed in (False, True))
    assert b"user0@contoso.example" not in encode(hidden)
    assert b"Ann Weber" not in encode(hidden)
    assert open_["resources"][1]["name"] == "user0@contoso.example"
    assert open_["unmapped"]["disposition"]["by"] == "Ann Weber"
    assert event_of(telling, decision=author)["unmapped"]["disposition"] == hidden["unmapped"]["disposition"]


def test_what_to_do_is_told_while_there_is_something_to_do() -> None:
    for steps in ([seen()], [seen(Verdict.UNKNOWN)], [seen(), seen(disposition=Status.RESOLVED_THIRD_PARTY)]):
        assert event_of(told(*steps))["remediation"]["desc"].startswith("1. Open Password Policies.")
    for last in (seen(Verdict.PASS), seen(Verdict.NOT_APPLICABLE), Transition.CONTROL_RETIRED):
        assert event_of(told(seen(), last))["remediation"] == {"desc": "Nothing is left to do."}


def test_every_framework_of_the_catalogue_has_a_short_name() -> None:
    known = {path.stem for path in Path("controls/frameworks").glob("*.yaml")}
    assert STANDARDS.keys() | {ATTACK} == known


def test_frameworks_of_an_operator_go_by_their_id() -> None:
    event = event_of(definition=definition(CONTROL, frameworks={"house_rules": ["7"], "soc2": []}))
    assert event["compliance"]["standards"] == ["house_rules"]
    assert event["compliance"]["requirements"] == ["house_rules: 7"]


def test_an_unread_result_says_why_and_what_to_grant() -> None:
    event = event_of(told(seen(Verdict.UNKNOWN)))
    assert event["compliance"]["status_details"] == [
        "missing_permission",
        "3 of 8 policies allow more than 3 wrong passwords.",
        "It needs: View Setup and Configuration",
    ]
    assert "assessments" not in event["compliance"]
    assert event["unmapped"]["score"] == {"points": 0.0, "points_max": 4.0}


def test_what_is_not_applicable_or_gone_is_in_no_score() -> None:
    for telling in (told(seen(Verdict.NOT_APPLICABLE)), told(seen(), Transition.CONTROL_RETIRED)):
        assert event_of(telling)["unmapped"]["score"] == {"points": 0.0, "points_max": 0.0}


def test_what_is_gone_tells_nothing_of_a_result_that_is_still_there() -> None:
    telling = told(seen(), Transition.INSTANCE_DISCONNECTED)
    event = event_of(telling, result=result(), entities=entities())
    assert event["status_detail"] == "The instance was disconnected."
    assert event["message"].endswith("(Salesforce): The instance was disconnected.")
    assert not {"evidences"} & event.keys()
    assert len(event["resources"]) == 1
    assert event["unmapped"]["previous"] == {"status_id": 1, "outcome": "FAIL"}


def test_parts_of_a_control_are_assessed_each() -> None:
    def part(name: str, outcome: Outcome, **observed: Any) -> Evidence:
        return Evidence(dataset="d", source=f"O.{name}", state=DatasetState.OK, name=name, outcome=outcome,
                        observed=observed)  # fmt: skip

    parts = [part("a", Outcome.PASS, x=1), part("b", Outcome.FAIL, x=[1, "é"], y=None), part("c", Outcome.UNKNOWN)]
    event = event_of(result=result(Verdict.PARTIAL, evidence=parts))
    assert event["compliance"]["assessments"] == [
        {"name": "a", "desc": "observed 1", "meets_criteria": True},
        {"name": "b", "desc": 'observed {"x":[1,"é"],"y":null}', "meets_criteria": False},
    ]
    assert [each["data"].get("observed") for each in event["evidences"]] == ["1", '{"x":[1,"é"],"y":null}', None]
    assert [each["uid"].partition("#")[2] for each in event["evidences"]] == ["/d/a", "/d/b", "/d/c"]


def test_entities_are_told_in_order_and_at_most_20() -> None:
    event = event_of(entities=entities(30)[::-1], result=result(Verdict.PARTIAL, exposed=1_000))
    assert [each["uid"] for each in event["resources"][1:]] == [each.id for each in entities(20)]
    assert event["unmapped"]["counts"] == {"compliant": 5, "total": 8, "exposed": 1000, "listed": 20}
    assert event["metadata"]["is_truncated"] is True


def test_thresholds_in_force_are_told_as_text() -> None:
    event = event_of(parameters={"max": 3, "kinds": ["a", "b"], "is_on": True})
    assert event["compliance"]["control_parameters"] == [
        {"name": "is_on", "value": "true"},
        {"name": "kinds", "value": '["a","b"]'},
        {"name": "max", "value": "3"},
    ]


@pytest.mark.parametrize(
    ("url", "told_url", "hostname"),
    [
        (
            "https://ann:secret@dev1.service-now.com:8443/x",
            "https://dev1.service-now.com:8443/x",
            "dev1.service-now.com",
        ),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1"),
        ("https://[", None, None),
        (None, None, None),
    ],
)
def test_addresses_without_secrets(url: str | None, told_url: str | None, hostname: str | None) -> None:
    event = event_of(instance=InstanceFacts(INSTANCE, Product.SERVICENOW, url))
    assert event["unmapped"]["instance"].get("url") == told_url
    assert event["resources"][0].get("hostname") == hostname
    assert event["resources"][0]["type"] == "ServiceNow Instance"


def test_facts_of_another_finding_are_refused() -> None:
    with pytest.raises(ValueError, match=r"The telling is of contoso\|sales-eu\|SF-ID-05, the facts are of other\|"):
        write(FAILED, facts(FAILED, tenant="other"))


def test_what_two_definitions_of_one_key_say_is_not_mixed_up() -> None:
    assert event_of(definition=definition(CONTROL, title="One"))["finding_info"]["title"] == "One"
    assert event_of(definition=definition(CONTROL, title="Two"))["finding_info"]["title"] == "Two"


def test_cutting_one_event_leaves_others_as_they_were() -> None:
    """They share what a definition and an instance alone decide."""
    telling = told(seen(Verdict.PARTIAL, Status.PLANNED))
    given_facts = facts(telling, definition=largest("x" * 300).definition.model_copy(update={"control_id": CONTROL}))
    first, second = write(telling, given_facts), write(telling, given_facts)
    with pytest.raises(TooLongError):
        shrink(second.event, encode, 100)
    assert len(encode(second.event)) < len(first.record)
    assert encode(first.event) == first.record == write(telling, given_facts).record
    assert build(telling, given_facts) == first.event


# --- size


LONG = {
    "mixed": '\u0001"é😀 long text, ' * 400,
    "plain": "x" * 6_000,
    "quotes": '"' * 6_000,
    "control": "\x00" * 6_000,
    "wide": "😀" * 6_000,
}


def _evidence(number: int, text: str) -> Evidence:
    return Evidence(
        dataset=f"dataset_{number}",
        source=f"Object{number}.{text}",
        state=DatasetState.OK,
        name=f"{number} {text}",
        outcome=Outcome.FAIL,
        observed={f"field_{each}": text for each in range(5)},
    )


def largest(text: str) -> Facts:
    """Every field as large as it may come, and larger."""
    url = f"https://{'h' * 500}.example/{text}"
    links = [{"title": text, "url": f"https://x.example/{n}{'a' * 160}"} for n in range(9)]
    return Facts(
        tenant="t" * 64,
        instance=InstanceFacts("i" * 64, Product.SERVICENOW, url, text, Insights.MAIN),
        definition=ControlDefinition.model_validate(
            {
                **definition("c" * 64).model_dump(),
                "title": text,
                "aliases": [text] * 30,
                "description": text,
                "rationale": text,
                "remediation": {"steps": [text] * 20, "links": links},
                "frameworks": {f"{name} {text}": [text] * 9 for name in "abcdefghijk"} | {"attack": [text] * 9},
                "permissions": [text] * 3,
                "catalogue_generation": 2**53,
                "version": 2**53,
            }
        ),
        result=ControlResult(
            control_id="c" * 64,
            control_digest="d" * 64,
            outcome=Outcome.PARTIAL,
            explanation=text,
            share=0.333,
            points=3.333,
            max_points=9.999,
            compliant=2**50,
            total=2**51,
            exposed=2**52,
            exposed_listed=10_000,
            exposed_digest="e" * 64,
            expected=text,
            observed=text,
            evidence=[_evidence(number, text) for number in range(12)],
        ),
        product_version="10.20.30-rc1+20261125",
        evaluation_id="e" * 500,
        snapshot_id="s" * 500,
        entities=[ExposedEntity(id=f"{n}{text}", name=text, type=f"salesforce/{text}") for n in range(40)],
        decision=decision(
            "c" * 64, Status.RESOLVED_ALTERNATE_MITIGATION, author=text, note=text, reason=text, expires_at=START
        ),
        parameters={f"{n}{text}": text for n in range(30)},
        api_url=f"https://{'p' * 300}.example",
        names_are_allowed=True,
    )


LARGEST_TOLD = replace(
    told(seen(Verdict.PARTIAL, Status.RESOLVED_ALTERNATE_MITIGATION)),
    finding=f"{'t' * 64}|{'i' * 64}|{'c' * 64}",
    cause_id="c" * 500,
    sequence=2**53,
    episode=2**53,
)


@pytest.mark.parametrize("verdict", [Verdict.PARTIAL, Verdict.UNKNOWN])
@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_with_every_field_at_its_largest_it_fits(text: str, verdict: Verdict) -> None:
    large = largest(text)
    assert large.result is not None
    reasons = {"outcome": Outcome.UNKNOWN, "reason": UnknownReason.MISSING_PERMISSION}
    unread = large.result.model_copy(update=reasons if verdict is Verdict.UNKNOWN else {})
    given_facts = replace(large, result=unread)
    event, record = write(replace(LARGEST_TOLD, verdict=verdict), given_facts)
    assert problems(event, record) == []
    assert len(record) <= MOST
    assert event["metadata"]["is_truncated"] is True
    assert event["metadata"]["untruncated_size"] > 200
    assert event["unmapped"]["counts"]["listed"] == len(event["resources"]) - 1
    assert event["unmapped"]["disposition"]["state"] == "resolved_alternate_mitigation"


def test_it_is_cut_in_steps_and_no_further_than_it_must() -> None:
    """Of twenty large entities as many are left as fit at a step; the texts are whole."""
    many = [ExposedEntity(id=f"{n:03d}{'x' * 120}", name="n" * 128, type="salesforce/user") for n in range(20)]
    event = event_of(entities=many, names_are_allowed=True, result=result(Verdict.PARTIAL, exposed=20))
    assert len(event["resources"]) == 1 + 10
    assert event["unmapped"]["counts"]["listed"] == 10
    assert event["metadata"]["untruncated_size"] == 10
    assert event["finding_info"]["desc"] == TEXTS.rationale


def test_what_cannot_be_made_to_fit_says_so() -> None:
    event = event_of()
    with pytest.raises(TooLongError, match=r"has \d+ bytes with all that can be cut away; 1000 are allowed"):
        shrink(event, encode, 1000)


# --- hostile texts


HOSTILE = {
    "newlines": "a\r\nb\nc\u2028d\u0085e",
    "nul and control": "a\x00b\x1b[31m\x07\x7f",
    "emoji": "👩‍👩‍👧‍👦" * 300,
    "half a pair": "a\ud83db",
    "both halves": "\ud83d\ude00",
    "markup": "<script>alert(1)</script>&amp;",
    "formula": "=HYPERLINK(\"http://x\",\"y\")",
    "quotes": '"\\' * 5_000,
    "a megabyte": "x" * 1_000_000,
    "a megabyte of halves": "\udc00" * 1_000_000,
    "a megabyte of NUL": "\x00" * 1_000_000,
    "one space": " ",
    "nothing": "",
}  # fmt: skip


def hostile_facts(telling: Telling, text: str) -> Facts:
    """Facts with this text wherever a text comes from outside."""
    evidence = Evidence.model_construct(
        dataset="users",
        source=text,
        state=DatasetState.OK,
        read_at=None,
        observed={text: [text]},
        name=text,
        outcome=Outcome.FAIL,
    )
    single = result(telling.verdict).model_copy(
        update={"explanation": text, "expected": text, "observed": text, "evidence": [evidence]}
    )
    texts = {"title": text, "description": text, "rationale": text, "aliases": [text], "frameworks": {text: [text]}}
    steps = {"remediation": Remediation.model_construct(steps=[text], side_effects=None, verify=None, links=[])}
    return facts(
        telling,
        definition=definition(CONTROL).model_copy(update=texts | steps),
        result=single,
        instance=InstanceFacts(INSTANCE, Product.SALESFORCE, text, text),
        entities=[ExposedEntity.model_construct(id=text, name=text, type=text, detail={}) for _ in range(3)],
        decision=decision(CONTROL, Status.PLANNED).model_copy(update={"author": text, "note": text, "reason": text}),
        parameters={text: text},
        names_are_allowed=True,
    )


def check_hostile(text: str) -> tuple[Json, bytes]:
    """The event is one valid line that any reader of JSON takes."""
    telling = told(seen(Verdict.PARTIAL, Status.PLANNED))
    event, record = write(telling, hostile_facts(telling, text))
    assert problems(event, record) == []
    assert broken_promises(event) == []
    assert len(record) <= MOST
    assert not set(record) & set(range(32))
    assert json.loads(record.decode("utf-8")) == event
    return event, record


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts(text: str) -> None:
    event, _ = check_hostile(text)
    is_long = len(text) > 200
    assert event["metadata"].get("is_truncated", False) == is_long
    if is_long:
        assert event["resources"][1]["name"].endswith("…")


def test_half_a_surrogate_pair_is_replaced_and_a_whole_one_is_a_character() -> None:
    assert check_hostile(HOSTILE["half a pair"])[0]["resources"][1]["name"] == "a\ufffdb"
    assert check_hostile(HOSTILE["both halves"])[0]["resources"][1]["name"] == "😀"


def test_nothing_of_a_short_text_is_lost() -> None:
    for name in ("newlines", "nul and control", "markup", "formula"):
        assert check_hostile(HOSTILE[name])[0]["resources"][1]["name"] == HOSTILE[name]


ANY_TEXT = st.text(st.characters(), max_size=400)
"""Surrogates too."""


@settings(deadline=None, max_examples=200)
@given(ANY_TEXT)
def test_any_text_makes_a_valid_event(text: str) -> None:
    check_hostile(text)


@settings(deadline=None, max_examples=300)
@given(ANY_TEXT, st.integers(3, 300))
def test_clipped_texts_fit_and_begin_as_they_did(text: str, limit: int) -> None:
    clipper = Clipper()
    clipped = clipper.text(text, limit)
    size = len(encode({"": clipped})) - len('{"":""}')
    assert size <= limit
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert clipped == whole or (clipped.endswith("…") and whole.startswith(clipped[:-1]))
    assert (clipper.lost_bytes > 0) == (clipped != whole)


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(sorted(HOSTILE)), st.integers(3, 300))
def test_as_much_as_fits_is_kept(name: str, limit: int) -> None:
    whole = HOSTILE[name][:2_000].encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    clipped = Clipper().text(whole, limit)
    if clipped != whole:
        longer = whole[: len(clipped)]
        assert len(encode({"": longer + "…"})) - len('{"":""}') > limit


def test_moments_are_whole_milliseconds() -> None:
    story = Story()
    story.at += timedelta(microseconds=1_999)
    (telling,) = story.then(seen())
    event = event_of(telling)
    assert event["time"] % 1000 == 1
    assert event["time_dt"].endswith(".001Z")
