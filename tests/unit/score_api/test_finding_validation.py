"""Events that may not be sent are known as such, and why, without a word of what stands in them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_score_api.decisions.decision import Status
from plumbline_score_api.findings.lifecycle import Transition
from plumbline_score_api.findings.ocsf import write
from plumbline_score_api.findings.state import Verdict
from plumbline_score_api.findings.validation import problems

from tests.unit.score_api.telling import Story, facts, seen

ROOT = Path(__file__).parents[3]
Json = dict[str, Any]
DELETE = object()


def valid() -> Json:
    """An event that may be sent, of which nothing is shared."""
    telling = Story(seen(disposition=Status.PLANNED)).tellings[-1]
    event: Json = json.loads(write(telling, facts(telling)).record)
    assert problems(event) == []
    return event


def changed(path: str, value: object) -> Json:
    """An event with another value at a path such as `compliance/checks/0/status`."""
    event = valid()
    *parents, name = path.split("/")
    parent: Any = event
    for each in parents:
        parent = parent[int(each) if isinstance(parent, list) else each]
    key = int(name) if isinstance(parent, list) else name
    if value is DELETE:
        del parent[key]
    else:
        parent[key] = value
    return event


BROKEN: list[tuple[str, object, str]] = [
    # what the published schema says
    ("time", "2026-11-25T09:00:00Z", "/time: "),
    ("time", 1795510860.5, "/time: "),
    ("category_uid", 3, "/category_uid: "),
    ("type_uid", 200_304, "/type_uid: "),
    ("anything", 1, "/: "),
    ("finding_info/anything", 1, "/finding_info: "),
    ("severity_id", 7, "/severity_id: "),
    ("status_id", "1", "/status_id: "),
    ("finding_info/uid", DELETE, "/finding_info: "),
    ("metadata/product", {"vendor_name": "Plumbline"}, "/metadata/product: "),
    ("remediation", {"references": ["https://x.example"]}, "/remediation: "),
    ("finding_info/analytic/type_id", DELETE, "/finding_info/analytic: "),
    ("resources/0", {"type": "Salesforce Org"}, "/resources/0: "),
    ("evidences/0", {"name": "n", "uid": "u"}, "/evidences/0: "),
    ("message", None, "/message: "),
    ("time_dt", "yesterday", "/time_dt: "),
    ("cloud", {"provider": "x"}, "/: "),
    # what it does not
    ("time", 1_795_510_860, "milliseconds: "),
    ("time", 1795510860000.0, "milliseconds: "),
    ("finding_info/created_time", 1_795_510_860, "milliseconds: "),
    ("finding_info/created_time", DELETE, "/finding_info/created_time: it is missing"),
    ("finding_info/modified_time", 1_795_510_860_001, "clock: "),
    ("finding_info/modified_time_dt", "2026-11-25T09:00:00.000Z", "clock: "),
    ("finding_info/created_time", 1_795_999_999_999, "clock: "),
    ("finding_info/first_seen_time", 1_795_999_999_999, "clock: "),
    ("time_dt", DELETE, "/time_dt: it is missing"),
    ("type_uid", 200_303, "type: "),
    ("type_name", "Compliance Finding: Close", "type: "),
    ("activity_name", "Update", "type: "),
    ("severity", "Low", "captions: "),
    ("severity_id", 99, "captions: "),
    ("status", "New", "captions: "),
    ("status", DELETE, "/status: it is missing"),
    ("compliance/status", "Pass", "captions: "),
    ("compliance/status_id", 1, "captions: "),
    ("compliance/status_id", 99, "captions: "),
    ("compliance/status_code", "PASS", "compliance: "),
    ("compliance/status_code", "fail", "compliance: "),
    ("compliance/checks/0/status", "Pass", "captions: "),
    ("compliance/checks/0/severity", "Low", "captions: "),
    ("metadata/version", "1.7.0", "metadata: "),
    ("metadata/profiles", ["datetime", "cloud"], "metadata: "),
    ("metadata/uid", DELETE, "/metadata/uid: it is missing"),
    ("metadata/sequence", DELETE, "/metadata/sequence: it is missing"),
    ("comment", "x", "deprecated: "),
    ("resource", {"uid": "x"}, "deprecated: "),
    ("compliance/status_detail", "x", "deprecated: "),
    ("status_id", 0, "captions: "),
    ("severity_id", 4.0, "numbers: "),
    ("type_uid", 200_301.0, "numbers: "),
    # what is empty, or no reader takes
    ("status_detail", "", "/status_detail: "),
    ("resources", [], "/resources: "),
    ("metadata/product/version", "", "/metadata/product/version: "),
    ("unmapped/disposition", {}, "/unmapped/disposition: "),
    ("unmapped/previous", None, "/unmapped/previous: "),
    ("unmapped/counts/exposed", 2**53 + 1, "/unmapped/counts/exposed: "),
    ("unmapped/score/points", float("nan"), "/unmapped/score/points: "),
    ("unmapped/score/points", float("inf"), "/unmapped/score/points: "),
    ("metadata/sequence", 2**53 + 1, "/metadata/sequence: "),
    ("evidences/0/data", {"observed": None}, "/evidences/0/data/observed: "),
    ("evidences/0/data", {"observed": [1, [""]]}, "/evidences/0/data/observed/1/0: "),
    ("message", "\ud800", "event: it is no JSON"),
    ("unmapped/set", {1, 2}, "event: it is no JSON"),
    ("unmapped/x", {1: 2}, "event: it is no JSON"),
]


@pytest.mark.parametrize(
    ("path", "value", "expected"), BROKEN, ids=[f"{path}={value!a:.20}" for path, value, _ in BROKEN]
)
def test_what_may_not_be_sent(path: str, value: object, expected: str) -> None:
    found = problems(changed(path, value))
    assert any(each.startswith(expected) for each in found), found


def test_an_activity_follows_from_the_status() -> None:
    for event in (
        changed("status_id", 4) | {"status": "Resolved"},
        changed("status_id", 0) | {"status": "Unknown"},
        changed("activity_id", 3)
        | {"activity_name": "Close", "type_uid": 200_303, "type_name": "Compliance Finding: Close"},
    ):
        assert problems(event) == ["lifecycle: activity_id does not follow from status_id"]


def test_a_record_is_one_short_line() -> None:
    event = valid()
    assert problems(event, json.dumps(event, indent=1).encode()) == ["record: not one line with one JSON object"]
    assert problems(event, b"[]") == ["record: not one line with one JSON object"]
    assert problems(event, b"{" + b" " * 8000) == ["record: 8001 bytes, at most 8000 are allowed"]
    long = changed("message", "x" * 9_000)
    assert [each.partition(":")[0] for each in problems(long)] == ["record"]


def test_problems_are_few_and_show_no_values() -> None:
    secret = "hunter2"
    event = valid() | {f"password{number}": secret for number in range(50)} | {"status": secret, "message": 5}
    found = problems(event)
    assert 0 < len(found) <= 5
    assert secret not in " ".join(found)


def test_what_is_nested_deeply_is_no_json() -> None:
    nested: Json = {"x": 1}
    for _ in range(5_000):
        nested = {"x": nested}
    assert problems(valid() | {"unmapped": nested}) == ["event: it is no JSON (PydanticSerializationError)"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PATHS = ["time", "status_id", "compliance", "compliance/checks/0", "metadata", "finding_info", "unmapped", "severity"]


@given(st.sampled_from(PATHS), JSON)
def test_nothing_makes_it_fail(path: str, value: Any) -> None:
    problems(changed(path, value))


@given(JSON.filter(lambda value: isinstance(value, dict)))
def test_nothing_but_an_event_is_one(value: Json) -> None:
    assert problems(value)


LIVES: dict[str, Callable[[], Story]] = {
    "failed": lambda: Story(seen()),
    "passed": lambda: Story(seen(), seen(Verdict.PASS)),
    "retired": lambda: Story(seen(), Transition.CONTROL_RETIRED),
    "unread": lambda: Story(seen(Verdict.ERROR)),
}


@pytest.mark.parametrize("life", LIVES.values(), ids=LIVES)
def test_what_is_built_may_be_sent(life: Callable[[], Story]) -> None:
    telling = life().tellings[-1]
    event, record = write(telling, facts(telling))
    assert problems(event, record) == problems(event) == []


def test_the_schema_is_the_published_one() -> None:
    tool = ROOT / "services" / "score-api" / "tools" / "ocsf_schema.py"
    done = subprocess.run([sys.executable, str(tool), "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
