"""The newest status of every instance, from the compacted `instance-status`, and how the owner changes one."""

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord
from plumbline_contracts import envelope
from plumbline_contracts.events import Health, InstanceStatus
from plumbline_contracts.kafka import KafkaSettings

from plumbline_collector.connections import Connection

log = structlog.get_logger(__name__)

POLL_MS = 500
ASK_SECONDS = 3.0
SILENT_SECONDS = 10.0


class StatusBoard:
    """Follows `instance-status` from its beginning. `consumer` is started, subscribed to it and in no group."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.topic = settings.topic("instance-status")
        self.statuses: dict[str, InstanceStatus] = {}
        self.has_caught_up = asyncio.Event()
        self._answered_at = 0.0

    @property
    def is_current(self) -> bool:
        """Whether all that lay on the topic at the start is known, and the broker has answered lately."""
        return self.has_caught_up.is_set() and time.monotonic() - self._answered_at < SILENT_SECONDS

    async def follow(self, consumer: AIOKafkaConsumer) -> None:
        """Read for ever; `has_caught_up` is set when all that lay there at the start is known."""
        ends = await consumer.end_offsets(consumer.assignment())
        while True:
            await self._ask(consumer)
            if not self.has_caught_up.is_set() and await self._is_at(consumer, ends):
                self.has_caught_up.set()
            for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                for record in records:
                    self._take(record)

    async def _ask(self, consumer: AIOKafkaConsumer) -> None:
        """See every few seconds that the broker answers; polling alone does not tell an idle topic from silence."""
        if time.monotonic() - self._answered_at < ASK_SECONDS:
            return
        with contextlib.suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(ASK_SECONDS):
                await consumer.end_offsets(consumer.assignment())
                self._answered_at = time.monotonic()

    async def _is_at(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
        return all([await consumer.position(partition) >= end for partition, end in ends.items()])

    def _take(self, record: ConsumerRecord) -> None:
        try:
            status = envelope.decode(InstanceStatus, record.value, record.headers)
        except envelope.BadRecordError as error:
            log.warning("unreadable status skipped", topic=self.topic, offset=record.offset, problem=str(error))
            return
        self.put(status)

    def put(self, status: InstanceStatus) -> None:
        """Take a status, unless a newer one is known."""
        known = self.statuses.get(status.key)
        if known is None or status.updated_at >= known.updated_at:
            self.statuses[status.key] = status


def fresh(connection: Connection, known: InstanceStatus | None, **changes: object) -> InstanceStatus:
    """The status of a connection after `changes`, based on what is known of it; always newer than that."""
    base: dict[str, Any] = known.model_dump() if known else {"health": Health.PENDING, "message": "Not read yet."}
    base |= {
        "tenant": connection.tenant,
        "instance": connection.instance,
        "product": connection.product,
        "url": connection.url,
        "insights": connection.insights,
        "updated_at": _later_than(known),
        **changes,
    }
    return InstanceStatus.model_validate(base)


def paused(known: InstanceStatus) -> InstanceStatus:
    """The status of an instance without a connection: paused, never disconnected."""
    changes = {
        "health": Health.PAUSED,
        "message": "The connections file has no entry for this instance; add it to read on.",
        "updated_at": _later_than(known),
        "is_collecting": False,
        "next_full_at": None,
        "next_watch_at": None,
    }
    return known.model_copy(update=changes)


def _later_than(known: InstanceStatus | None) -> datetime:
    """Now, or just after a status that another replica's clock dated ahead of ours."""
    now = datetime.now(UTC)
    return now if known is None else max(now, known.updated_at + timedelta(milliseconds=1))
