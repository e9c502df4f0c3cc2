"""The composition root: the only place that builds clients and wires them."""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from typing import Any

import structlog
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from plumbline_contracts import lifecycle, logs
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.lifecycle import StartError
from plumbline_contracts.topics import dead_letter_name

from plumbline_collector import spool
from plumbline_collector.budget import Budgets
from plumbline_collector.publisher import Publisher, PublishError
from plumbline_collector.registry import ConnectionRegistry
from plumbline_collector.rhythms import Rhythms
from plumbline_collector.runs import Runner
from plumbline_collector.settings import Settings
from plumbline_collector.statuses import StatusBoard
from plumbline_collector.worker import TOPIC, TooManyBadRecordsError, Worker

log = structlog.get_logger(__name__)

TOPICS = ("snapshot-chunks", "config-snapshots", "instance-status", TOPIC, dead_letter_name(TOPIC))
STALLED_SECONDS = 180.0


def main(settings: Settings, kafka: KafkaSettings) -> int:
    """Run until a signal; the exit status. Raises ConnectionsError when the connections file cannot be used."""
    registry = ConnectionRegistry(settings.connections)
    registry.start()
    logs.configure("collector", form=settings.log_format, level=settings.log_level)
    if leftovers := spool.delete_leftovers(settings.own_spool_dir):
        log.warning("spools of an interrupted run deleted", files=leftovers)
    try:
        uvloop.run(_serve(settings, kafka, registry))
    except (KafkaError, PublishError, TooManyBadRecordsError, StartError, spool.SpoolError) as error:
        log.error("collector stops", problem=lifecycle.problem(error, kafka), broker=kafka.kafka_bootstrap)
        return 1
    return 0


async def _serve(settings: Settings, kafka: KafkaSettings, registry: ConnectionRegistry) -> None:
    producer, consumer, reader = _producer(kafka), _consumer(settings, kafka), _reader(kafka)
    publisher = Publisher(
        producer, kafka, f"/collector/{settings.name}", deadline_seconds=settings.publish_timeout_seconds
    )
    board, budgets = StatusBoard(kafka), Budgets()
    runner = Runner(
        publisher,
        board,
        budgets,
        spool_dir=settings.own_spool_dir,
        timeout_seconds=settings.collection_timeout_seconds,
    )
    rhythms = Rhythms(publisher, board, registry, budgets)
    topic = kafka.topic(TOPIC)
    worker = Worker(
        consumer, publisher, board, registry, runner, rhythms, topic=topic, concurrency=settings.concurrency
    )
    reader.subscribe([board.topic])
    consumer.subscribe([topic], listener=worker)
    clients, stopping = [producer, reader, consumer], lifecycle.on_signal()
    starting = lifecycle.start_clients(clients, kafka, TOPICS, settings.startup_timeout_seconds)
    with _probes(settings, worker):
        try:
            if await lifecycle.before(stopping, starting):
                await _until(stopping, worker, board.follow(reader))
        finally:
            await lifecycle.stop_clients(clients)


async def _until(stopping: asyncio.Event, worker: Worker, follow: Coroutine[Any, Any, None]) -> None:
    """Work and follow the statuses until `stopping` is set, then let the turn end. An error of either leaves."""
    working, following = asyncio.create_task(worker.run()), asyncio.create_task(follow)
    signalled = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([working, following, signalled], return_when=asyncio.FIRST_COMPLETED)
        worker.stop()
        if signalled.done():
            await asyncio.wait([working])
        for task in (working, following):
            if task.done():
                task.result()
    finally:
        for pending in (working, following, signalled):
            pending.cancel()
        await asyncio.gather(working, following, signalled, return_exceptions=True)


def _producer(kafka: KafkaSettings) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        **lifecycle.client_options(kafka),
        enable_idempotence=True,
        acks="all",
        compression_type="zstd",
        linger_ms=5,
        max_request_size=2 * 1024 * 1024,
        request_timeout_ms=30_000,
        retry_backoff_ms=1000,
    )


def _consumer(settings: Settings, kafka: KafkaSettings) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **lifecycle.client_options(kafka),
        group_id=kafka.group("collector"),
        group_instance_id=settings.name,
        client_id=settings.name,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=10_000,
        heartbeat_interval_ms=2_000,
        rebalance_timeout_ms=10_000,
        max_poll_interval_ms=300_000,
        fetch_max_wait_ms=100,
        retry_backoff_ms=500,
    )


def _reader(kafka: KafkaSettings) -> AIOKafkaConsumer:
    """Reads a whole topic, in no group."""
    return AIOKafkaConsumer(
        **lifecycle.client_options(kafka), enable_auto_commit=False, auto_offset_reset="earliest", retry_backoff_ms=1000
    )


def _probes(settings: Settings, worker: Worker) -> AbstractContextManager[None]:
    """A broker that is away makes the collector unready, never dead."""
    return lifecycle.probes(
        settings.health_host,
        settings.health_port,
        is_live=lambda: time.monotonic() - worker.turned_at < STALLED_SECONDS,
        is_ready=lambda: worker.is_ready,
        variable="PLUMBLINE_COLLECTOR_HEALTH_PORT",
    )
