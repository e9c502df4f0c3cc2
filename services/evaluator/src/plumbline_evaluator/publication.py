"""Publishes the catalogue to `control-catalogue`: what is new, and what was retired."""

import asyncio

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from plumbline_contracts import envelope
from plumbline_contracts.events import ControlDefinition
from plumbline_contracts.kafka import KafkaSettings

from plumbline_evaluator.catalogue.loading import Catalogue
from plumbline_evaluator.sources.offsets import partition_numbers
from plumbline_evaluator.worker import Send

log = structlog.get_logger(__name__)

Published = dict[str, ControlDefinition]
"""Record key (`control_id@digest`) to definition."""


async def read_published(consumer: AIOKafkaConsumer, kafka: KafkaSettings) -> Published:
    """What the topic holds now: of each key the newest record, if it can be read.

    The consumer is not subscribed to anything.
    """
    topic = kafka.topic("control-catalogue")
    partitions = [TopicPartition(topic, number) for number in await partition_numbers(consumer, topic)]
    consumer.assign(partitions)
    for partition, offset in (await consumer.beginning_offsets(partitions)).items():
        consumer.seek(partition, offset)
    ends = await consumer.end_offsets(partitions)
    found: Published = {}
    while any([await consumer.position(partition) < end for partition, end in ends.items()]):
        for records in (await consumer.getmany(timeout_ms=500)).values():
            for record in records:
                key = (record.key or b"").decode("utf-8", "replace")
                found.pop(key, None)
                try:
                    found[key] = envelope.decode(ControlDefinition, record.value, record.headers)
                except envelope.BadRecordError as error:
                    log.warning("unreadable definition skipped", offset=record.offset, problem=str(error))
    return found


def new_definitions(catalogue: Catalogue, published: Published) -> list[ControlDefinition]:
    """What `catalogue` adds to the topic or changes there. What a newer generation says of a key stays."""
    return [
        definition
        for definition in catalogue.definitions()
        if (former := published.get(definition.key)) is None
        or (former != definition and former.catalogue_generation <= catalogue.generation)
    ]


def retirements(catalogue: Catalogue, published: Published) -> list[ControlDefinition]:
    """A record for every definition that `catalogue` no longer has, unless a newer generation published it."""
    current = {definition.key for definition in catalogue.definitions()}
    return [
        definition.model_copy(update={"status": "retired", "catalogue_generation": catalogue.generation})
        for key, definition in published.items()
        if key not in current
        and definition.status != "retired"
        and definition.catalogue_generation <= catalogue.generation
    ]


async def publish_catalogue(catalogue: Catalogue, published: Published, send: Send, name: str) -> None:
    """Send every definition that the topic does not hold, and a retirement for every one that is gone.

    Returns when the broker has acknowledged all of it: no result may name a definition that is not there.
    """
    new, retired = new_definitions(catalogue, published), retirements(catalogue, published)

    async def publish(definition: ControlDefinition) -> None:
        headers = envelope.headers(definition, source=f"/evaluator/{name}", event_id=definition.key)
        await send("control-catalogue", definition.key, envelope.encode(definition), headers)

    await asyncio.gather(*map(publish, new))
    await asyncio.gather(*map(publish, retired))
    log.info("catalogue published", controls=len(catalogue.controls), new=len(new), retired=len(retired))
