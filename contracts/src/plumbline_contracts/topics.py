"""The topic registry, typed: what `contracts/topics.yaml` says."""

import re
from functools import cache
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from plumbline_contracts.events import EVENT_TYPES, ID_PATTERN, Event
from plumbline_contracts.files import data_folder
from plumbline_contracts.finding import FINDING_EVENT

DEFAULT_PREFIX = "plumbline."
REGISTRY_FILE = "topics.yaml"
DEAD_LETTER_SUFFIX = ".dlq"
OUTSIDER = "siem"
"""Who stands among the consumers for all that are not ours."""
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
    without_group: list[str] = Field(default_factory=list)
    per_tenant: bool = False
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
        if self.event is not None and self.event not in (*EVENT_TYPES, FINDING_EVENT):
            raise ValueError(f"{self.name}: no event of type {self.event}")
        if unknown := set(self.without_group) - set(self.consumers):
            raise ValueError(f"{self.name}: {', '.join(sorted(unknown))} in without_group is no consumer")
        return self

    @property
    def members(self) -> list[str]:
        """The consumers that read it in their group, and bring what they cannot read to its dead letters."""
        return [name for name in self.consumers if name not in self.without_group]

    @property
    def readers(self) -> list[str]:
        """The services that read it in their group; where there is none, its dead letters hold what was never sent."""
        return [name for name in self.members if name != OUTSIDER]

    @property
    def model(self) -> type[Event] | None:
        """The model of its values; None where the schema is not ours (OCSF)."""
        return EVENT_TYPES.get(self.event) if self.event else None

    @property
    def is_dead_letter_topic(self) -> bool:
        """Whether it holds the records that readers of another topic could not read."""
        return self.name.endswith(DEAD_LETTER_SUFFIX)

    @property
    def retention_ms(self) -> int | None:
        """How long a record stays; None where clean-up compacts."""
        return self.retention_hours * HOUR_MS if self.retention_hours is not None else None

    def of_tenant(self, tenant: str) -> Self:
        """The topic that holds this tenant's records alone. Raises ValueError when the name would not do."""
        if not self.per_tenant:
            raise ValueError(f"{self.name} is no topic that exists per tenant")
        if problem := unfit_for_topic(tenant):
            raise ValueError(problem)
        purpose = f"{self.purpose} Those of the tenant {tenant} alone."
        return self.model_copy(update={"name": f"{self.name}.{tenant}", "purpose": purpose, "per_tenant": False})

    def broker_config(self) -> dict[str, str]:
        """Kafka topic configuration entries."""
        config = {
            "cleanup.policy": self.cleanup,
            "compression.type": self.compression,
            "max.message.bytes": str(self.max_record_bytes),
        }
        if self.retention_ms is not None:
            config["retention.ms"] = str(self.retention_ms)
        return config


class Registry(BaseModel):
    """All topics, dead-letter topics included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int
    topics: list[Topic]

    def __getitem__(self, name: str) -> Topic:
        """The topic of this logical name, `name.TENANT` of a topic per tenant too; KeyError names those that exist."""
        for topic in self.topics:
            if topic.name == name:
                return topic
        for topic in self.topics:
            if topic.per_tenant and name.startswith(f"{topic.name}."):
                return topic.of_tenant(name.removeprefix(f"{topic.name}."))
        raise KeyError(f"no topic {name!r} in the registry; there are {', '.join(t.name for t in self.topics)}")


def dead_letter_name(topic: str) -> str:
    """The name of a topic's dead-letter topic, prefix or not."""
    return f"{topic}{DEAD_LETTER_SUFFIX}"


def unfit_for_topic(tenant: str) -> str | None:
    """Why a tenant cannot have topics of its own; None when it can."""
    if not re.fullmatch(ID_PATTERN, tenant):
        return f"{tenant!r} is no tenant id: expected 1 to 64 letters, digits, dots, underscores and hyphens"
    if f".{tenant}".endswith(DEAD_LETTER_SUFFIX):
        return f"the tenant {tenant} can have no topic: its name would be that of a dead-letter topic"
    return None


def _dead_letter_topic(source: Topic) -> Topic:
    purpose = f"Records of {source.name} that could not be read, with their original bytes."
    if not source.readers:
        purpose = f"Records that break the contract and were therefore not sent to {source.name}."
    return source.model_copy(
        update={
            "name": dead_letter_name(source.name),
            "purpose": purpose,
            "event": None,
            "producers": source.readers or source.producers,
            "per_tenant": False,
            "consumers": [],
            "without_group": [],
            "cleanup": "delete",
            "retention_hours": 168,
            "max_record_bytes": source.max_record_bytes + DEAD_LETTER_ROOM_BYTES,
            "dead_letters": False,
        }
    )


@cache
def registry() -> Registry:
    """The registry as the file says, with each topic's dead-letter topic behind it."""
    return read_registry((data_folder() / REGISTRY_FILE).read_text(encoding="utf-8"))


def read_registry(text: str) -> Registry:
    """The registry of a file's text. Raises pydantic's ValidationError when a topic is not consistent."""
    document = yaml.safe_load(text)
    named = [Topic.model_validate({**document["defaults"], **entry}) for entry in document["topics"]]
    everything = [t for topic in named for t in ([topic, _dead_letter_topic(topic)] if topic.dead_letters else [topic])]
    return Registry(version=document["version"], topics=everything)


def physical_name(name: str, prefix: str = DEFAULT_PREFIX) -> str:
    """Prefix + name, for a topic that the registry knows (KeyError otherwise)."""
    return prefix + registry()[name].name
