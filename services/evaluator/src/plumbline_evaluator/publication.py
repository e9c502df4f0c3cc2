"""Publishes the catalogue to `control-catalogue`: what is new, and what was retired."""

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from plumbline_contracts import envelope
from plumbline_contracts.events import ControlDefinition
from plumbline_contracts.kafka import KafkaSettings

from plumbline_evaluator.catalogue.loading import Catalogue
from plumbline_evaluator.worker import Send

log = structlog.get_logger(__name__)


async def read_published(consumer: AIOKafkaConsumer, kafka: KafkaSettings) -> dict[str, ControlDefinition]:
    """Key to definition, as the topic holds it now. The consumer is not subscribed to anything."""
    topic = kafka.topic("control-catalogue")
    partitions = [TopicPartition(topic, number) for number in await partition_numbers(consumer, topic)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    ends = await consumer.end_offsets(partitions)
    found: dict[str, ControlDefinition] = {}
    while any([await consumer.position(partition) < end for partition, end in ends.items()]):
        for records in (await consumer.getmany(timeout_ms=500)).values():
            for record in records:
                try:
                    published = envelope.decode(ControlDefinition, record.value, record.headers)
                except envelope.BadRecordError as error:
                    log.warning("unreadable definition skipped", offset=record.offset, problem=str(error))
                    continue
                found[published.key] = published
    return found


async def partition_numbers(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    """The partitions of a topic. Raises RuntimeError when it does not exist."""
    partitions = await consumer._client.fetch_all_metadata()
    found = partitions.partitions_for_topic(topic)
    if not found:
        raise RuntimeError(f"topic {topic} does not exist; create the topics with `contracts topics create`")
    return sorted(found)


async def publish_catalogue(
    catalogue: Catalogue, published: dict[str, ControlDefinition], send: Send, name: str
) -> None:
    """Send every definition that the topic does not hold, and a retirement for every control that is gone.

    Returns when the broker has acknowledged all of it: no result may name a definition that is not there.
    """
    current = {definition.key: definition for definition in catalogue.definitions()}
    retired = [
        definition.model_copy(update={"status": "retired", "catalogue_generation": catalogue.generation})
        for key, definition in published.items()
        if definition.control_id not in catalogue.controls
        and definition.status != "retired"
        and definition.catalogue_generation <= catalogue.generation
    ]
    new = [definition for key, definition in current.items() if published.get(key) != definition]
    for definition in [*new, *retired]:
        headers = envelope.headers(definition, source=f"/evaluator/{name}", event_id=definition.key)
        await send("control-catalogue", definition.key, envelope.encode(definition), headers)
    log.info("catalogue published", controls=len(current), new=len(new), retired=len(retired))
