"""The AsyncAPI 3.1 document of all topics, with the Kafka bindings that it has (0.5.0)."""

import json
from typing import Any

import yaml

from plumbline_contracts.examples import Example, examples
from plumbline_contracts.schemas import HEADER, event_name, headers_schema, json_schema, key_schema, schema_name
from plumbline_contracts.topics import DEFAULT_PREFIX, OUTSIDER, Topic, registry

Json = dict[str, Any]

SCHEMAS = "../../contracts/generated/schemas"
"""Where the schemas of the values lie, as seen from the document."""

BINDING = {"bindingVersion": "0.5.0"}
_TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_DEAD_LETTER = "dead letter"
_ABOUT = f"""\
Every topic of Plumbline with key, headers, schema and clean-up. Names begin with a prefix of the operator's choice,
`{DEFAULT_PREFIX}` by default.

Delivery is at least once: a record may come again, with the same ids. Order holds per key. Within a major version of
an event no field is removed or re-typed and nothing that was always there becomes optional; fields and values may be
added, so readers ignore what they do not know.
"""


def asyncapi() -> str:
    """The document, as YAML."""
    topics = registry().topics
    document = {
        "asyncapi": "3.1.0",
        "id": "urn:plumbline:topics",
        "info": {
            "title": "Plumbline topics",
            "version": "0.1.0",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        },
        "defaultContentType": "application/json",
        "servers": {"kafka": _SERVER},
        "channels": {topic.name: _channel(topic) for topic in topics},
        "operations": {name: body for topic in topics for name, body in _operations(topic).items()},
        "components": {"messages": {_message_name(topic): _message(topic) for topic in topics}},
    }
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return f"# {HEADER}\n{text}"


_TAGS = {
    "public": "For consumers that are not part of Plumbline",
    "internal": "Between the services; may be read, and changes under the same rules",
    _DEAD_LETTER: "Records that a service could not read",
}
_SERVER: Json = {
    "host": "{bootstrap}",
    "protocol": "kafka-secure",
    "description": "The operator's own Apache Kafka",
    "variables": {"bootstrap": {"default": "kafka.example.com:9093", "description": "Host and port of a broker"}},
}


class _Dumper(yaml.SafeDumper):
    """Writes every value in full: the same object may stand in several places."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401 - any value
        return True


def _message_name(topic: Topic) -> str:
    """`Finding`, or `config-snapshots.dlq` where the value is whatever could not be read."""
    return event_name(topic.event) if topic.event else topic.name


def _tag(topic: Topic) -> str:
    if topic.is_dead_letter_topic:
        return _DEAD_LETTER
    return "public" if OUTSIDER in topic.consumers else "internal"


def _channel(topic: Topic) -> Json:
    name = _message_name(topic)
    return {
        "address": f"{DEFAULT_PREFIX}{topic.name}",
        "title": topic.name,
        "description": _description(topic),
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "tags": [{"name": _tag(topic)}],
        "bindings": {"kafka": _channel_binding(topic)},
    }


def _description(topic: Topic) -> str:
    if not topic.per_tenant:
        return topic.purpose
    return f"{topic.purpose} May also exist once for each tenant, as `{DEFAULT_PREFIX}{topic.name}.TENANT`."


def _channel_binding(topic: Topic) -> Json:
    configuration: Json = {"cleanup.policy": [topic.cleanup], "max.message.bytes": topic.max_record_bytes}
    if topic.retention_ms is not None:
        configuration["retention.ms"] = topic.retention_ms
    return {
        "topic": f"{DEFAULT_PREFIX}{topic.name}",
        "partitions": topic.partitions,
        "replicas": topic.replication_factor,
        "topicConfiguration": configuration,
        **BINDING,
    }


def _message(topic: Topic) -> Json:
    shared = {
        "name": topic.event or topic.name,
        "title": _message_name(topic),
        "headers": headers_schema(topic),
        "bindings": {"kafka": {"key": _message_key(topic), **BINDING}},
    }
    if topic.event is None:
        return {**shared, "summary": topic.purpose, "contentType": "application/octet-stream"}
    return {
        **shared,
        "summary": str(json_schema(topic.event)["description"]).split("\n", 1)[0],
        "contentType": "application/json",
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"{SCHEMAS}/{schema_name(topic.event)}"},
        },
        "examples": [message_example(topic, example) for example in examples(topic.event)],
    }


def _message_key(topic: Topic) -> Json:
    """Of dead letters the key is whatever the record had."""
    if topic.is_dead_letter_topic:
        return {"type": "string", "description": f"The record's own, `{topic.key}` if it was well-formed"}
    return key_schema(topic)


def message_example(topic: Topic, example: Example) -> Json:
    """A whole record, but for its key."""
    return {"name": example.name, "headers": example_headers(topic, example), "payload": example.value}


def example_headers(topic: Topic, example: Example) -> Json:
    """Headers that go with an example's value."""
    tenant, _, rest = example.key.partition("|")
    value = example.value
    found = {
        "ce_specversion": "1.0",
        "ce_id": value.get("metadata", {}).get("uid", "4f1c2d3e5a6b47988796a5b4c3d2e1f0"),
        "ce_source": f"/{topic.producers[0]}/{topic.producers[0]}-0",
        "ce_type": example.event_type,
        "ce_time": example.moment,
        "content-type": "application/json",
        "traceparent": _TRACEPARENT,
    }
    if "metadata" in value:
        found |= {"ce_source": f"/tenants/{tenant}/instances/{rest.partition('|')[0]}"}
        found |= {"ce_subject": value["metadata"]["event_code"]}
    return {name: found[name] for name in headers_schema(topic)["properties"] if name in found}


def _operations(topic: Topic) -> Json:
    name = _message_name(topic)
    body = {
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "messages": [{"$ref": f"#/channels/{topic.name}/messages/{name}"}],
    }
    sends = {
        f"{service}.send.{topic.name}": {"action": "send", "title": f"{service} writes {topic.name}", **body}
        for service in topic.producers
    }
    receives = {
        f"{service}.receive.{topic.name}": {
            "action": "receive",
            "title": f"{service} reads {topic.name}",
            **body,
            **_group(topic, service),
        }
        for service in topic.consumers
    }
    return {**sends, **receives}


def _group(topic: Topic, service: str) -> Json:
    if service in topic.without_group:
        return {"description": "Reads in no group: by offset range, or the whole topic at each start."}
    group: Json = {"type": "string", "const": f"{DEFAULT_PREFIX}{service}"}
    if service == OUTSIDER:
        group = {"type": "string", "description": "One group per system that reads, of its operator's choice"}
    return {"bindings": {"kafka": {"groupId": group, **BINDING}}}


def pretty(value: Json) -> str:
    """JSON for people."""
    return json.dumps(value, indent=2, ensure_ascii=False)
