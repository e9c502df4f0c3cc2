"""Creates the topics of the registry on a broker and says where a topic differs from it."""

from collections.abc import Iterable
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.tenant_topics import tenant_topics
from plumbline_contracts.topics import Topic, registry


class ProvisioningError(RuntimeError):
    """The broker refused a topic; the message names the topic and the broker's reason."""


class MissingTopicsError(RuntimeError):
    """Topics that a service needs are not on the broker; the message names them and the command that makes them."""


@dataclass(frozen=True)
class Provisioned:
    """What `create_topics` did: names created now, and differences of those that were there before."""

    created: list[str]
    differences: list[str]


def _new_topic(topic: Topic, name: str, replication_factor: int) -> NewTopic:
    config = topic.broker_config()
    if replication_factor >= topic.min_insync_replicas:
        config["min.insync.replicas"] = str(topic.min_insync_replicas)
    return NewTopic(name, topic.partitions, replication_factor, topic_configs=config)


async def _partition_counts(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, int]:
    described = await admin.describe_topics(names)
    return {entry["topic"]: len(entry["partitions"]) for entry in described if entry["error_code"] == 0}


async def _configs(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(resources):
        for _, _, _, name, entries in response.resources:
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found


def _differences(topic: Topic, name: str, partitions: int, config: dict[str, str]) -> list[str]:
    wrong = [
        f"{name}: {key} is {config.get(key)}, the registry says {value}"
        for key, value in topic.broker_config().items()
        if config.get(key) != value
    ]
    if partitions != topic.partitions:
        wrong.append(f"{name}: has {partitions} partitions, the registry says {topic.partitions}")
    return wrong


async def create_topics(
    settings: KafkaSettings, *, replication_factor: int | None = None, tenants: Iterable[str] = ()
) -> Provisioned:
    """Create what is missing, the own topics of `tenants` too; never alter or delete what is there.

    `replication_factor` replaces the registry's on small brokers. Raises ProvisioningError when the broker refuses a
    topic, ValueError when a tenant can have none, and aiokafka's KafkaConnectionError when no broker answers.
    """
    wanted = {settings.topic(topic.name): topic for topic in (*registry().topics, *tenant_topics(tenants))}
    admin = AIOKafkaAdminClient(**settings.client_options())
    await admin.start()
    try:
        missing = sorted(wanted.keys() - set(await admin.list_topics()))
        present = sorted(wanted.keys() - set(missing))
        new = [_new_topic(wanted[n], n, replication_factor or wanted[n].replication_factor) for n in missing]
        created = await _create(admin, new) if new else []
        counts = await _partition_counts(admin, present) if present else {}
        configs = await _configs(admin, present) if present else {}
    finally:
        await admin.close()
    wrong = [line for name in present for line in _differences(wanted[name], name, counts[name], configs[name])]
    return Provisioned(created=created, differences=wrong)


async def require_topics(admin: AIOKafkaAdminClient, settings: KafkaSettings, names: Iterable[str]) -> None:
    """Raises MissingTopicsError when one of `names` does not exist under the prefix. `admin` is started."""
    missing = sorted({settings.topic(name) for name in names} - set(await admin.list_topics()))
    if missing:
        raise MissingTopicsError(
            f"the broker at {settings.kafka_bootstrap} shows no topic {', '.join(missing)}; "
            "create the topics with `contracts topics create`, or check PLUMBLINE_TOPIC_PREFIX and the ACLs"
        )


async def _create(admin: AIOKafkaAdminClient, new: list[NewTopic]) -> list[str]:
    response = await admin.create_topics(new)
    created = []
    for name, code, message, *_ in response.topic_errors:
        if code == 0:
            created.append(name)
        elif for_code(code) is not TopicAlreadyExistsError:
            raise ProvisioningError(f"the broker refused to create {name}: {message or for_code(code).__name__}")
    return created
