"""The newest status of every instance, from the compacted `instance-status`, and how the owner changes one."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from plumbline_contracts import envelope
from plumbline_contracts.events import Health, InstanceStatus
from plumbline_contracts.kafka import KafkaSettings

from plumbline_collector.connections import Connection

log = structlog.get_logger(__name__)


class StatusBoard:
    """Follows `instance-status` from its beginning, outside of any group."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._topic = settings.topic("instance-status")
        self.statuses: dict[str, InstanceStatus] = {}
        self.has_caught_up = asyncio.Event()

    async def follow(self) -> None:
        """Read for ever."""
        consumer = AIOKafkaConsumer(**self._settings.client_options(), enable_auto_commit=False)
        await consumer.start()
        try:
            await self._assign(consumer)
            ends = await consumer.end_offsets(consumer.assignment())
            while True:
                if not self.has_caught_up.is_set() and await self._is_at(consumer, ends):
                    self.has_caught_up.set()
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        self._take(record)
        finally:
            await consumer.stop()

    async def _assign(self, consumer: AIOKafkaConsumer) -> None:
        numbers = await _partitions(consumer, self._topic)
        partitions = [TopicPartition(self._topic, number) for number in numbers]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)

    async def _is_at(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
        return all([await consumer.position(partition) >= end for partition, end in ends.items()])

    def _take(self, record: Any) -> None:  # noqa: ANN401 - aiokafka's record
        try:
            status = envelope.decode(InstanceStatus, record.value, record.headers)
        except envelope.BadRecordError as error:
            log.warning("unreadable status skipped", topic=self._topic, offset=record.offset, problem=str(error))
            return
        self.put(status)

    def put(self, status: InstanceStatus) -> None:
        """Take a status, unless a newer one is known."""
        known = self.statuses.get(status.key)
        if known is None or status.updated_at >= known.updated_at:
            self.statuses[status.key] = status


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    for _ in range(50):
        await consumer._client.force_metadata_update()
        if found := consumer._client.cluster.partitions_for_topic(topic):
            return sorted(found)
        await asyncio.sleep(0.2)
    raise RuntimeError(f"topic {topic} does not exist; create the topics with `contracts topics create`")


def fresh(connection: Connection, known: InstanceStatus | None, **changes: object) -> InstanceStatus:
    """The status of a connection after `changes`, based on what is known of it."""
    base: dict[str, Any] = known.model_dump() if known else {"health": Health.PENDING, "message": "Not read yet."}
    base |= {
        "tenant": connection.tenant,
        "instance": connection.instance,
        "product": connection.product,
        "url": connection.url,
        "insights": connection.insights,
        "updated_at": datetime.now(UTC),
        **changes,
    }
    return InstanceStatus.model_validate(base)
