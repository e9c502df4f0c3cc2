"""The composition root: the only place that builds clients and wires them."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable

import structlog
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError
from plumbline_contracts import logs
from plumbline_contracts.health import serve_health
from plumbline_contracts.kafka import KafkaSettings
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from plumbline_collector import spool
from plumbline_collector.publisher import Publisher, PublishError
from plumbline_collector.registry import ConnectionRegistry
from plumbline_collector.settings import Settings
from plumbline_collector.statuses import StatusBoard
from plumbline_collector.worker import TooManyBadRecordsError, Worker

log = structlog.get_logger(__name__)

STARTUP_SECONDS = 60.0
STALLED_SECONDS = 120.0


def main(settings: Settings, kafka: KafkaSettings) -> int:
    """Run until a signal; the exit status."""
    logs.configure("collector", form=settings.log_format, level=settings.log_level)
    registry = ConnectionRegistry(settings.connections)
    registry.start()
    if leftovers := spool.delete_leftovers(settings.spool_dir):
        log.warning("spools of an interrupted run deleted", files=leftovers)
    try:
        uvloop.run(_serve(settings, kafka, registry))
    except (KafkaError, PublishError, TooManyBadRecordsError, OSError, RuntimeError) as error:
        log.error("collector stops", problem=f"{type(error).__name__}: {error}", broker=kafka.kafka_bootstrap)
        return 1
    return 0


async def _connected(client: AIOKafkaConsumer | AIOKafkaProducer, kafka: KafkaSettings) -> None:
    """Start a client, waiting for the broker up to a minute."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(KafkaConnectionError),
        stop=stop_after_delay(STARTUP_SECONDS),
        wait=wait_random_exponential(multiplier=0.5, max=5),
        before_sleep=lambda _: log.warning("broker does not answer yet", broker=kafka.kafka_bootstrap),
        reraise=True,
    )
    async for attempt in retrying:
        with attempt:
            await client.start()


async def _serve(settings: Settings, kafka: KafkaSettings, registry: ConnectionRegistry) -> None:
    producer = AIOKafkaProducer(
        **kafka.client_options(),
        enable_idempotence=True,
        acks="all",
        compression_type="zstd",
        linger_ms=5,
        max_request_size=2 * 1024 * 1024,
        request_timeout_ms=30_000,
        retry_backoff_ms=500,
    )
    consumer = AIOKafkaConsumer(
        **kafka.client_options(),
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
    board = StatusBoard(kafka)
    worker = Worker(
        consumer,
        Publisher(producer, kafka, f"/collector/{settings.name}"),
        board,
        registry,
        kafka,
        spool_dir=settings.spool_dir,
        concurrency=settings.concurrency,
        collection_timeout_seconds=settings.collection_timeout_seconds,
    )
    stop_health = _health(settings, worker)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    try:
        await _connected(producer, kafka)
        consumer.subscribe([kafka.topic("collection-requests")], listener=worker)
        await _connected(consumer, kafka)
        async with asyncio.TaskGroup() as group:
            following = group.create_task(board.follow())
            await worker.run()
            following.cancel()
    except* KafkaError as failures:
        raise KafkaError(str(failures.exceptions[0])) from failures
    finally:
        stop_health()
        with contextlib.suppress(KafkaError):
            await consumer.stop()
            await producer.stop()


def _health(settings: Settings, worker: Worker) -> Callable[[], None]:
    if not settings.health_port:
        return lambda: None
    return serve_health(
        settings.health_host,
        settings.health_port,
        is_live=lambda: time.monotonic() - worker.turned_at < STALLED_SECONDS,
        is_ready=lambda: worker.is_ready,
    )
