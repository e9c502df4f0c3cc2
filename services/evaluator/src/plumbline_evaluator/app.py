"""The composition root: the only place that builds clients and wires them."""

import asyncio
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import faust
import structlog
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from faust.auth import OAuthCredentials
from mode.supervisors import CrashingSupervisor
from plumbline_contracts import lifecycle, logs
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.lifecycle import StartError
from plumbline_contracts.topics import dead_letter_name

from plumbline_evaluator.catalogue.loading import Catalogue
from plumbline_evaluator.catalogues import Catalogues
from plumbline_evaluator.completions import TOPIC, Completions, TooManyBadRecordsError
from plumbline_evaluator.judging.evaluation import Limits
from plumbline_evaluator.publication import publish_catalogue, read_published
from plumbline_evaluator.sender import Sender, SilentBrokerError
from plumbline_evaluator.settings import Settings
from plumbline_evaluator.sources.newest import NewestCompletions
from plumbline_evaluator.sources.offsets import OffsetRange
from plumbline_evaluator.worker import Judging, Send

log = structlog.get_logger(__name__)

TOPICS = (
    TOPIC, dead_letter_name(TOPIC), "snapshot-chunks", "control-results", "control-catalogue", "collection-requests",
)  # fmt: skip
LARGEST_RECORD_BYTES = 2 * 1024 * 1024


def main(settings: Settings, kafka: KafkaSettings) -> int:
    """Run until a signal; the exit status. Raises CatalogueError when the catalogue cannot be used."""
    catalogues = Catalogues(settings.controls, settings.custom_controls)
    logs.configure("evaluator", form=settings.log_format, level=settings.log_level)
    try:
        uvloop.run(_serve(settings, kafka, catalogues))
    except (KafkaError, ConnectionError, StartError, SilentBrokerError, TooManyBadRecordsError) as error:
        log.error("evaluator stops", problem=lifecycle.problem(error, kafka), broker=kafka.kafka_bootstrap)
        return 1
    return 0


async def _serve(settings: Settings, kafka: KafkaSettings, catalogues: Catalogues) -> None:
    producer, reader = _clients(kafka)
    send = Sender(producer, kafka).send
    judging = _judging(settings, kafka, catalogues, reader, send)
    with tempfile.TemporaryDirectory(prefix="plumbline-evaluator-") as folder:
        app = _faust_app(settings, kafka, Path(folder))
        completions = Completions(
            app, kafka.topic(TOPIC), judging, send, bad_records_in_a_row=settings.bad_records_in_a_row
        )
        turning = asyncio.create_task(completions.turn())
        stopping = lifecycle.on_signal()
        try:
            with _probes(settings, completions, catalogues):
                if await lifecycle.before(stopping, _prepare(settings, kafka, catalogues, producer, reader)):
                    await completions.run(stopping, _watch(catalogues, send, settings.name))
        finally:
            turning.cancel()
            await lifecycle.stop_clients([reader, producer])


async def _prepare(
    settings: Settings,
    kafka: KafkaSettings,
    catalogues: Catalogues,
    producer: AIOKafkaProducer,
    reader: AIOKafkaConsumer,
) -> None:
    """Start the clients and publish the catalogue: acknowledged before the first result."""
    await lifecycle.start_clients([producer, reader], kafka, TOPICS, settings.startup_timeout_seconds)
    try:
        async with asyncio.timeout(settings.startup_timeout_seconds):
            published = await read_published(reader, kafka)
    except TimeoutError as error:
        raise StartError(
            f"{kafka.topic('control-catalogue')} could not be read within {settings.startup_timeout_seconds:.0f} s"
        ) from error
    await publish_catalogue(catalogues.current, published, Sender(producer, kafka).send, settings.name)


async def _watch(catalogues: Catalogues, send: Send, name: str) -> None:
    """Take changes of the catalogue's folders for ever."""

    async def publish(catalogue: Catalogue, former: Catalogue) -> None:
        await publish_catalogue(catalogue, {each.key: each for each in former.definitions()}, send, name)

    await catalogues.watch(publish)


def _judging(
    settings: Settings,
    kafka: KafkaSettings,
    catalogues: Catalogues,
    reader: AIOKafkaConsumer,
    send: Send,
) -> Judging:
    return Judging(
        catalogues,
        OffsetRange(reader, kafka.topic("snapshot-chunks")),
        NewestCompletions(reader, kafka.topic(TOPIC)),
        send,
        name=settings.name,
        limits=Limits(exposed_per_control=settings.exposed_per_control),
    )


def _clients(kafka: KafkaSettings) -> tuple[AIOKafkaProducer, AIOKafkaConsumer]:
    options = lifecycle.client_options(kafka)
    producer = AIOKafkaProducer(
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
        **options,
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=LARGEST_RECORD_BYTES,
        fetch_max_wait_ms=50,
        retry_backoff_ms=500,
    )
    return producer, reader


def _faust_app(settings: Settings, kafka: KafkaSettings, folder: Path) -> faust.App:
    return faust.App(
        kafka.group("evaluator"),
        broker=[f"aiokafka://{host.strip()}" for host in kafka.kafka_bootstrap.split(",")],
        broker_credentials=_credentials(kafka),
        store="memory://",
        datadir=folder,
        key_serializer="raw",
        value_serializer="raw",
        agent_supervisor=CrashingSupervisor,
        consumer_group_instance_id=settings.name,
        consumer_auto_offset_reset="earliest",
        broker_client_id=settings.name,
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=settings.session_timeout_seconds / 4,
        broker_rebalance_timeout=30.0,
        broker_request_timeout=max(30.0, settings.session_timeout_seconds),
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
    options = lifecycle.client_options(kafka)
    context = options["ssl_context"]
    if "sasl_oauth_token_provider" in options:
        return OAuthCredentials(oauth_cb=options["sasl_oauth_token_provider"], ssl_context=context)
    if "sasl_mechanism" in options:
        return faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return faust.SSLCredentials(context=context) if context is not None else None


def _probes(settings: Settings, completions: Completions, catalogues: Catalogues) -> AbstractContextManager[None]:
    return lifecycle.probes(
        settings.health_host,
        settings.health_port,
        is_live=lambda: completions.is_live,
        is_ready=lambda: completions.is_ready,
        status=lambda: catalogues.status,
        variable="PLUMBLINE_EVALUATOR_HEALTH_PORT",
    )
