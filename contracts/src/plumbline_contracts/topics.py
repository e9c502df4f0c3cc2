"""The topic registry, typed: what `contracts/topics.yaml` says."""

from functools import cache
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from plumbline_contracts.events import EVENT_TYPES, Event
from plumbline_contracts.files import data_folder

DEFAULT_PREFIX = "plumbline."
HOUR_MS = 3_600_000
DEAD_LETTER_ROOM_BYTES = 65_536
"""What the headers of a dead letter add to a record that was as large as its topic allows."""


class Topic(BaseModel):
    """One topic: purpose, key, who writes and reads it, and how the broker keeps it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    purpose: str
    key: str
    event: str | None = None
    producers: list[str]
    consumers: list[str]
    cleanup: Literal["delete", "compact"]
    retention_hours: int | None = Field(default=None, gt=0)
    compression: Literal["zstd", "lz4"]
    max_record_bytes: int = Field(gt=0)
    dead_letters: bool
    partitions: int = Field(gt=0)
    replication_factor: int = Field(gt=0)
    min_insync_replicas: int = Field(gt=0)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.cleanup == "delete") != (self.retention_hours is not None):
            raise ValueError(f"{self.name}: retention_hours belongs to cleanup `delete`, and to it alone")
        if self.event is not None and self.event not in EVENT_TYPES:
            raise ValueError(f"{self.name}: no event of type {self.event}")
        return self

    @property
    def model(self) -> type[Event] | None:
        """The model of its values; None where the schema is not ours (OCSF)."""
        return EVENT_TYPES[self.event] if self.event else None

    def broker_config(self) -> dict[str, str]:
        """Kafka topic configuration entries."""
        config = {
            "cleanup.policy": self.cleanup,
            "compression.type": self.compression,
            "max.message.bytes": str(self.max_record_bytes),
        }
        if self.retention_hours is not None:
            config["retention.ms"] = str(self.retention_hours * HOUR_MS)
        return config


class Registry(BaseModel):
    """All topics, dead-letter topics included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    topics: list[Topic]

    def __getitem__(self, name: str) -> Topic:
        """The topic of this logical name; KeyError names those that exist."""
        for topic in self.topics:
            if topic.name == name:
                return topic
        raise KeyError(f"no topic {name!r} in the registry; there are {', '.join(t.name for t in self.topics)}")


def dead_letter_name(topic: str) -> str:
    """The name of a topic's dead-letter topic, prefix or not."""
    return f"{topic}.dlq"


def _dead_letter_topic(source: Topic) -> Topic:
    return source.model_copy(
        update={
            "name": dead_letter_name(source.name),
            "purpose": f"Records of {source.name} that could not be read, with their original bytes.",
            "event": None,
            "producers": list(source.consumers),
            "consumers": [],
            "cleanup": "delete",
            "retention_hours": 168,
            "max_record_bytes": source.max_record_bytes + DEAD_LETTER_ROOM_BYTES,
            "dead_letters": False,
        }
    )


@cache
def registry() -> Registry:
    """The registry as the file says, with each topic's dead-letter topic behind it."""
    document = yaml.safe_load((data_folder() / "topics.yaml").read_text())
    named = [Topic.model_validate({**document["defaults"], **entry}) for entry in document["topics"]]
    everything = [t for topic in named for t in ([topic, _dead_letter_topic(topic)] if topic.dead_letters else [topic])]
    return Registry(version=document["version"], topics=everything)


def physical_name(name: str, prefix: str = DEFAULT_PREFIX) -> str:
    """Prefix + name, for a topic that the registry knows (KeyError otherwise)."""
    return prefix + registry()[name].name
