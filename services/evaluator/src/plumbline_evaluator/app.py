"""The composition root and the Faust adapter: the loss-free loop over `config-snapshots`.

A record is acknowledged after its results are; data errors go to the dead-letter topic; anything else ends the
process, and the record is read again.
"""

import asyncio
import tempfile
from collections.abc import Callable
from typing import Any

import faust
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError
from mode.supervisors import CrashingSupervisor
from plumbline_contracts import envelope, logs
from plumbline_contracts.health import serve_health
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.topics import dead_letter_name
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from plumbline_evaluator.catalogue.loading import Catalogue, load
from plumbline_evaluator.judging.evaluation import Limits
from plumbline_evaluator.publication import publish_catalogue, read_published
from plumbline_evaluator.settings import Settings
from plumbline_evaluator.sources import SnapshotError
from plumbline_evaluator.sources.offsets import OffsetRange
from plumbline_evaluator.worker import BAD_RECORDS, Judging

log = structlog.get_logger(__name__)

STARTUP_SECONDS = 60.0
SEND_SECONDS = 60.0
STALLED_SECONDS = 300.0
LARGEST_RECORD_BYTES = 2 * 1024 * 1024


class TooManyBadRecordsError(RuntimeError):
    """So many completions in a row cannot be judged that something upstream is broken."""


class Service:
    """The evaluator as one Faust application with one agent."""

    def __init__(self, settings: Settings, kafka: KafkaSettings, catalogue: Catalogue) -> None:
        self._settings, self._kafka, self._catalogue = settings, kafka, catalogue
        self._judging: Judging | None = None
        self._bad_in_a_row = 0
        self._is_assigned = False
        self.app = _faust_app(settings, kafka)
        self._producer: AIOKafkaProducer | None = None
        self._wire()

    def _wire(self) -> None:
        source = self.app.topic(self._kafka.topic("config-snapshots"), value_type=bytes)
        self.app.agent(source, name="judging")(self._consume)
        self.app.on_rebalance_complete.connect(self._assigned)
        self.app.on_partitions_revoked.connect(self._revoked)

    async def _assigned(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 - Faust's signal
        self._is_assigned = True

    async def _revoked(self, *_: Any, **__: Any) -> None:  # noqa: ANN401 - Faust's signal
        self._is_assigned = False

    @property
    def is_ready(self) -> bool:
        """Whether partitions are assigned and the catalogue is published."""
        return self._is_assigned and self._judging is not None and not self.app.should_stop

    @property
    def is_live(self) -> bool:
        """Whether the process is not about to end and a running evaluation moves."""
        judging = self._judging
        return not self.app.should_stop and (judging is None or judging.is_moving(STALLED_SECONDS))

    async def _consume(self, stream: Any) -> None:  # noqa: ANN401 - Faust's stream
        judging = await self._prepare()
        async for events in stream.noack_take(1, within=0.05):
            for event in events:
                message = event.message
                headers = (
                    list((message.headers or {}).items()) if isinstance(message.headers, dict) else message.headers
                )
                try:
                    await judging.handle(event.value, headers or [])
                    self._bad_in_a_row = 0
                except (envelope.BadRecordError, SnapshotError) as error:
                    await self._divert(message, event.value, error)
                await stream.ack(event)

    async def _prepare(self) -> Judging:
        """Start the clients and publish the catalogue: acknowledged before the first result."""
        options = self._kafka.client_options()
        self._producer = AIOKafkaProducer(
            **options,
            enable_idempotence=True,
            acks="all",
            compression_type="zstd",
            linger_ms=5,
            max_request_size=LARGEST_RECORD_BYTES,
            request_timeout_ms=30_000,
            retry_backoff_ms=500,
        )
        reader = AIOKafkaConsumer(
            **options, enable_auto_commit=False, max_partition_fetch_bytes=LARGEST_RECORD_BYTES, fetch_max_wait_ms=50
        )
        await self._producer.start()
        await reader.start()
        published = await read_published(reader, self._kafka)
        await publish_catalogue(self._catalogue, published, self._send, self._settings.name)
        limits = Limits(exposed_per_control=self._settings.exposed_per_control)
        offsets = OffsetRange(reader, self._kafka.topic("snapshot-chunks"))
        self._judging = Judging(self._catalogue, offsets, self._send, name=self._settings.name, limits=limits)
        return self._judging

    async def _send(self, topic: str, key: str | bytes | None, value: bytes, headers: envelope.Headers) -> None:
        assert self._producer is not None
        encoded = key.encode() if isinstance(key, str) else key
        async with asyncio.timeout(SEND_SECONDS):
            await self._producer.send_and_wait(self._kafka.topic(topic), value, key=encoded, headers=headers)

    async def _divert(self, message: Any, value: bytes | None, error: Exception) -> None:  # noqa: ANN401
        BAD_RECORDS.inc()
        self._bad_in_a_row += 1
        if self._bad_in_a_row > self._settings.bad_records_in_a_row:
            raise TooManyBadRecordsError(f"{self._bad_in_a_row} bad completions in a row; the last: {error}")
        headers = envelope.dead_letter_headers(message.topic, message.partition, message.offset, error)
        await self._send(dead_letter_name("config-snapshots"), message.key, value or b"", headers)
        log.warning("completion diverted", partition=message.partition, offset=message.offset, problem=str(error))

    async def close(self) -> None:
        """Flush and close the producer."""
        if self._producer is not None:
            await self._producer.stop()


def _faust_app(settings: Settings, kafka: KafkaSettings) -> faust.App:
    return faust.App(
        kafka.group("evaluator"),
        broker=[f"aiokafka://{host.strip()}" for host in kafka.kafka_bootstrap.split(",")],
        broker_credentials=_credentials(kafka),
        store="memory://",
        datadir=tempfile.mkdtemp(prefix="plumbline-evaluator-"),
        key_serializer="raw",
        value_serializer="raw",
        agent_supervisor=CrashingSupervisor,
        consumer_group_instance_id=settings.name,
        consumer_auto_offset_reset="earliest",
        broker_client_id=settings.name,
        broker_session_timeout=10.0,
        broker_heartbeat_interval=3.0,
        broker_rebalance_timeout=30.0,
        broker_request_timeout=30.0,
        broker_commit_interval=0.5,
        producer_request_timeout=30.0,
        consumer_max_fetch_size=4 * LARGEST_RECORD_BYTES,
        stream_buffer_maxsize=64,
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        web_enabled=False,
        web_tables_enabled=False,
        web_router_enabled=False,
    )


def _credentials(kafka: KafkaSettings) -> Any:  # noqa: ANN401 - Faust's own types
    options = kafka.client_options()
    context = options["ssl_context"]
    if "sasl_mechanism" in options:
        return faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return faust.SSLCredentials(context=context) if context is not None else None


async def _broker_answers(kafka: KafkaSettings) -> None:
    """Wait for the broker up to a minute. Raises KafkaConnectionError."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(KafkaConnectionError),
        stop=stop_after_delay(STARTUP_SECONDS),
        wait=wait_random_exponential(multiplier=0.5, max=5),
        before_sleep=lambda _: log.warning("broker does not answer yet", broker=kafka.kafka_bootstrap),
        reraise=True,
    )
    async for attempt in retrying:
        with attempt:
            probe = AIOKafkaAdminClient(**kafka.client_options())
            try:
                await probe.start()
            finally:
                await probe.close()


def main(settings: Settings, kafka: KafkaSettings) -> int:
    """Run until a signal; the exit status."""
    logs.configure("evaluator", form=settings.log_format, level=settings.log_level)
    catalogue = load(settings.controls)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_broker_answers(kafka))
    except KafkaError as error:
        log.error("evaluator stops: the broker does not answer", broker=kafka.kafka_bootstrap, problem=str(error))
        return 1
    service = Service(settings, kafka, catalogue)
    stop_health = _health(settings, service)
    worker = faust.Worker(service.app, loop=loop, override_logging=False, redirect_stdouts=False, quiet=True)
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    finally:
        stop_health()
    return 0


def _health(settings: Settings, service: Service) -> Callable[[], None]:
    if not settings.health_port:
        return lambda: None
    return serve_health(
        settings.health_host, settings.health_port, is_live=lambda: service.is_live, is_ready=lambda: service.is_ready
    )
