"""The collector's loop: takes requests, runs collections side by side, writes statuses, schedules and watches.

Replicas form one group on `collection-requests`. The owner of partition 0 is the scheduler; the owner of a partition
watches its instances and alone writes their status. Offsets are committed as a contiguous prefix, after the work.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalGenerationError, IllegalStateError, UnknownMemberIdError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import ConsumerRecord
from plumbline_contracts import envelope, ids
from plumbline_contracts.events import (
    CollectionRequest,
    DatasetState,
    Health,
    InstanceStatus,
    RequestReason,
    RunSummary,
    SnapshotCompleted,
)
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.topics import dead_letter_name
from prometheus_client import Counter, Gauge

from plumbline_collector import collection, statuses
from plumbline_collector.budget import CallBudget
from plumbline_collector.connections import Connection
from plumbline_collector.connectors import open_connector
from plumbline_collector.errors import CollectorError, ReadError
from plumbline_collector.publisher import Publisher
from plumbline_collector.registry import ConnectionRegistry
from plumbline_collector.scheduling import OffsetTracker, due_requests
from plumbline_collector.spool import SUFFIX
from plumbline_collector.statuses import StatusBoard

log = structlog.get_logger(__name__)

POLL_MS = 200
SCHEDULE_SECONDS = 1.0
MOST_WAITING = 500
MOST_BAD_IN_A_ROW = 50

COLLECTIONS = Counter("plumbline_collector_collections_total", "Collections by result", ["product", "result"])
RUNNING = Gauge("plumbline_collector_collections_running", "Collections that run now")
BAD_RECORDS = Counter("plumbline_collector_bad_records_total", "Requests that could not be read")

_LOST = (CommitFailedError, IllegalGenerationError, UnknownMemberIdError, IllegalStateError)


class TooManyBadRecordsError(RuntimeError):
    """So many requests in a row cannot be read that something upstream is broken."""


@dataclass(frozen=True)
class _Waiting:
    partition: TopicPartition
    offset: int
    request: CollectionRequest


class Worker(ConsumerRebalanceListener):  # type: ignore[misc]
    """One replica of the collector."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        publisher: Publisher,
        board: StatusBoard,
        registry: ConnectionRegistry,
        kafka: KafkaSettings,
        *,
        spool_dir: Path,
        concurrency: int,
        collection_timeout_seconds: float,
    ) -> None:
        self._consumer, self._publisher, self._board, self._registry = consumer, publisher, board, registry
        self._topic = kafka.topic("collection-requests")
        self._spool_dir, self._concurrency = spool_dir, concurrency
        self._collection_timeout_seconds = collection_timeout_seconds
        self._owned: set[TopicPartition] = set()
        self._trackers: dict[TopicPartition, OffsetTracker] = {}
        self._waiting: dict[str, list[_Waiting]] = defaultdict(list)
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._budgets: dict[str, CallBudget] = {}
        self._requested: dict[str, str] = {}
        self._next_watch: dict[str, float] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._bad_in_a_row = 0
        self._next_schedule = 0.0
        self._stopping = False
        self.turned_at = time.monotonic()

    @property
    def is_ready(self) -> bool:
        """Whether partitions are assigned (or another replica has them all) and the statuses are known."""
        return bool(self._consumer.assignment()) and self._board.has_caught_up.is_set()

    def stop(self) -> None:
        """End the loop after this turn."""
        self._stopping = True

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """First stop scheduling and watching; collections go on until it is known who owns what."""
        self._owned = set()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Keep what is still ours; give up the rest, the new owner repeats it."""
        self._owned = set(assigned)
        for partition in [p for p in self._trackers if p not in self._owned]:
            del self._trackers[partition]
        for key in list(self._waiting):
            self._waiting[key] = [entry for entry in self._waiting[key] if entry.partition in self._owned]
        for key, job in self._jobs.items():
            if not self._owns(key):
                job.cancel()
        log.info("partitions assigned", partitions=sorted(p.partition for p in self._owned))

    async def run(self) -> None:
        """Work until stopped. Errors of the broker and of the database leave: the replica starts again."""
        await self._board.has_caught_up.wait()
        try:
            while not self._stopping:
                self.turned_at = time.monotonic()
                await self._turn()
        finally:
            tasks = [*self._jobs.values(), *self._watches.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _turn(self) -> None:
        self._throttle()
        for partition, records in (await self._consumer.getmany(timeout_ms=POLL_MS, max_records=50)).items():
            for record in records:
                await self._take(partition, record)
        await self._finish_jobs()
        self._start_jobs()
        await self._commit()
        if time.monotonic() >= self._next_schedule:
            self._next_schedule = time.monotonic() + SCHEDULE_SECONDS
            await self._schedule()

    def _throttle(self) -> None:
        """Stop fetching while too many requests wait; polling goes on, so the group keeps this member."""
        waiting = sum(len(entries) for entries in self._waiting.values())
        if waiting >= MOST_WAITING:
            self._consumer.pause(*self._consumer.assignment())
        elif self._consumer.paused():
            self._consumer.resume(*self._consumer.paused())

    async def _take(self, partition: TopicPartition, record: ConsumerRecord) -> None:
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
        if request.key not in self._registry.current:
            log.warning(
                "request for an instance without a connection", tenant=request.tenant, instance=request.instance
            )
            tracker.finish(record.offset)
            return
        self._waiting[request.key].append(_Waiting(partition, record.offset, request))

    async def _divert(self, record: ConsumerRecord, error: envelope.BadRecordError) -> None:
        BAD_RECORDS.inc()
        self._bad_in_a_row += 1
        if self._bad_in_a_row > MOST_BAD_IN_A_ROW:
            raise TooManyBadRecordsError(f"{self._bad_in_a_row} unreadable requests in a row; the last: {error}")
        headers = envelope.dead_letter_headers(record.topic, record.partition, record.offset, error)
        await self._publisher.dead_letter(dead_letter_name("collection-requests"), record.key, record.value, headers)
        log.warning("unreadable request diverted", offset=record.offset, problem=str(error))

    def _start_jobs(self) -> None:
        for key in [key for key, entries in self._waiting.items() if entries and key not in self._jobs]:
            if len(self._jobs) >= self._concurrency:
                return
            entries = self._waiting.pop(key)
            self._jobs[key] = asyncio.create_task(self._collect(key, entries), name=key)
            RUNNING.set(len(self._jobs))

    async def _finish_jobs(self) -> None:
        for key in [key for key, job in self._jobs.items() if job.done()]:
            job = self._jobs.pop(key)
            RUNNING.set(len(self._jobs))
            if not job.cancelled():
                job.result()

    async def _commit(self) -> None:
        offsets = {p: at for p, t in self._trackers.items() if p in self._owned and (at := t.committable()) is not None}
        if not offsets:
            return
        try:
            await self._consumer.commit(offsets)
        except _LOST as error:
            log.warning("commit lost in a rebalance, the requests are read again", problem=str(error))

    def _owns(self, key: str) -> bool:
        return TopicPartition(self._topic, self._partition_of(key)) in self._owned

    def _partition_of(self, key: str) -> int:
        count = len(self._consumer.partitions_for_topic(self._topic) or {0})
        return int(DefaultPartitioner()(key.encode(), list(range(count)), list(range(count))))

    async def _collect(self, key: str, entries: list[_Waiting]) -> None:
        connection = self._registry.current.get(key)
        request = entries[0].request
        if connection is not None:
            with structlog.contextvars.bound_contextvars(tenant=connection.tenant, instance=connection.instance):
                await self._run(connection, request, len(entries))
        for entry in entries:
            if entry.partition in self._trackers:
                self._trackers[entry.partition].finish(entry.offset)

    async def _run(self, connection: Connection, request: CollectionRequest, coalesced: int) -> None:
        known = self._board.statuses.get(connection.key)
        started_at = collection.start_after(known.last_started_at if known else None)
        await self._report(statuses.fresh(connection, known, is_collecting=True))
        path = self._spool_dir / f"{ids.random_id()}{SUFFIX}"
        log.info("collection started", reason=request.reason, requests=coalesced)
        try:
            marker = await self._marker(connection)
            async with asyncio.timeout(self._collection_timeout_seconds):
                spooled = await collection.collect(
                    connection,
                    path,
                    request_id=request.request_id,
                    reason=request.reason,
                    budget=self._budget(connection),
                    started_at=started_at,
                )
            completed = await self._publisher.publish(spooled)
        except TimeoutError:
            seconds = f"{self._collection_timeout_seconds:.0f}"
            await self._failed(connection, request, started_at, f"The collection did not end within {seconds} s.")
        except CollectorError as error:
            await self._failed(connection, request, started_at, str(error))
        else:
            await self._succeeded(connection, request, completed, marker)
        finally:
            path.unlink(missing_ok=True)

    async def _marker(self, connection: Connection) -> str | None:
        """Where the record of changes ends before reading: whatever moves later is seen as a change."""
        async with open_connector(connection, self._budget(connection)) as connector:
            try:
                return (await connector.latest_change()).marker
            except ReadError:
                return None

    def _budget(self, connection: Connection) -> CallBudget:
        if connection.key not in self._budgets:
            known = self._board.statuses.get(connection.key)
            self._budgets[connection.key] = CallBudget(connection.api_share, known.budget if known else None)
        return self._budgets[connection.key]

    async def _succeeded(
        self, connection: Connection, request: CollectionRequest, completed: SnapshotCompleted, marker: str | None
    ) -> None:
        unread = [summary for summary in completed.datasets if summary.state is not DatasetState.OK]
        withheld = [summary for summary in completed.datasets if summary.missing_fields]
        health = Health.DEGRADED if unread or withheld else Health.HEALTHY
        run = _summary(request, completed.started_at, succeeded=True, message=_sentence(completed))
        COLLECTIONS.labels(connection.product, "succeeded").inc()
        log.info("snapshot published", snapshot_id=completed.snapshot_id, message=run.message)
        await self._report(
            statuses.fresh(
                connection,
                self._board.statuses.get(connection.key),
                is_collecting=False,
                health=health,
                message=run.message,
                last_run=run.model_copy(update={"snapshot_id": completed.snapshot_id}),
                last_success=run.model_copy(update={"snapshot_id": completed.snapshot_id}),
                last_started_at=completed.started_at,
                next_full_at=completed.started_at + connection.schedule.full,
                change_marker=marker,
                consecutive_failures=0,
                datasets=completed.datasets,
                budget=self._budget(connection).state(),
            )
        )

    async def _failed(
        self, connection: Connection, request: CollectionRequest, started_at: datetime, message: str
    ) -> None:
        known = self._board.statuses.get(connection.key)
        failures = (known.consecutive_failures if known else 0) + 1
        COLLECTIONS.labels(connection.product, "failed").inc()
        log.error("collection failed", problem=message, failures=failures)
        await self._report(
            statuses.fresh(
                connection,
                known,
                is_collecting=False,
                health=Health.FAILED,
                message=message,
                last_run=_summary(request, started_at, succeeded=False, message=message),
                consecutive_failures=failures,
                budget=self._budget(connection).state(),
            )
        )

    async def _report(self, status: InstanceStatus) -> None:
        self._board.put(status)
        await self._publisher.status(status)

    async def _schedule(self) -> None:
        if self._registry.reload():
            self._budgets.clear()
        if not self._owned:
            return
        await self._pause_missing()
        if TopicPartition(self._topic, 0) in self._owned:
            await self._request_due()
        self._watch()

    async def _request_due(self) -> None:
        for request in due_requests(self._registry.current.values(), self._board.statuses, datetime.now(UTC)):
            if request.key not in self._jobs and self._requested.get(request.key) != request.request_id:
                await self._publisher.request(request)
                self._requested[request.key] = request.request_id

    async def _pause_missing(self) -> None:
        """An instance without a connection is paused, never disconnected."""
        for key, status in list(self._board.statuses.items()):
            is_missing = key not in self._registry.current
            if is_missing and status.health is not Health.PAUSED and self._owns(key):
                changes = {
                    "health": Health.PAUSED,
                    "message": "The connections file has no entry for this instance; add it to read on.",
                    "updated_at": datetime.now(UTC),
                    "is_collecting": False,
                }
                await self._report(status.model_copy(update=changes))

    def _watch(self) -> None:
        now = time.monotonic()
        for key in [key for key, task in self._watches.items() if task.done()]:
            task = self._watches.pop(key)
            if not task.cancelled():
                task.result()
        for key, connection in self._registry.current.items():
            status = self._board.statuses.get(key)
            is_idle = key not in self._jobs and key not in self._watches and not self._waiting.get(key)
            if not is_idle or status is None or status.change_marker is None or not self._owns(key):
                continue
            if now >= self._next_watch.setdefault(key, now + connection.schedule.changes.total_seconds()):
                self._next_watch[key] = now + connection.schedule.changes.total_seconds()
                self._watches[key] = asyncio.create_task(self._look(connection, status), name=f"watch {key}")

    async def _look(self, connection: Connection, status: InstanceStatus) -> None:
        try:
            async with open_connector(connection, self._budget(connection)) as connector:
                found = (await connector.latest_change()).marker
        except (CollectorError, ReadError) as error:
            log.warning(
                "change watch failed", tenant=connection.tenant, instance=connection.instance, problem=str(error)
            )
            return
        request_id = ids.change_request_id(connection.tenant, connection.instance, found)
        if found == status.change_marker or self._requested.get(f"change {connection.key}") == request_id:
            return
        self._requested[f"change {connection.key}"] = request_id
        await self._publisher.request(
            CollectionRequest(
                request_id=request_id,
                tenant=connection.tenant,
                instance=connection.instance,
                reason=RequestReason.CHANGE,
                requested_by="change-watch",
                requested_at=datetime.now(UTC),
                detail=found[:200],
            )
        )


def _summary(request: CollectionRequest, started_at: datetime, *, succeeded: bool, message: str) -> RunSummary:
    return RunSummary(
        request_id=request.request_id,
        reason=request.reason,
        started_at=started_at,
        completed_at=datetime.now(UTC),
        succeeded=succeeded,
        message=message,
    )


def _sentence(completed: SnapshotCompleted) -> str:
    unread = [summary for summary in completed.datasets if summary.state is not DatasetState.OK]
    withheld = [missing.field for summary in completed.datasets for missing in summary.missing_fields]
    rows = sum(summary.row_count for summary in completed.datasets)
    text = f"{len(completed.datasets)} datasets read, {rows} rows"
    if unread:
        text += "; " + ", ".join(f"{summary.name} {summary.state}" for summary in unread)
    if withheld:
        text += f"; without {', '.join(withheld)}"
    return text + "."
