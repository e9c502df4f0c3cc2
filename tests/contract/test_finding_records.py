"""What the projector sends of a finding is what the documents promise: key, headers, value, and dead letters."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from plumbline_contracts.finding import FINDING_EVENT
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.schemas import headers_schema, json_schema, key_schema
from plumbline_contracts.topics import Topic, dead_letter_name, registry
from plumbline_score_api.broker import FINDINGS, FindingSender
from plumbline_score_api.findings.feed import FindingEvent
from plumbline_score_api.findings.ocsf import write
from plumbline_score_api.findings.state import Verdict

from tests.unit.score_api.telling import CONTROL, INSTANCE, TENANT, Story, facts, seen

VALUE = Draft202012Validator(json_schema(FINDING_EVENT))


class Producer:
    """Takes every record."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, dict[str, Any]]] = []

    async def send(self, topic: str, value: bytes, **more: Any) -> Any:
        self.taken.append((topic, {"value": value, **more}))
        return _acknowledged()

    async def send_and_wait(self, topic: str, value: bytes, **more: Any) -> None:
        await (await self.send(topic, value, **more))


async def _acknowledged() -> None:
    return None


def _events() -> list[FindingEvent]:
    """A finding that fails and passes."""
    made = []
    for telling in Story(seen(Verdict.FAIL), seen(Verdict.PASS)).tellings:
        written = write(telling, facts(telling))
        made.append(FindingEvent(TENANT, INSTANCE, CONTROL, telling, written.event, written.record))
    return made


def _assert_documented(topic: Topic, record: dict[str, Any]) -> None:
    Draft202012Validator(key_schema(registry()[FINDINGS])).validate(record["key"].decode())
    told = {name: value.decode() for name, value in record["headers"]}
    Draft202012Validator(headers_schema(topic), format_checker=FormatChecker()).validate(told)
    assert told.keys() <= headers_schema(topic)["properties"].keys()


async def test_every_record_is_as_documented() -> None:
    producer, kafka = Producer(), KafkaSettings()
    await FindingSender(producer, kafka, [TENANT]).send(TENANT, _events())
    shared, own = kafka.topic(FINDINGS), kafka.topic(f"{FINDINGS}.{TENANT}")
    assert [topic for topic, _ in producer.taken] == [shared, own, shared, own]
    for _, record in producer.taken:
        _assert_documented(registry()[FINDINGS], record)
        event = json.loads(record["value"])
        assert [error.message for error in VALUE.iter_errors(event)] == []
        assert (record["key"].decode(), record["timestamp_ms"]) == (event["finding_info"]["uid"], event["time"])
        assert dict(record["headers"])["ce_id"].decode() == event["metadata"]["uid"]


@pytest.mark.parametrize("problem", ["/time: it is missing", "record: 9000 bytes, at most 8000 are allowed"])
async def test_what_is_not_sent_says_why(problem: str) -> None:
    producer, kafka = Producer(), KafkaSettings()
    await FindingSender(producer, kafka).refuse(_events()[0], [problem])
    ((topic, record),) = producer.taken
    assert topic == kafka.topic(dead_letter_name(FINDINGS))
    _assert_documented(registry()[dead_letter_name(FINDINGS)], record)
    assert dict(record["headers"])["plumbline_message"].decode() == problem
