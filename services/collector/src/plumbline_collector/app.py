"""The composition root: the only place that builds clients and wires them."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator

import structlog
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError
from plumbline_contracts import logs
from plumbline_contracts.health import serve_health
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.topics import dead_letter_name
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_delay,
    wait_fixed,
    wait_random_exponential,
)

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
TOPICS_SECONDS = 5.0
STALLED_SECONDS = 180.0
STOP_SECONDS = 5.0


class StartError(RuntimeError):
    """The collector cannot begin its work; the message names the cause and the next step."""


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
        log.error("collector stops", problem=f"{type(error).__name__}: {error}", broker=kafka.kafka_bootstrap)
        return 1
    return 0


async def _serve(settings: Settings, kafka: KafkaSettings, registry: ConnectionRegistry) -> None:
    try:
        producer, consumer, reader = _producer(kafka), _consumer(settings, kafka), _reader(kafka)
    except OSError as error:
        raise StartError(f"a file for the broker's login cannot be read: {error}") from error
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
    with _health(settings, worker):
        starting = asyncio.create_task(_start([producer, reader, consumer], kafka, settings.startup_timeout_seconds))
        async with _connected(starting, [producer, reader, consumer], on_signal=worker.stop) as is_connected:
            if is_connected:
                await _together(worker, board, reader)


async def _together(worker: Worker, board: StatusBoard, reader: AIOKafkaConsumer) -> None:
    """Work and follow the statuses until the first of both ends; its error leaves."""
    tasks = [asyncio.create_task(worker.run()), asyncio.create_task(board.follow(reader))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _producer(kafka: KafkaSettings) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        **kafka.client_options(),
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


def _reader(kafka: KafkaSettings) -> AIOKafkaConsumer:
    """Reads a whole topic, in no group."""
    return AIOKafkaConsumer(
        **kafka.client_options(), enable_auto_commit=False, auto_offset_reset="earliest", retry_backoff_ms=1000
    )


@contextlib.asynccontextmanager
async def _connected(
    starting: asyncio.Task[None], clients: list[AIOKafkaConsumer | AIOKafkaProducer], *, on_signal: Callable[[], None]
) -> AsyncIterator[bool]:
    """With the clients started; False when a signal came before the broker answered. They are stopped in the end."""

    def stop() -> None:
        starting.cancel()
        on_signal()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await asyncio.wait([starting])
        if not starting.cancelled():
            starting.result()
        yield not starting.cancelled()
    finally:
        await _stop(clients)


async def _stop(clients: list[AIOKafkaConsumer | AIOKafkaProducer]) -> None:
    """Stop the clients within some seconds, whatever state they are in: one would wait for a broker that is away."""
    stopping = [asyncio.create_task(client.stop()) for client in clients]
    _, late = await asyncio.wait(stopping, timeout=STOP_SECONDS)
    for task in late:
        task.cancel()
    for result in await asyncio.gather(*stopping, return_exceptions=True):
        if isinstance(result, BaseException):
            log.warning("a client of the broker did not stop cleanly", problem=f"{type(result).__name__}: {result}")


async def _start(
    clients: list[AIOKafkaConsumer | AIOKafkaProducer], kafka: KafkaSettings, timeout_seconds: float
) -> None:
    """Start the clients, in order. Raises StartError when the broker or a topic is not there."""
    admin = AIOKafkaAdminClient(**kafka.client_options())
    try:
        await _start_one(admin, kafka, timeout_seconds)
        await _require_topics(admin, kafka)
        for client in clients:
            await _start_one(client, kafka, timeout_seconds)
    except KafkaConnectionError as error:
        raise StartError(
            f"the broker at {kafka.kafka_bootstrap} did not answer within {timeout_seconds:.0f} s; "
            "check that it runs, PLUMBLINE_KAFKA_BOOTSTRAP and the PLUMBLINE_KAFKA_ security settings"
        ) from error
    finally:
        await admin.close()


async def _require_topics(admin: AIOKafkaAdminClient, kafka: KafkaSettings) -> None:
    """Raises StartError when a topic that this service writes or reads does not exist after some seconds."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(StartError),
        stop=stop_after_delay(TOPICS_SECONDS),
        wait=wait_fixed(0.5),
        reraise=True,
    )
    async for attempt in retrying:
        with attempt:
            missing = sorted({kafka.topic(name) for name in TOPICS} - set(await admin.list_topics()))
            if missing:
                raise StartError(
                    f"the broker at {kafka.kafka_bootstrap} shows no topic {', '.join(missing)}; "
                    "create the topics with `contracts topics create`, or check PLUMBLINE_TOPIC_PREFIX and the ACLs"
                )


async def _start_one(
    client: AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient, kafka: KafkaSettings, timeout_seconds: float
) -> None:
    """Start a client, waiting for the broker."""

    def say(state: RetryCallState) -> None:
        log.warning("broker does not answer yet", broker=kafka.kafka_bootstrap, attempts=state.attempt_number)

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(KafkaConnectionError),
        stop=stop_after_delay(timeout_seconds),
        wait=wait_random_exponential(multiplier=0.5, max=5),
        before_sleep=say,
        reraise=True,
    )
    async for attempt in retrying:
        with attempt:
            await client.start()


@contextlib.contextmanager
def _health(settings: Settings, worker: Worker) -> Iterator[None]:
    """Serve the probes, unless the port is 0. A broker that is away makes the collector unready, never dead."""
    if not settings.health_port:
        yield
        return
    try:
        stop = serve_health(
            settings.health_host,
            settings.health_port,
            is_live=lambda: time.monotonic() - worker.turned_at < STALLED_SECONDS,
            is_ready=lambda: worker.is_ready,
        )
    except OSError as error:
        place = f"{settings.health_host}:{settings.health_port}"
        raise StartError(
            f"the health port {place} cannot be opened ({error.strerror}); set PLUMBLINE_COLLECTOR_HEALTH_PORT"
        ) from error
    try:
        yield
    finally:
        stop()
