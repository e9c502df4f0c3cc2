"""Every example is valid, headers and keys are as documented, and nothing that was released is broken."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from plumbline_contracts import envelope
from plumbline_contracts.asyncapi import example_headers
from plumbline_contracts.events import EVENT_TYPES, Event
from plumbline_contracts.examples import Example, examples
from plumbline_contracts.finding import FINDING_EVENT, MOST_FINDING_BYTES, OCSF_VERSION, Unmapped
from plumbline_contracts.finding_schema import ocsf_schema
from plumbline_contracts.generation import generated_files
from plumbline_contracts.released import changes_since_release
from plumbline_contracts.schemas import SCHEMA_BASE, event_schemas, headers_schema, key_schema, schema_name
from plumbline_contracts.topics import Topic, registry

ROOT = Path(__file__).parents[2]
SCHEMAS = event_schemas()
OURS = [example for event_type in EVENT_TYPES for example in examples(event_type)]
FINDINGS = examples(FINDING_EVENT)
TOPICS = {topic.event: topic for topic in registry().topics if topic.event}
CAPTIONS = {
    "activity": {1: "Create", 2: "Update", 3: "Close"},
    "severity": {1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical"},
    "status": {0: "Unknown", 1: "New", 2: "In Progress", 3: "Suppressed", 4: "Resolved", 5: "Archived", 6: "Deleted"},
}


def _name(value: Any) -> str:
    return value.path.stem if isinstance(value, Example) else str(value)


def _topic_name(topic: Topic) -> str:
    return topic.name


def _is_read(topic: Topic) -> bool:
    """Whether services read the topic of these dead letters; else they were never sent."""
    return bool(registry()[topic.name.removesuffix(".dlq")].readers)


def _model(example: Example) -> type[Event]:
    return EVENT_TYPES[example.event_type]


def _valid(document: Any, schema: dict[str, Any]) -> None:
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(document)


def test_every_file_is_an_example_of_an_event_and_every_event_has_one() -> None:
    found = [*OURS, *FINDINGS]
    assert {example.event_type for example in found} == set(SCHEMAS)
    assert {example.path for example in found} == set((ROOT / "contracts" / "examples").iterdir())


@pytest.mark.parametrize("example", OURS, ids=_name)
def test_example_survives_the_wire(example: Example) -> None:
    _valid(example.value, SCHEMAS[example.event_type])
    event = envelope.decode(_model(example), example.path.read_bytes())
    assert json.loads(envelope.encode(event)) == example.value


@pytest.mark.parametrize("example", OURS, ids=_name)
def test_reader_ignores_fields_of_a_newer_producer(example: Example) -> None:
    newer = json.dumps({**example.value, "added_in_a_later_version": {"x": 1}}).encode()
    _valid(json.loads(newer), SCHEMAS[example.event_type])
    assert envelope.decode(_model(example), newer) == envelope.decode(_model(example), example.path.read_bytes())


@pytest.mark.parametrize("example", FINDINGS, ids=_name)
def test_a_finding_is_what_ocsf_and_we_promise(example: Example) -> None:
    _valid(example.value, SCHEMAS[FINDING_EVENT])
    _valid(example.value, ocsf_schema())
    unmapped = Unmapped.model_validate(example.value["unmapped"])
    assert json.loads(unmapped.model_dump_json(exclude_none=True)) == example.value["unmapped"]


@pytest.mark.parametrize("example", FINDINGS, ids=_name)
def test_a_finding_keeps_the_rules_that_no_schema_says(example: Example) -> None:
    event, info = example.value, example.value["finding_info"]
    activity, status, severity = event["activity_id"], event["status_id"], event["severity_id"]
    assert (event["activity_name"], event["status"]) == (CAPTIONS["activity"][activity], CAPTIONS["status"][status])
    assert event["severity"] == CAPTIONS["severity"][severity]
    assert event["type_uid"] == 200300 + activity
    assert (activity == 3) == (status in (4, 5, 6))
    assert (event["metadata"]["version"], event["metadata"]["profiles"]) == (OCSF_VERSION, ["datetime"])
    assert (info["modified_time"], info["modified_time_dt"]) == (event["time"], event["time_dt"])
    assert all(10**12 < info[name] < 10**13 for name in ("created_time", "first_seen_time", "last_seen_time"))
    assert len(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()) <= MOST_FINDING_BYTES


def test_the_findings_tell_one_story() -> None:
    """It fails, somebody accepts the risk, it passes."""
    told = [example.value for example in FINDINGS]
    assert [event["unmapped"]["transition"] for event in told] == ["failed", "risk_accepted", "passed"]
    assert [event["activity_name"] for event in told] == ["Create", "Update", "Close"]
    assert [event["metadata"]["sequence"] for event in told] == [1, 2, 3]
    assert len({event["metadata"]["uid"] for event in told}) == 3
    assert len({event["finding_info"]["uid"] for event in told}) == 1
    previous = [event["unmapped"].get("previous", {}).get("status_id") for event in told]
    assert previous == [None, *(event["status_id"] for event in told[:-1])]


@pytest.mark.parametrize(
    ("place", "name"),
    [("metadata", "uid"), ("finding_info", "uid"), ("compliance", "status_code"), ("unmapped", "score")],
)
def test_a_finding_without_something_promised_is_refused(place: str, name: str) -> None:
    event = json.loads(FINDINGS[0].path.read_text())
    del event[place][name]
    assert [error.message for error in Draft202012Validator(SCHEMAS[FINDING_EVENT]).iter_errors(event)] == [
        f"{name!r} is a required property"
    ]


@pytest.mark.parametrize("event_type", SCHEMAS)
def test_a_schema_has_an_id_a_title_and_says_what_its_fields_mean(event_type: str) -> None:
    schema = SCHEMAS[event_type]
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"{SCHEMA_BASE}/{schema_name(event_type)}"
    assert schema["title"]
    assert schema["description"]
    objects = {"": schema, **schema.get("$defs", {})}
    if event_type == FINDING_EVENT:  # OCSF's own attributes are described at schema.ocsf.io
        ours = {"Unmapped", *Unmapped.model_json_schema()["$defs"]}
        objects = {name: part for name, part in objects.items() if name in ours}
    untold = [
        f"{name}.{field}"
        for name, part in objects.items()
        for field, stated in part.get("properties", {}).items()
        if not stated.get("description")
    ]
    assert untold == []


@pytest.mark.parametrize("example", [*OURS, *FINDINGS], ids=_name)
def test_key_and_headers_of_an_example_are_as_documented(example: Example) -> None:
    topic = TOPICS[example.event_type]
    _valid(example.key, key_schema(topic))
    _valid(example_headers(topic, example), headers_schema(topic))


@pytest.mark.parametrize("example", OURS, ids=_name)
def test_headers_are_those_that_services_send(example: Example) -> None:
    event = envelope.decode(_model(example), example.path.read_bytes())
    sent = envelope.headers(event, source="/collector/collector-0")
    _valid({name: value.decode() for name, value in sent}, headers_schema(TOPICS[example.event_type]))


@pytest.mark.parametrize(
    "topic", [topic for topic in registry().topics if topic.is_dead_letter_topic and _is_read(topic)], ids=_topic_name
)
def test_headers_of_dead_letters_are_those_that_services_send(topic: Topic) -> None:
    sent = envelope.dead_letter_headers(topic.name.removesuffix(".dlq"), 0, 17, ValueError("not JSON"))
    _valid({name: value.decode() for name, value in sent}, headers_schema(topic))


@pytest.mark.parametrize("key", ["contoso", "contoso/", "contoso/sales eu", "contoso|sales-eu", "a/b/c"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    assert not Draft202012Validator(key_schema(registry()["instance-status"])).is_valid(key)


def test_generated_files_are_current() -> None:
    stale = [name for name, content in generated_files().items() if (ROOT / name).read_text() != content]
    assert stale == [], "run `contracts generate` and commit the result"


def test_no_generated_file_is_of_something_that_is_gone() -> None:
    folders = ("contracts/generated/schemas", "docs/reference/topics")
    there = {str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).iterdir()}
    assert there == {name for name in generated_files() if name.startswith(folders)}


def test_no_consumer_of_the_last_release_breaks() -> None:
    assert changes_since_release(ROOT / "contracts").breaks == [], "`contracts changes` says what to do"


def test_the_last_release_has_every_event() -> None:
    assert {path.name for path in (ROOT / "contracts" / "released").glob("*.json")} == set(map(schema_name, SCHEMAS))
