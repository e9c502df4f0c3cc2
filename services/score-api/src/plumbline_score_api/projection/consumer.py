"""The projector's loop over `control-results`, `instance-status` and `control-catalogue`.

All three are consumed in a group and committed after durable writes. The catalogue is small and compacted, so every
replica also reads it whole when it starts: a database that was restored from a backup gets its definitions back.
"""

import asyncio
import contextlib
import time
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalGenerationError, IllegalStateError, UnknownMemberIdError
from aiokafka.structs import ConsumerRecord
from opentelemetry import context
from plumbline_contracts import envelope, tracing
from plumbline_contracts.events import ControlDefinition, ControlResults, InstanceStatus
from plumbline_contracts.kafka import KafkaSettings
from prometheus_client import Counter, Gauge
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay, wait_random_exponential

from plumbline_score_api.broker import Sender
from plumbline_score_api.projection.evaluations import refuse_large
from plumbline_score_api.projection.service import LostSwitchError, ProjectionService
from plumbline_score_api.projection.upkeep import LATER, Clockwork

log = structlog.get_logger(__name__)

BAD_RECORDS = Counter("plumbline_score_api_bad_records_total", "Records that could not be projected", ["topic"])
LAG_RECORDS = Gauge(
    "plumbline_score_api_projection_lag_records",
    "Records on this replica's partitions that it has yet to do",
    ["topic"],
)
LAG_SECONDS = Gauge(
    "plumbline_score_api_projection_lag_seconds",
    "Age of the record that was done last; 0 when none is left to do",
    ["topic"],
)
CATALOGUE_LEFT = Gauge(
    "plumbline_score_api_catalogue_left_records",
    "Records of control-catalogue that this replica has yet to read before it begins",
)
WAITING = Gauge("plumbline_score_api_waiting_evaluations", "Whole evaluations that wait for control definitions")
TOPICS = ("control-results", "control-catalogue", "instance-status")
POLL_MS = 200
RECORDS_AT_ONCE = 50
DATABASE_SECONDS = 60.0
COMMIT_SECONDS = 10.0
WAITING_POLL_SECONDS = 1.0
WAITING_TOLD_SECONDS = 60.0
_LOST = (CommitFailedError, IllegalGenerationError, UnknownMemberIdError, IllegalStateError)


class TooManyBadRecordsError(RuntimeError):
    """So many records of a topic in a row cannot be projected that something upstream is broken."""


class Patience:
    """Does database work again while the database is away, for a minute. `transient` are its passing failures."""

    def __init__(self, transient: tuple[type[Exception], ...]) -> None:
        self._again = (*transient, LostSwitchError, *LATER)

    async def do(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work`, which may be done twice. Raises the last failure when the minute is over."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(self._again),
            stop=stop_after_delay(DATABASE_SECONDS),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            before_sleep=self._tell,
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                await work()

    @staticmethod
    def _tell(state: RetryCallState) -> None:
        problem = str(state.outcome and state.outcome.exception())
        log.warning("a write did not succeed, trying again", attempts=state.attempt_number, problem=problem)


class Projector(ConsumerRebalanceListener):  # type: ignore[misc]
    """One replica of the role `project`."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        sender: Sender,
        service: ProjectionService,
        kafka: KafkaSettings,
        patience: Patience,
        clockwork: Clockwork,
        *,
        bad_records_in_a_row: int,
    ) -> None:
        self._consumer, self._sender, self._service, self._patience = consumer, sender, service, patience
        self._clockwork = clockwork
        self._most_bad = bad_records_in_a_row
        self._bad_in_a_row: Tally[str] = Tally()
        self._done: dict[TopicPartition, int] = {}
        self._looked_at = self._told_at = float("-inf")
        self._is_stopping = False
        self.is_ready = False
        """Whether the group has given this replica its share, be it empty."""
        self.turned_at = time.monotonic()
        takers = (self._take_part, self._take_definition, self._take_status)
        self._names = {kafka.topic(name): name for name in TOPICS}
        self._takers = dict(zip(TOPICS, takers, strict=True))

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Not ready until the group has settled again."""
        self.is_ready = False

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """The group has settled."""
        self.is_ready = True

    def stop(self) -> None:
        """End the loop after the record in hand."""
        self._is_stopping = True

    async def run(self) -> None:
        """Project until stopped. A lasting failure of broker or database leaves; nothing is committed too early."""
        self._consumer.subscribe(list(self._names), listener=self)
        while not self._is_stopping:
            self.turned_at = time.monotonic()
            batches = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_AT_ONCE)
            done = [self._project_in_order(partition, records) for partition, records in batches.items()]
            for failure in await asyncio.gather(*done, return_exceptions=True):
                if failure is not None:
                    raise failure
            await self._commit()
            await self._measure()
            await self._look_after_waiting()

    async def _project_in_order(self, partition: TopicPartition, records: list[ConsumerRecord]) -> None:
        """Records of one partition, one after the other: those of others are done meanwhile, and wait for none."""
        for record in records:
            if self._is_stopping:
                return
            self.turned_at = time.monotonic()
            await self._project(record)
            age = time.time() - record.timestamp / 1000
            LAG_SECONDS.labels(self._names[record.topic]).set(max(0.0, age))
            self._done[partition] = record.offset + 1

    async def _commit(self) -> None:
        """Commit what is done. A broker that is away is no reason to stop: it is committed later."""
        if not self._done:
            return
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await self._consumer.commit(self._done)
        except TimeoutError:
            log.warning("the broker does not take the offsets, trying again")
            return
        except _LOST as error:
            log.warning("commit lost in a rebalance, the records are read again", problem=str(error))
        self._done = {}

    async def _measure(self) -> None:
        """How far behind this replica is, over the partitions that it has read from."""
        left: Tally[str] = Tally()
        for partition in self._consumer.assignment():
            end = self._consumer.highwater(partition)
            if end is not None:
                left[self._names[partition.topic]] += max(0, end - await self._consumer.position(partition))
        for name in TOPICS:
            LAG_RECORDS.labels(name).set(left[name])
            if not left[name]:
                LAG_SECONDS.labels(name).set(0)

    async def _look_after_waiting(self) -> None:
        """Apply evaluations whose definitions came, say every minute what the others wait for, and do what is due."""
        now = time.monotonic()
        if now - self._looked_at < WAITING_POLL_SECONDS:
            return
        self._looked_at = now
        await self._patience.do(self._apply_waiting)
        await self._patience.do(self._clockwork.turn)

    async def _apply_waiting(self) -> None:
        problems = await self._service.apply_waiting()
        WAITING.set(len(problems))
        if problems and time.monotonic() - self._told_at >= WAITING_TOLD_SECONDS:
            self._told_at = time.monotonic()
            log.warning("evaluations wait for control definitions", waiting=len(problems), oldest=problems[0])

    async def _project(self, record: ConsumerRecord) -> None:
        name = self._names[record.topic]
        if record.value is None and name != "control-results":
            return  # a tombstone of a compacted topic: no news
        token = context.attach(tracing.of_record(record.headers))
        try:
            await self._patience.do(partial(self._takers[name], record))
        except envelope.BadRecordError as error:
            await self._divert(name, record, error)
        else:
            self._bad_in_a_row[name] = 0
        finally:
            context.detach(token)

    async def _take_part(self, record: ConsumerRecord) -> None:
        await self._service.take_part(envelope.decode(ControlResults, record.value, record.headers))

    async def _take_definition(self, record: ConsumerRecord) -> None:
        await self._service.take_definitions([_definition(record)])

    async def _take_status(self, record: ConsumerRecord) -> None:
        await self._service.take_status(envelope.decode(InstanceStatus, record.value, record.headers))

    async def _divert(self, name: str, record: ConsumerRecord, error: envelope.BadRecordError) -> None:
        """Bring the record to the dead letters with its key, bytes and headers; ours say what was wrong."""
        BAD_RECORDS.labels(name).inc()
        self._bad_in_a_row[name] += 1
        if self._bad_in_a_row[name] > self._most_bad:
            raise TooManyBadRecordsError(
                f"{self._bad_in_a_row[name]} records in a row on {record.topic} cannot be read; find who writes them; "
                f"the last, at partition {record.partition} offset {record.offset}: {error}"
            )
        await self._sender.dead_letter(name, record, error)
        log.warning("record diverted", topic=name, partition=record.partition, offset=record.offset, problem=str(error))


async def read_catalogue(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], service: ProjectionService, patience: Patience
) -> None:
    """Bring every control definition that is on the topic now to the database. The consumer is in no group."""
    consumer.assign(partitions)
    for partition, offset in (await consumer.beginning_offsets(partitions)).items():
        consumer.seek(partition, offset)
    ends = await consumer.end_offsets(partitions)
    while left := sum([max(0, end - await consumer.position(partition)) for partition, end in ends.items()]):
        CATALOGUE_LEFT.set(left)
        batches = await consumer.getmany(timeout_ms=500, max_records=RECORDS_AT_ONCE)
        found = [d for records in batches.values() for d in _definitions(records)]
        await patience.do(partial(service.take_definitions, found))
    CATALOGUE_LEFT.set(0)


def _definitions(records: list[ConsumerRecord]) -> Iterator[ControlDefinition]:
    """The definitions in records, without those that the group diverts."""
    for record in records:
        with contextlib.suppress(envelope.BadRecordError):
            yield _definition(record)


def _definition(record: ConsumerRecord) -> ControlDefinition:
    found = envelope.decode(ControlDefinition, record.value, record.headers)
    refuse_large(found.catalogue_generation, "catalogue_generation")
    return found
