"""The AsyncAPI document says what the broker is told and what services do."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from plumbline_contracts.asyncapi import asyncapi
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.topics import OUTSIDER, Topic, registry

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
DOCUMENT: dict[str, Any] = yaml.safe_load(asyncapi())
TOPICS = registry().topics


def _message(topic: Topic) -> dict[str, Any]:
    (reference,) = DOCUMENT["channels"][topic.name]["messages"].values()
    message: dict[str, Any] = DOCUMENT["components"]["messages"][reference["$ref"].rsplit("/", 1)[-1]]
    return message


def test_every_topic_is_a_channel() -> None:
    assert list(DOCUMENT["channels"]) == [topic.name for topic in TOPICS]


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_channel_is_configured_as_it_is_created(topic: Topic) -> None:
    binding = DOCUMENT["channels"][topic.name]["bindings"]["kafka"]
    assert binding["topic"] == KafkaSettings().topic(topic.name)
    assert (binding["partitions"], binding["replicas"]) == (topic.partitions, topic.replication_factor)
    told = {name: value for name, value in topic.broker_config().items() if name != "compression.type"}
    stated = binding["topicConfiguration"]
    assert {name: ",".join(v) if isinstance(v, list) else str(v) for name, v in stated.items()} == told


@pytest.mark.parametrize("topic", [topic for topic in TOPICS if topic.event], ids=lambda topic: topic.name)
def test_a_message_has_schema_key_headers_and_examples(topic: Topic) -> None:
    message = _message(topic)
    assert (REFERENCE / message["payload"]["schema"]["$ref"]).is_file()
    assert message["bindings"]["kafka"]["key"]["pattern"]
    assert {"ce_type", "traceparent", "content-type"} <= message["headers"]["properties"].keys()
    assert message["headers"]["properties"]["ce_type"]["const"] == topic.event == message["name"]
    assert all(example["payload"] and example["headers"] for example in message["examples"])


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_who_reads_in_a_group_names_it(topic: Topic) -> None:
    for consumer in topic.consumers:
        operation = DOCUMENT["operations"][f"{consumer}.receive.{topic.name}"]
        group = operation.get("bindings", {}).get("kafka", {}).get("groupId")
        if consumer in topic.without_group:
            assert group is None
        elif consumer == "siem":
            assert "const" not in group
        else:
            assert group["const"] == KafkaSettings().group(consumer)


def test_dead_letters_are_written_by_those_of_ours_who_read_the_topic_else_by_who_fills_it() -> None:
    letters = [topic for topic in TOPICS if topic.is_dead_letter_topic]
    assert letters
    for topic in letters:
        source = registry()[topic.name.removesuffix(".dlq")]
        writers = set(source.members) - {OUTSIDER} or set(source.producers)
        sends = {name.split(".")[0] for name in DOCUMENT["operations"] if name.endswith(f".send.{topic.name}")}
        assert sends == writers
        assert "plumbline_message" in _message(topic)["headers"]["properties"]
