"""The composition root of both roles: the only place that builds clients and wires them."""

import asyncio
import contextlib
import gc
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any, NamedTuple, TypeAlias

import pymongo
import structlog
import uvicorn
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from plumbline_contracts import lifecycle, logs
from plumbline_contracts.events import CollectionRequest
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.lifecycle import StartError
from plumbline_contracts.tenant_topics import tenant_topics
from plumbline_contracts.topics import dead_letter_name
from prometheus_client import Counter, Histogram
from pymongo import monitoring
from pymongo.errors import (
    AutoReconnect,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)
from pymongo.uri_parser import parse_uri
from structlog.typing import FilteringBoundLogger
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from plumbline_score_api import guard, json_bodies, problems
from plumbline_score_api.audit import routes as audit_routes
from plumbline_score_api.audit.repository import AuditRepository
from plumbline_score_api.audit.service import AuditService
from plumbline_score_api.broker import FINDINGS, FindingSender, Requester, Sender, SilentBrokerError
from plumbline_score_api.changes.repository import ChangeLogRepository
from plumbline_score_api.comparisons import routes as comparison_routes
from plumbline_score_api.comparisons.service import ComparisonService
from plumbline_score_api.controls import routes as control_routes
from plumbline_score_api.controls.repository import ControlRepository
from plumbline_score_api.controls.service import CatalogueService, ControlService
from plumbline_score_api.decisions import routes as decision_routes
from plumbline_score_api.decisions.repository import DecisionRepository
from plumbline_score_api.decisions.service import DecisionService
from plumbline_score_api.events import routes as event_routes
from plumbline_score_api.events.service import EventService, StreamLimits
from plumbline_score_api.exports import routes as export_routes
from plumbline_score_api.exports.repository import ExportRepository
from plumbline_score_api.exports.service import ExportService
from plumbline_score_api.exports.slots import Slots
from plumbline_score_api.findings import routes as finding_routes
from plumbline_score_api.findings.feed import FeedSettings, FindingFeed, Refuse, Send
from plumbline_score_api.findings.lifecycle import Options
from plumbline_score_api.findings.repository import FindingRepository
from plumbline_score_api.findings.service import FindingService
from plumbline_score_api.graph import errors as graph_errors
from plumbline_score_api.graph import routes as graph_routes
from plumbline_score_api.graph.days import DayService
from plumbline_score_api.graph.repository import PastRepository
from plumbline_score_api.graph.service import GraphNames, GraphService
from plumbline_score_api.history import routes as history_routes
from plumbline_score_api.history.recording import PartitionOf, Recorder
from plumbline_score_api.history.repository import HistoryRepository
from plumbline_score_api.history.service import HistoryService
from plumbline_score_api.instances import routes as instance_routes
from plumbline_score_api.instances.disconnecting import ClosingService, DisconnectingService
from plumbline_score_api.instances.insights import InsightsService
from plumbline_score_api.instances.repository import DisconnectionRepository, InsightsRepository, InstanceRepository
from plumbline_score_api.instances.service import Ask, InstanceService
from plumbline_score_api.keys import routes as key_routes
from plumbline_score_api.keys.repository import KeyRepository
from plumbline_score_api.keys.schemas import Caller
from plumbline_score_api.keys.service import PREFIX, KeyService
from plumbline_score_api.keys.uses import LastUses
from plumbline_score_api.limits import Limits
from plumbline_score_api.openapi import document
from plumbline_score_api.pictures.repository import PictureRepository
from plumbline_score_api.pictures.service import PictureService
from plumbline_score_api.problems import UnavailableError
from plumbline_score_api.projection.consumer import (
    TOPICS,
    Patience,
    Projector,
    TooManyBadRecordsError,
    read_catalogue,
)
from plumbline_score_api.projection.repository import ProjectionRepository
from plumbline_score_api.projection.service import STALE_AFTER, ProjectionService
from plumbline_score_api.projection.shards import Shards
from plumbline_score_api.projection.upkeep import Clockwork, Retention, Upkeep
from plumbline_score_api.protocol import bounded
from plumbline_score_api.recommendations import routes as recommendation_routes
from plumbline_score_api.recommendations.repository import RecommendationRepository
from plumbline_score_api.recommendations.service import RecommendationService
from plumbline_score_api.scores import routes as score_routes
from plumbline_score_api.scores.service import ScoreService
from plumbline_score_api.services import Services
from plumbline_score_api.settings import EXPORTS_AT_ONCE, Settings
from plumbline_score_api.tokens import issuers
from plumbline_score_api.tokens import service as tokens
from plumbline_score_api.tokens.issuers import Issuer, IssuersError
from plumbline_score_api.tokens.service import TokenService
from plumbline_score_api.webhooks import routes as webhook_routes
from plumbline_score_api.webhooks.delivering import Courier
from plumbline_score_api.webhooks.notifying import Do, Notifier, Ownership, Sources
from plumbline_score_api.webhooks.repository import DeliveryRepository, ProgressRepository, WebhookRepository
from plumbline_score_api.webhooks.sending import Sender as WebhookSender
from plumbline_score_api.webhooks.service import KEEP, WebhookService
from plumbline_score_api.webhooks.targets import STRICT, TargetRules
from plumbline_score_api.zones import routes as zone_routes
from plumbline_score_api.zones.repository import ZoneRepository
from plumbline_score_api.zones.service import ZoneService

log = structlog.get_logger(__name__)

STALLED_SECONDS = 180.0
BEAT_SECONDS = 1.0
MISSED_BEAT_SECONDS = 30.0
PING_SECONDS = 2.0
STOP_SECONDS = 3.0
CLOSE_SECONDS = 1.0
PROJECTED_INSTANCES = 64
"""So many instances' pictures a projector keeps in memory between two evaluations."""
SELECTION_MS = 5_000
SOCKET_MS = 30_000
COLLECT_EVERY = (20_000, 20, 100)
"""Pictures are hundreds of thousands of objects that live long and hold no cycles. To look through them all takes
tenths of a second in which nobody is answered, so it is done rarely."""
SEND_BUFFER_BYTES = 256 * 1024
"""Of a connection, in the kernel: what a client has not taken waits here, and who reads is seen to do so."""
SIEM_COMPRESSION = "lz4"
"""Every receiver reads it; of zstd some SIEMs' clients know nothing."""
LARGEST_RECORD_BYTES = 2 * 1024 * 1024
TRANSIENT = (AutoReconnect, NetworkTimeout, ServerSelectionTimeoutError, WriteConcernError)
WRONG_PASSWORD = frozenset({18, 8000})
"""Codes of MongoDB and of Atlas."""
NO_RIGHTS = 13
DATABASE_SECONDS = Histogram(
    "plumbline_score_api_database_seconds",
    "Time of the database's commands",
    ["command"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30),
)
DATABASE_ERRORS = Counter("plumbline_score_api_database_errors_total", "Database commands that failed", ["command"])
Database: TypeAlias = "AsyncIOMotorDatabase[dict[str, Any]]"


class Receivers(NamedTuple):
    """Who is told of findings, and what."""

    send: Send
    refuse: Refuse
    settings: FeedSettings


class DatabaseSettingsError(ValueError):
    """The database URL cannot be used; the message never holds it."""


def project(settings: Settings, kafka: KafkaSettings) -> int:
    """Run the projector until a signal; the exit status."""
    return _run("score-api-project", settings, kafka, _project(settings, kafka))


def serve(settings: Settings, kafka: KafkaSettings) -> int:
    """Serve the API until a signal; the exit status."""
    return _run("score-api-serve", settings, kafka, _serve(settings, kafka))


def _run(role: str, settings: Settings, kafka: KafkaSettings, work: Coroutine[Any, Any, None]) -> int:
    """Do the work of a role; 1 when a dependency failed for good, 2 when the database URL cannot be used."""
    gc.set_threshold(*COLLECT_EVERY)
    logs.configure(role, form=settings.log_format, level=settings.log_level)
    try:
        uvloop.run(work)
    except (DatabaseSettingsError, IssuersError) as error:
        for problem in str(error).splitlines():
            log.error(f"{role} cannot start", problem=problem)
        return 2
    except (StartError, SilentBrokerError, TooManyBadRecordsError, KafkaError, PyMongoError) as error:
        log.error(f"{role} stops", problem=lifecycle.problem(error, kafka), broker=kafka.kafka_bootstrap)
        return 1
    return 0


# --- the database ----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database of the URL: durable acknowledgements, time-zone aware dates. Raises DatabaseSettingsError."""
    name = _parsed(settings)["database"]
    try:
        client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
            settings.mongodb_url.get_secret_value(),
            w="majority",
            journal=True,
            tz_aware=True,
            serverSelectionTimeoutMS=SELECTION_MS,
            connectTimeoutMS=SELECTION_MS,
            socketTimeoutMS=SOCKET_MS,
            appname="plumbline-score-api",
            event_listeners=[_Measured()],
        )
    except (PyMongoError, ValueError) as error:
        raise _no_url(error) from error
    if not name:
        raise DatabaseSettingsError("PLUMBLINE_MONGODB_URL names no database: expected mongodb://HOST:PORT/DATABASE")
    try:
        yield client[name]
    finally:
        with pymongo.timeout(CLOSE_SECONDS):  # closing tells the server so, and would wait for one that is away
            client.close()


class _Measured(monitoring.CommandListener):
    """Measures every command of a client."""

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Its end is what counts."""

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """How long it took."""
        DATABASE_SECONDS.labels(event.command_name).observe(event.duration_micros / 1e6)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """One more that failed."""
        DATABASE_ERRORS.labels(event.command_name).inc()


def place(settings: Settings) -> str:
    """Where the database is looked for: hosts, ports and name, never credentials.

    Raises DatabaseSettingsError.
    """
    parsed = _parsed(settings)
    hosts = ",".join(host if port is None else f"{host}:{port}" for host, port in parsed["nodelist"])
    return f"{hosts}/{parsed['database']}"


def _parsed(settings: Settings) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = parse_uri(settings.mongodb_url.get_secret_value())
    except (PyMongoError, ValueError) as error:
        raise _no_url(error) from error
    return parsed


def _no_url(error: Exception) -> DatabaseSettingsError:
    return DatabaseSettingsError(f"PLUMBLINE_MONGODB_URL is no MongoDB URL: {type(error).__name__}")


async def prepare(database: Database) -> None:
    """Create the indexes; does nothing when they are there."""
    await ProjectionRepository(database).prepare()
    await HistoryRepository(database).prepare()
    await DecisionRepository(database).prepare()
    await InsightsRepository(database).prepare()
    await ZoneRepository(database).prepare()
    await DisconnectionRepository(database).prepare()
    await AuditRepository(database).prepare()
    await ChangeLogRepository(database).prepare()
    await KeyRepository(database).prepare()
    await WebhookRepository(database).prepare()
    await DeliveryRepository(database).prepare()


async def _prepare(database: Database, settings: Settings) -> None:
    """Wait for the database and create the indexes.

    Raises StartError when it does not answer in time, DatabaseSettingsError when it lets nobody in.
    """
    timeout_seconds = settings.startup_timeout_seconds
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(TRANSIENT),
        stop=stop_after_delay(timeout_seconds),
        wait=wait_random_exponential(multiplier=0.3, max=5),
        before_sleep=lambda state: log.warning("database does not answer yet", attempts=state.attempt_number),
        reraise=True,
    )
    try:
        async for attempt in retrying:
            with attempt:
                await prepare(database)
    except TRANSIENT as error:
        raise StartError(
            f"the database did not answer within {timeout_seconds:.0f} s; check that it runs and "
            f"PLUMBLINE_MONGODB_URL ({type(error).__name__})"
        ) from error
    except OperationFailure as error:
        if (told := refusal(error, settings)) is not None:
            raise DatabaseSettingsError(told) from error
        raise


def refusal(error: PyMongoError, settings: Settings) -> str | None:
    """What to mend when the database lets nobody in with these settings; None for any other error."""
    match error:
        case OperationFailure(code=code) if code in WRONG_PASSWORD:
            what = "does not know the user or the password of"
        case OperationFailure(code=code) if code == NO_RIGHTS:
            what = "does not let the user write (it needs the role readWrite) of"
        case _:
            return None
    return f"the database at {place(settings)} {what} PLUMBLINE_MONGODB_URL; set one that is good"


async def _answers(database: Database) -> bool:
    try:
        async with asyncio.timeout(PING_SECONDS):
            await database.command("ping")
    except (PyMongoError, TimeoutError):
        return False
    return True


# --- ports and the broker's clients ----------------------------------------------------------------------------------


def _probes(
    settings: Settings, is_live: Callable[[], bool], is_ready: Callable[[], bool]
) -> contextlib.AbstractContextManager[None]:
    return lifecycle.probes(
        settings.health_host,
        settings.health_port,
        is_live=is_live,
        is_ready=is_ready,
        variable="PLUMBLINE_SCORE_API_HEALTH_PORT",
    )


def listen(settings: Settings) -> socket.socket:
    """The socket that the settings name. Raises StartError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listening = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        place = f"{settings.host}:{settings.port}"
        raise StartError(
            f"the port {place} cannot be opened ({error.strerror}); set PLUMBLINE_SCORE_API_PORT"
        ) from error
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    log.info("score API listens", host=settings.host, port=settings.port)
    return listening


def _producer(kafka: KafkaSettings, compression: str = "zstd") -> AIOKafkaProducer:
    return AIOKafkaProducer(
        **lifecycle.client_options(kafka),
        enable_idempotence=True,
        acks="all",
        compression_type=compression,
        linger_ms=0,
        max_request_size=LARGEST_RECORD_BYTES,
        request_timeout_ms=30_000,
        retry_backoff_ms=500,
    )


def _consumer(kafka: KafkaSettings, **more: Any) -> AIOKafkaConsumer:  # noqa: ANN401
    return AIOKafkaConsumer(
        **lifecycle.client_options(kafka),
        enable_auto_commit=False,
        max_partition_fetch_bytes=LARGEST_RECORD_BYTES,
        fetch_max_wait_ms=50,
        retry_backoff_ms=500,
        **more,
    )


def _member(settings: Settings, kafka: KafkaSettings) -> AIOKafkaConsumer:
    """A static member of the projector's group."""
    return _consumer(
        kafka,
        group_id=kafka.group("score-api-project"),
        group_instance_id=settings.name,
        client_id=settings.name,
        auto_offset_reset="earliest",
        session_timeout_ms=10_000,
        heartbeat_interval_ms=2_000,
        rebalance_timeout_ms=10_000,
    )


# --- role: project ---------------------------------------------------------------------------------------------------


async def _project(settings: Settings, kafka: KafkaSettings) -> None:
    stopping = lifecycle.on_signal()
    producer, consumer, reader = _producer(kafka), _member(settings, kafka), _consumer(kafka)
    teller = _producer(kafka, SIEM_COMPRESSION)
    async with open_database(settings) as database:
        shards = Shards(consumer, kafka.topic("control-results"))
        stale_after = timedelta(hours=settings.stale_after_hours)
        findings = FindingSender(teller, kafka, settings.findings_tenant_topics)
        upkeep = build_upkeep(
            database,
            shards.partition_of,
            _retention(settings),
            stale_after=stale_after,
            receivers=Receivers(findings.send, findings.refuse, _feed_settings(settings)),
        )
        service, patience = upkeep.projection, Patience(TRANSIENT)
        notifier = build_notifier(
            database, Ownership(shards.mine, shards.owns), timedelta(days=settings.webhook_log_days)
        )
        courier = build_courier(database, settings, patience.do)
        projector = Projector(
            consumer,
            Sender(producer, kafka),
            service,
            kafka,
            patience,
            Clockwork(upkeep, shards.owns),
            bad_records_in_a_row=settings.bad_records_in_a_row,
        )

        async def start() -> None:
            await _prepare(database, settings)
            of_tenants = [topic.name for topic in tenant_topics(settings.findings_tenant_topics)]
            topics = [*TOPICS, FINDINGS, *map(dead_letter_name, (*TOPICS, FINDINGS)), *of_tenants]
            clients = [producer, teller, reader, consumer]
            await lifecycle.start_clients(clients, kafka, topics, settings.startup_timeout_seconds)
            partitions = await _catalogue_partitions(producer, kafka)
            await read_catalogue(reader, partitions, service, patience)

        with _probes(settings, lambda: _is_turning(projector), lambda: projector.is_ready):
            try:
                if await lifecycle.before(stopping, start()):
                    await _until(stopping, projector, notifier, courier, patience.do)
            finally:
                await lifecycle.stop_clients([consumer, reader, producer, teller])


def build_upkeep(
    database: Database,
    partition_of: PartitionOf,
    retention: Retention,
    projection: ProjectionRepository | None = None,
    *,
    stale_after: timedelta = STALE_AFTER,
    receivers: Receivers | None = None,
) -> Upkeep:
    """Everything that the projector works with. Without `receivers` no SIEM is told anything."""
    audit, choices, store = AuditRepository(database), InsightsRepository(database), DecisionRepository(database)
    insights = InsightsService(choices, audit)
    pictures = PictureService(PictureRepository(database), store, most_instances=PROJECTED_INSTANCES)
    decisions = DecisionService(store, pictures, audit)
    history, changes = HistoryRepository(database), ChangeLogRepository(database)
    findings = FindingRepository(database) if receivers is not None else None
    feed = FindingFeed(findings, pictures, *receivers) if findings is not None and receivers is not None else None
    recorder, zones = Recorder(history, pictures, insights, changes, partition_of, feed), ZoneRepository(database)
    written = projection or ProjectionRepository(database)
    leaving = DisconnectionRepository(database)
    closing = ClosingService(leaving, insights, audit, recorder, decisions, written.erase)
    return Upkeep(
        projection=ProjectionService(written, pictures, insights, decisions, recorder, closing, stale_after),
        closing=closing,
        decisions=decisions,
        insights=insights,
        zones=ZoneService(zones, audit),
        recorder=recorder,
        decision_store=store,
        insights_store=choices,
        zone_store=zones,
        history=history,
        changes=changes,
        retention=retention,
        findings=findings,
    )


def _feed_settings(settings: Settings) -> FeedSettings:
    return FeedSettings(
        product_version=version("plumbline-score-api"),
        options=Options(baseline_pass=settings.findings_baseline_pass),
        names_are_allowed=settings.findings_names,
        api_url=settings.public_url,
    )


def _retention(settings: Settings) -> Retention:
    def kept(days: int) -> timedelta | None:
        return timedelta(days=days) if days else None

    return Retention(
        points=kept(settings.history_days),
        days=kept(settings.daily_history_days),
        changes=timedelta(days=settings.change_log_days),
    )


async def _catalogue_partitions(producer: AIOKafkaProducer, kafka: KafkaSettings) -> list[TopicPartition]:
    topic = kafka.topic("control-catalogue")
    return [TopicPartition(topic, number) for number in sorted(await producer.partitions_for(topic))]


def _is_turning(projector: Projector) -> bool:
    return time.monotonic() - projector.turned_at < STALLED_SECONDS


async def _until(stopping: asyncio.Event, projector: Projector, notifier: Notifier, courier: Courier, do: Do) -> None:
    """Project, and notify, until `stopping` is set; then what is in hand has some seconds. What it loses is done again.

    The first failure of one of them leaves.
    """
    works: tuple[Coroutine[Any, Any, None], ...] = (projector.run(), notifier.run(do), courier.run())
    running = [asyncio.create_task(work) for work in works]
    signalled = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({*running, signalled}, return_when=asyncio.FIRST_COMPLETED)
        for part in (projector, notifier, courier):
            part.stop()
        done, _ = await asyncio.wait(running, timeout=STOP_SECONDS)
        for ended in done:
            ended.result()
    finally:
        for task in (*running, signalled):
            task.cancel()
        await asyncio.gather(*running, signalled, return_exceptions=True)


def build_notifier(database: Database, ownership: Ownership, keep: timedelta = KEEP) -> Notifier:
    """What queues messages for webhooks."""
    decisions = DecisionRepository(database)
    sources = Sources(
        changes=ChangeLogRepository(database),
        decisions=decisions,
        instances=InstanceRepository(database),
        pictures=PictureService(PictureRepository(database), decisions),
    )
    webhooks, deliveries = WebhookRepository(database), DeliveryRepository(database)
    return Notifier(sources, webhooks, deliveries, ProgressRepository(database), ownership, keep)


def build_courier(database: Database, settings: Settings, do: Do) -> Courier:
    """What sends them."""
    at_once, timeout = settings.webhooks_at_once, settings.webhook_timeout_seconds
    sender = WebhookSender(_target_rules(settings), at_once=at_once, timeout_seconds=timeout)
    repositories = WebhookRepository(database), DeliveryRepository(database), AuditRepository(database)
    return Courier(*repositories, sender, do, at_once=at_once, timeout_seconds=timeout)


def _target_rules(settings: Settings) -> TargetRules:
    return TargetRules(
        allow_http=settings.webhooks_allow_http, allow_private_network=settings.webhooks_allow_private_network
    )


# --- role: serve -----------------------------------------------------------------------------------------------------


async def _serve(settings: Settings, kafka: KafkaSettings) -> None:
    stopping, loop = lifecycle.on_signal(), asyncio.get_running_loop()
    trusted = issuers.load(settings.issuers) if settings.issuers else []
    producer = _producer(kafka)
    requester, beat = Requester(producer, kafka), Beat()
    async with open_database(settings) as database, _tokens(trusted) as bearers:
        server: uvicorn.Server | None = None
        uses = LastUses(_writer_of_uses(database))

        async def is_ready() -> bool:
            return server is not None and server.started and not server.should_exit and await _answers(database)

        tasks = [asyncio.create_task(work) for work in (beat.run(), requester.connect(), uses.run(), bearers.warm())]
        try:
            with _probes(settings, lambda: beat.is_live, lambda: _asked(loop, is_ready)):
                if await lifecycle.before(stopping, _prepare(database, settings)):
                    services = build_services(
                        database,
                        requester.ask,
                        uses,
                        rules=_target_rules(settings),
                        keep_deliveries=timedelta(days=settings.webhook_log_days),
                        streams=_stream_limits(settings),
                        names=GraphNames(settings.azure_tenants, settings.public_url),
                        exports_at_once=settings.exports_at_once,
                    )
                    app = create_app(services, is_ready, bearers, _limits(settings), _access_log(settings))
                    server = http_server(app, settings, services.events)
                    await server.serve(sockets=[listen(settings)])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await lifecycle.stop_clients([producer])


@contextlib.asynccontextmanager
async def _tokens(trusted: list[Issuer]) -> AsyncIterator[TokenService]:
    """The service of bearer tokens, whose connections end."""
    service, close = tokens.over_http(trusted)
    try:
        yield service
    finally:
        await close()


def _access_log(settings: Settings) -> FilteringBoundLogger | None:
    if not settings.access_log:
        return None
    return logs.direct("plumbline_score_api.guard", form=settings.log_format, level=settings.log_level)


def _limits(settings: Settings) -> Limits:
    return Limits(
        requests_per_minute=settings.requests_per_minute,
        failed_logins_per_minute=settings.failed_logins_per_minute,
    )


def _stream_limits(settings: Settings) -> StreamLimits:
    return StreamLimits(at_once=settings.streams_at_once, per_tenant=settings.streams_per_tenant)


def _writer_of_uses(database: Database) -> Callable[[str, str, datetime], Awaitable[bool]]:
    repository = KeyRepository(database)

    async def write(tenant: str, key_id: str, at: datetime) -> bool:
        try:
            await repository.used(tenant, key_id, at)
        except PyMongoError as error:
            log.warning("the last use of a key is not written", problem=type(error).__name__)
            return False
        return True

    return write


class Beat:
    """Proves that the event loop turns."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    @property
    def is_live(self) -> bool:
        """Whether it turned lately."""
        return time.monotonic() - self._at < MISSED_BEAT_SECONDS

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            self._at = time.monotonic()
            await asyncio.sleep(BEAT_SECONDS)


def _asked(loop: asyncio.AbstractEventLoop, question: Callable[[], Coroutine[Any, Any, bool]]) -> bool:
    """The answer of a coroutine, asked from a thread; False when the loop does not give it in time."""
    answer = asyncio.run_coroutine_threadsafe(question(), loop)
    try:
        return answer.result(PING_SECONDS + 1)
    except TimeoutError:
        answer.cancel()
        return False


class Server(uvicorn.Server):
    """Ends the streams of events when it is told to stop; they would never end by themselves."""

    def __init__(self, config: uvicorn.Config, events: EventService | None) -> None:
        super().__init__(config)
        self._events = events

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what was asked, and end."""
        if self._events is not None:
            self._events.close()
        await super().shutdown(sockets)


def http_server(app: FastAPI, settings: Settings, events: EventService | None = None) -> Server:
    """The server of an application, with the events that it streams, if it does."""
    config = uvicorn.Config(
        app,
        http=bounded(
            settings.request_timeout_seconds,
            settings.requests_at_once,
            settings.answer_timeout_seconds,
            lambda: events.open if events is not None else 0,
        ),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=10,
    )
    return Server(config, events)


def create_app(
    services: Services,
    is_ready: Callable[[], Awaitable[bool]],
    bearers: TokenService | None = None,
    limits: Limits | None = None,
    access_log: FilteringBoundLogger | None = None,
) -> FastAPI:
    """The application of the role `serve`; without `bearers` it knows keys alone, without `limits` it has none."""
    app = FastAPI(
        title="Plumbline score API",
        version="0.1.0",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(json_bodies.read_alike)],
        redirect_slashes=False,  # the address of a redirect would be the caller's Host header
    )
    app.state.services = services
    problems.install(app)
    for error in (PyMongoError, KafkaError):
        app.add_exception_handler(error, _on_dependency)
    guard.install(app, _authentication(services.keys, bearers), limits or Limits(), access_log)
    graph_errors.install(app)
    for routes in (
        score_routes,
        instance_routes,
        decision_routes,
        recommendation_routes,
        history_routes,
        comparison_routes,
        zone_routes,
        audit_routes,
        key_routes,
        webhook_routes,
        event_routes,
        finding_routes,
        graph_routes,
        export_routes,
        control_routes,
    ):
        app.include_router(routes.router)
    app.include_router(export_routes.documents)
    app.webhooks.include_router(webhook_routes.messages)
    _add_plain_routes(app, is_ready)
    document.install(app)
    return app


async def api_document() -> dict[str, Any]:
    """The OpenAPI document of the API. Asks neither the database nor the broker."""

    async def ask(_: CollectionRequest) -> None:
        raise SilentBrokerError

    async def is_ready() -> bool:
        return False

    nowhere = Settings.model_validate({"PLUMBLINE_MONGODB_URL": "mongodb://127.0.0.1/nowhere"})
    async with open_database(nowhere) as database:  # the client connects with its first question
        return create_app(build_services(database, ask), is_ready).openapi()


def build_services(
    database: Database,
    ask: Ask,
    uses: LastUses | None = None,
    *,
    rules: TargetRules = STRICT,
    keep_deliveries: timedelta = KEEP,
    streams: StreamLimits | None = None,
    names: GraphNames | None = None,
    exports_at_once: int = EXPORTS_AT_ONCE,
) -> Services:
    """Everything that the routes work with."""
    instances, audit, store = InstanceRepository(database), AuditRepository(database), DecisionRepository(database)
    insights, history = InsightsService(InsightsRepository(database), audit), HistoryRepository(database)
    pictures, zones = PictureService(PictureRepository(database), store), ZoneService(ZoneRepository(database), audit)
    catalogue = CatalogueService(ControlRepository(database))
    scores = ScoreService(pictures, insights, zones, catalogue)
    decisions, past = DecisionService(store, pictures, audit), HistoryService(history, instances, scores, zones)
    findings, trail = RecommendationRepository(database), AuditService(audit)
    changes = ChangeLogRepository(database)
    events = EventService(changes, (PyMongoError,), streams)
    return Services(
        keys=KeyService(KeyRepository(database), audit, uses),
        pictures=pictures,
        scores=scores,
        controls=ControlService(catalogue, pictures),
        instances=InstanceService(instances, insights, pictures, zones, ask),
        disconnecting=DisconnectingService(DisconnectionRepository(database), insights, audit),
        recommendations=RecommendationService(findings, pictures, history),
        decisions=decisions,
        history=past,
        comparisons=ComparisonService(scores, past),
        zones=zones,
        audit=trail,
        webhooks=WebhookService(
            WebhookRepository(database),
            DeliveryRepository(database),
            changes,
            audit,
            rules,
            keep_deliveries,
        ),
        events=events,
        findings=FindingService(changes, events.feed),
        graph=GraphService(
            scores, decisions, DayService(past, history, PastRepository(database)), names or GraphNames()
        ),
        exports=ExportService(ExportRepository(database), findings, pictures, past, trail, Slots(exports_at_once)),
    )


def _authentication(keys: KeyService, bearers: TokenService | None) -> guard.Authenticate:
    async def authenticate(text: str) -> Caller | None:
        if bearers is not None and not text.startswith(PREFIX):
            return await bearers.authenticate(text)
        try:
            return await keys.authenticate(text)
        except PyMongoError as error:
            log.error("keys cannot be checked", problem=f"{type(error).__name__}: {error}")
            raise UnavailableError("The database does not answer now; try again.") from error

    return authenticate


async def _on_dependency(_: Request, error: Exception) -> JSONResponse:
    log.error("dependency failed", problem=f"{type(error).__name__}: {error}")
    return problems.problem(503, "A dependency does not answer now; try again.")


def _add_plain_routes(app: FastAPI, is_ready: Callable[[], Awaitable[bool]]) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return PlainTextResponse("ok\n")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        is_good = await is_ready()
        return PlainTextResponse("ok\n" if is_good else "the database does not answer\n", 200 if is_good else 503)

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return JSONResponse(app.openapi())
