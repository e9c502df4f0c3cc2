"""The collector's loop: takes requests, runs collections side by side, commits what is done.

Replicas form one group on `collection-requests`. The owner of partition 0 is the scheduler; the owner of a partition
watches its instances and alone writes their status. Offsets are committed as a contiguous prefix, after the work.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalGenerationError, IllegalStateError, UnknownMemberIdError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import ConsumerRecord
from opentelemetry import context
from opentelemetry.context import Context
from plumbline_contracts import envelope, tracing
from plumbline_contracts.events import CollectionRequest
from plumbline_contracts.topics import dead_letter_name
from prometheus_client import Counter, Gauge

from plumbline_collector.publisher import Publisher
from plumbline_collector.registry import ConnectionRegistry
from plumbline_collector.rhythms import Rhythms
from plumbline_collector.runs import Runner
from plumbline_collector.scheduling import OffsetTracker, next_to_run
from plumbline_collector.statuses import StatusBoard

log = structlog.get_logger(__name__)

TOPIC = "collection-requests"
POLL_MS = 200
BEAT_SECONDS = 1.0
COMMIT_SECONDS = 5.0
MOST_WAITING = 500
MOST_BAD_IN_A_ROW = 50
SHARED_NAME_JOINS = 6
SHARED_NAME = "another replica seems to run under the same name; give each its own PLUMBLINE_COLLECTOR_NAME"

RUNNING = Gauge("plumbline_collector_collections_running", "Collections that run now")
WAITING = Gauge("plumbline_collector_requests_waiting", "Requests that were taken and wait for a free place")
BAD_RECORDS = Counter("plumbline_collector_bad_records_total", "Requests that could not be read")

_LOST = (CommitFailedError, IllegalGenerationError, UnknownMemberIdError, IllegalStateError)


class TooManyBadRecordsError(RuntimeError):
    """So many requests in a row cannot be read that something upstream is broken."""


@dataclass(frozen=True)
class _Waiting:
    partition: TopicPartition
    offset: int
    request: CollectionRequest
    trace: Context


@dataclass
class _Job:
    """A running collection and the requests that it answers. `is_given_up`: its connection is gone."""

    task: asyncio.Task[None]
    entries: list[_Waiting]
    is_given_up: bool = False


class Worker(ConsumerRebalanceListener):  # type: ignore[misc]
    """One replica of the collector."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        publisher: Publisher,
        board: StatusBoard,
        registry: ConnectionRegistry,
        runner: Runner,
        rhythms: Rhythms,
        *,
        topic: str,
        concurrency: int,
    ) -> None:
        self._consumer, self._publisher, self._board, self._registry = consumer, publisher, board, registry
        self._runner, self._rhythms = runner, rhythms
        self._topic, self._concurrency = topic, concurrency
        self._owned: set[TopicPartition] = set()
        self._is_member = False
        self._trackers: dict[TopicPartition, OffsetTracker] = {}
        self._uncommitted: dict[TopicPartition, int] = {}
        self._waiting: dict[str, list[_Waiting]] = {}
        self._jobs: dict[str, _Job] = {}
        self._assigned_at: deque[float] = deque(maxlen=SHARED_NAME_JOINS)
        self._bad_in_a_row = 0
        self._next_beat = 0.0
        self._stopping = False
        self.turned_at = time.monotonic()

    @property
    def is_ready(self) -> bool:
        """Whether the group has given this replica its partitions (none, when others have all), the statuses are known
        and the broker answers. False during a rebalance.
        """
        return self._is_member and self._board.is_current

    def stop(self) -> None:
        """End the loop after this turn."""
        self._stopping = True

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Commit what is done, then schedule, watch and take nothing until it is known who owns what."""
        await self._commit()
        self._owned, self._is_member = set(), False

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Keep what is still ours; give up the rest, the new owner repeats it."""
        self._owned, self._is_member = set(assigned), True
        self._trackers = {p: tracker for p, tracker in self._trackers.items() if p in self._owned}
        self._uncommitted = {p: offset for p, offset in self._uncommitted.items() if p in self._owned}
        kept = {key: [e for e in entries if e.partition in self._owned] for key, entries in self._waiting.items()}
        self._waiting = {key: entries for key, entries in kept.items() if entries}
        for key, job in self._jobs.items():
            if not self._owns(key):
                job.task.cancel()
        log.info("partitions assigned", partitions=sorted(p.partition for p in self._owned))
        self._assigned_at.append(time.monotonic())
        if len(self._assigned_at) == SHARED_NAME_JOINS and self._assigned_at[-1] - self._assigned_at[0] < 30:
            log.error("this replica is thrown out of its group again and again", problem=SHARED_NAME)

    async def run(self) -> None:
        """Work until stopped. Errors of the broker leave: the replica starts again."""
        try:
            while not self._stopping:
                self.turned_at = time.monotonic()
                await self._turn()
        finally:
            running = [job.task for job in self._jobs.values()]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await self._rhythms.stop()
        await self._commit()

    async def _turn(self) -> None:
        self._throttle()
        for partition, records in (await self._consumer.getmany(timeout_ms=POLL_MS, max_records=50)).items():
            for record in records:
                await self._take(partition, record)
        self._finish_jobs()
        if self._board.has_caught_up.is_set():
            self._start_jobs()
            await self._beat()
        await self._commit()

    def _throttle(self) -> None:
        """Stop fetching while too many requests wait; polling goes on, so the group keeps this member."""
        waiting = sum(len(entries) for entries in self._waiting.values())
        WAITING.set(waiting)
        if waiting >= MOST_WAITING:
            self._consumer.pause(*self._consumer.assignment())
        elif self._consumer.paused():
            self._consumer.resume(*self._consumer.paused())

    async def _take(self, partition: TopicPartition, record: ConsumerRecord) -> None:
        if partition not in self._owned:  # fetched before a rebalance: the owner, perhaps we again, reads it anew
            return
        tracker = self._trackers.setdefault(partition, OffsetTracker())
        if not tracker.add(record.offset):
            return
        try:
            request = envelope.decode(CollectionRequest, record.value, record.headers)
        except envelope.BadRecordError as error:
            await self._divert(record, error)
            tracker.finish(record.offset)
            return
        self._bad_in_a_row = 0
        if not self._registry.knows(request.key):
            log.warning("request without a connection", tenant=request.tenant, instance=request.instance)
            tracker.finish(record.offset)
            return
        self._waiting.setdefault(request.key, []).append(
            _Waiting(partition, record.offset, request, tracing.of_record(record.headers))
        )

    async def _divert(self, record: ConsumerRecord, error: envelope.BadRecordError) -> None:
        BAD_RECORDS.inc()
        self._bad_in_a_row += 1
        if self._bad_in_a_row > MOST_BAD_IN_A_ROW:
            raise TooManyBadRecordsError(
                f"{self._bad_in_a_row} unreadable requests in a row on {record.topic}; find who writes them; "
                f"the last, at offset {record.offset}: {error}"
            )
        ours = envelope.dead_letter_headers(record.topic, record.partition, record.offset, error)
        headers = [*((name, value or b"") for name, value in record.headers), *ours]
        await self._publisher.dead_letter(dead_letter_name(TOPIC), record.key, record.value, headers)
        log.warning("unreadable request diverted", partition=record.partition, offset=record.offset, problem=str(error))

    def _start_jobs(self) -> None:
        waiting = {key: [e.request.reason for e in entries] for key, entries in self._waiting.items()}
        for key in next_to_run(waiting, set(self._jobs), self._concurrency, tenants=self._tenants()):
            entries = self._waiting.pop(key)
            task = asyncio.create_task(self._work(key, entries), name=f"collect {key}")
            self._jobs[key] = _Job(task, entries)
        RUNNING.set(len(self._jobs))

    def _tenants(self) -> int:
        return len({connection.tenant for connection in self._registry.current.values()})

    def _finish_jobs(self) -> None:
        for key in [key for key, job in self._jobs.items() if job.task.done()]:
            job = self._jobs.pop(key)
            if job.is_given_up:
                self._finish(job.entries)
            if not job.task.cancelled():
                job.task.result()

    def _give_up_removed(self) -> None:
        """Cancel the collections of instances that the connections file has no more; they are paused next."""
        for key, job in self._jobs.items():
            if key not in self._registry.current and not job.is_given_up:
                log.info("collection given up, its connection is gone", instance=key)
                job.is_given_up = True
                job.task.cancel()

    async def _work(self, key: str, entries: list[_Waiting]) -> None:
        """Answer all requests of one instance by one collection, unless the last collection has answered them."""
        connection = self._registry.current.get(key)
        wanted = [entry for entry in entries if not self._is_answered(entry.request)]
        if connection is not None and wanted:
            context.attach(wanted[0].trace)  # ends with this task
            with structlog.contextvars.bound_contextvars(tenant=connection.tenant, instance=connection.instance):
                await self._runner.run(connection, wanted[0].request)
        self._finish(entries)

    def _finish(self, entries: list[_Waiting]) -> None:
        for entry in entries:
            if entry.partition in self._trackers:
                self._trackers[entry.partition].finish(entry.offset)

    def _is_answered(self, request: CollectionRequest) -> bool:
        status = self._board.statuses.get(request.key)
        return status is not None and bool(status.last_success and status.last_success.request_id == request.request_id)

    async def _commit(self) -> None:
        for partition, tracker in self._trackers.items():
            if partition in self._owned and (offset := tracker.committable()) is not None:
                self._uncommitted[partition] = offset
        if not self._uncommitted:
            return
        offsets = dict(self._uncommitted)
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await self._consumer.commit(offsets)
        except _LOST as error:
            log.warning("commit lost in a rebalance, it is tried again while the partition is ours", problem=str(error))
        except TimeoutError:
            log.warning("the broker does not answer, the commit is tried again")
        else:
            self._uncommitted = {p: at for p, at in self._uncommitted.items() if offsets.get(p) != at}

    async def _beat(self) -> None:
        if time.monotonic() < self._next_beat:
            return
        self._next_beat = time.monotonic() + BEAT_SECONDS
        if self._registry.reload():
            self._give_up_removed()
        if self._owned:
            is_scheduler = TopicPartition(self._topic, 0) in self._owned
            await self._rhythms.beat(self._owns, is_scheduler=is_scheduler, busy={*self._jobs, *self._waiting})

    def _owns(self, key: str) -> bool:
        return TopicPartition(self._topic, self._partition_of(key)) in self._owned

    def _partition_of(self, key: str) -> int:
        partitions = sorted(self._consumer.partitions_for_topic(self._topic) or {0})
        return int(DefaultPartitioner()(key.encode(), partitions, partitions))
