"""The projector's loop over `control-results`, `instance-status` and `control-catalogue`.

The first two are consumed in a group and committed after durable writes. The catalogue is small and compacted: every
replica follows it whole, outside of the group, so that waiting for a definition never blocks its arrival.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalGenerationError, IllegalStateError, UnknownMemberIdError
from aiokafka.structs import ConsumerRecord
from plumbline_contracts import envelope
from plumbline_contracts.events import ControlDefinition, ControlResults, InstanceStatus
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.topics import dead_letter_name
from prometheus_client import Counter, Gauge
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from plumbline_score_api.projection.service import LostSwitchError, ProjectionService, UnknownDefinitionsError

log = structlog.get_logger(__name__)

BAD_RECORDS = Counter("plumbline_score_api_bad_records_total", "Records that could not be projected", ["topic"])
WAITING = Gauge("plumbline_score_api_waiting_for_definitions", "1 while an evaluation waits for control definitions")
POLL_MS = 200
DATABASE_SECONDS = 60.0
DEFINITION_POLL_SECONDS = 0.2
_LOST = (CommitFailedError, IllegalGenerationError, UnknownMemberIdError, IllegalStateError)


class TooManyBadRecordsError(RuntimeError):
    """So many records in a row cannot be projected that something upstream is broken."""


class Projector:
    """One replica of the role `project`. `transient` are the database's passing failures."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        producer: AIOKafkaProducer,
        service: ProjectionService,
        kafka: KafkaSettings,
        *,
        transient: tuple[type[Exception], ...],
        bad_records_in_a_row: int,
    ) -> None:
        self._consumer, self._producer, self._service, self._kafka = consumer, producer, service, kafka
        self._transient, self._most_bad = transient, bad_records_in_a_row
        self._bad_in_a_row = 0
        self._stopping = False
        self.turned_at = time.monotonic()
        self._handlers: dict[str, Callable[[ConsumerRecord], Awaitable[None]]] = {
            kafka.topic("control-results"): self._take_part,
            kafka.topic("instance-status"): self._take_status,
        }

    @property
    def is_ready(self) -> bool:
        """Whether partitions are assigned."""
        return bool(self._consumer.assignment())

    def stop(self) -> None:
        """End the loop after this turn."""
        self._stopping = True

    async def run(self) -> None:
        """Project until stopped. A lasting failure of broker or database leaves; nothing is committed too early."""
        while not self._stopping:
            self.turned_at = time.monotonic()
            batches = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=200)
            done: dict[TopicPartition, int] = {}
            for partition, records in batches.items():
                for record in records:
                    self.turned_at = time.monotonic()
                    await self._project(record)
                    done[partition] = record.offset + 1
            if done:
                await self._commit(done)

    async def _commit(self, offsets: dict[TopicPartition, int]) -> None:
        try:
            await self._consumer.commit(offsets)
        except _LOST as error:
            log.warning("commit lost in a rebalance, the records are read again", problem=str(error))

    async def _project(self, record: ConsumerRecord) -> None:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((*self._transient, LostSwitchError)),
            stop=stop_after_delay(DATABASE_SECONDS),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            before_sleep=lambda state: log.warning(
                "database does not answer, trying again", problem=str(state.outcome and state.outcome.exception())
            ),
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    await self._when_defined(record)
        except envelope.BadRecordError as error:
            await self._divert(record, error)
        else:
            self._bad_in_a_row = 0

    async def _when_defined(self, record: ConsumerRecord) -> None:
        """Handle a record; an evaluation whose definitions are still on their way waits for them."""
        told = False
        while not self._stopping:
            try:
                await self._handlers[record.topic](record)
            except UnknownDefinitionsError as error:
                WAITING.set(1)
                if not told:
                    log.warning("waiting for control definitions", problem=str(error))
                    told = True
                self.turned_at = time.monotonic()
                await self._stay_in_group()
                continue
            WAITING.set(0)
            return
        raise asyncio.CancelledError

    async def _stay_in_group(self) -> None:
        """Wait a moment, polling with everything paused, so that the group keeps this member."""
        assigned = self._consumer.assignment()
        self._consumer.pause(*assigned)
        await self._consumer.getmany(timeout_ms=int(DEFINITION_POLL_SECONDS * 1000))
        self._consumer.resume(*(assigned & self._consumer.assignment()))

    async def _take_part(self, record: ConsumerRecord) -> None:
        await self._service.take_part(envelope.decode(ControlResults, record.value, record.headers))

    async def _take_status(self, record: ConsumerRecord) -> None:
        await self._service.take_status(envelope.decode(InstanceStatus, record.value, record.headers))

    async def _divert(self, record: ConsumerRecord, error: Exception) -> None:
        BAD_RECORDS.labels(record.topic).inc()
        self._bad_in_a_row += 1
        if self._bad_in_a_row > self._most_bad:
            raise TooManyBadRecordsError(f"{self._bad_in_a_row} bad records in a row; the last: {error}")
        headers = envelope.dead_letter_headers(record.topic, record.partition, record.offset, error)
        await self._producer.send_and_wait(
            dead_letter_name(record.topic), record.value or b"", key=record.key, headers=headers
        )
        log.warning("record diverted", topic=record.topic, offset=record.offset, problem=str(error))


class CatalogueFollower:
    """Brings every control definition to the database."""

    def __init__(self, consumer: AIOKafkaConsumer, service: ProjectionService, topic: str) -> None:
        self._consumer, self._service, self._topic = consumer, service, topic

    async def run(self) -> None:
        """Follow for ever, from the beginning."""
        metadata = await self._consumer._client.fetch_all_metadata()
        numbers = metadata.partitions_for_topic(self._topic)
        if not numbers:
            raise RuntimeError(f"topic {self._topic} does not exist; create the topics with `contracts topics create`")
        partitions = [TopicPartition(self._topic, number) for number in numbers]
        self._consumer.assign(partitions)
        await self._consumer.seek_to_beginning(*partitions)
        while True:
            batches = await self._consumer.getmany(timeout_ms=500)
            definitions = [d for records in batches.values() for record in records if (d := _definition(record))]
            await self._service.take_definition(definitions)


def _definition(record: ConsumerRecord) -> ControlDefinition | None:
    try:
        return envelope.decode(ControlDefinition, record.value, record.headers)
    except envelope.BadRecordError as error:
        BAD_RECORDS.labels(record.topic).inc()
        log.warning("unreadable definition skipped", offset=record.offset, problem=str(error))
        return None
