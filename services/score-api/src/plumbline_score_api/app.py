"""The composition root of both roles: the only place that builds clients and wires them."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog
import uvicorn
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from plumbline_contracts import envelope, logs
from plumbline_contracts.events import CollectionRequest
from plumbline_contracts.health import serve_health
from plumbline_contracts.kafka import KafkaSettings
from prometheus_client import Counter, Histogram
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    NetworkTimeout,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)
from pymongo.uri_parser import parse_uri
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from plumbline_score_api import problems
from plumbline_score_api.access import caller
from plumbline_score_api.history.repository import HistoryRepository
from plumbline_score_api.instances import routes as instance_routes
from plumbline_score_api.instances.insights import InsightsService
from plumbline_score_api.instances.repository import InsightsRepository, InstanceRepository
from plumbline_score_api.instances.service import InstanceService
from plumbline_score_api.keys.repository import KeyRepository
from plumbline_score_api.keys.service import KeyService
from plumbline_score_api.problems import UnavailableError
from plumbline_score_api.projection.consumer import CatalogueFollower, Projector, TooManyBadRecordsError
from plumbline_score_api.projection.repository import ProjectionRepository
from plumbline_score_api.projection.service import ProjectionService
from plumbline_score_api.recommendations import routes as recommendation_routes
from plumbline_score_api.recommendations.repository import RecommendationRepository
from plumbline_score_api.recommendations.service import RecommendationService
from plumbline_score_api.scores import routes as score_routes
from plumbline_score_api.scores.service import ScoreService
from plumbline_score_api.services import Services
from plumbline_score_api.settings import Settings

log = structlog.get_logger(__name__)

STARTUP_SECONDS = 60.0
STALLED_SECONDS = 180.0
ASK_SECONDS = 10.0
LARGEST_BODY_BYTES = 64 * 1024
TRANSIENT = (AutoReconnect, NetworkTimeout, ServerSelectionTimeoutError, WriteConcernError)
Database = AsyncIOMotorDatabase[dict[str, Any]]

REQUESTS = Counter("plumbline_score_api_requests_total", "Requests by route and status", ["route", "status"])
LATENCY = Histogram("plumbline_score_api_request_seconds", "Time to answer", ["route"])


class DatabaseSettingsError(ValueError):
    """The database URL cannot be used; the message never holds it."""


@contextlib.asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database of the URL: durable acknowledgements, time-zone aware dates. Raises DatabaseSettingsError."""
    url = settings.mongodb_url.get_secret_value()
    try:
        name = parse_uri(url)["database"]
        if not name:
            raise DatabaseSettingsError(
                "PLUMBLINE_MONGODB_URL names no database: expected mongodb://HOST:PORT/DATABASE"
            )
        client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
            url, w="majority", journal=True, tz_aware=True, serverSelectionTimeoutMS=5000, appname="plumbline-score-api"
        )
    except (PyMongoError, ConfigurationError) as error:
        raise DatabaseSettingsError(f"PLUMBLINE_MONGODB_URL is no MongoDB URL: {type(error).__name__}") from error
    try:
        yield client[name]
    finally:
        client.close()


async def _eventually(what: str, start: Callable[[], Any], errors: tuple[type[Exception], ...]) -> None:
    """Start something that needs a dependency, waiting for it up to a minute."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(errors),
        stop=stop_after_delay(STARTUP_SECONDS),
        wait=wait_random_exponential(multiplier=0.3, max=5),
        before_sleep=lambda _: log.warning(f"{what} does not answer yet"),
        reraise=True,
    )
    async for attempt in retrying:
        with attempt:
            await start()


async def prepare(database: Database) -> None:
    """Create the indexes; does nothing when they are there."""
    await ProjectionRepository(database).prepare()
    await HistoryRepository(database).prepare()


def _producer(kafka: KafkaSettings) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        **kafka.client_options(),
        enable_idempotence=True,
        acks="all",
        compression_type="zstd",
        linger_ms=0,
        max_request_size=2 * 1024 * 1024,
        request_timeout_ms=30_000,
        retry_backoff_ms=500,
    )


# --- role: project ---------------------------------------------------------------------------------------------------


def project(settings: Settings, kafka: KafkaSettings) -> int:
    """Run the projector until a signal; the exit status."""
    logs.configure("score-api-project", form=settings.log_format, level=settings.log_level)
    try:
        uvloop.run(_project(settings, kafka))
    except (KafkaError, PyMongoError, TooManyBadRecordsError, OSError, RuntimeError) as error:
        log.error("projector stops", problem=f"{type(error).__name__}: {error}", broker=kafka.kafka_bootstrap)
        return 1
    return 0


async def _project(settings: Settings, kafka: KafkaSettings) -> None:
    options = kafka.client_options()
    producer = _producer(kafka)
    fetch = {"max_partition_fetch_bytes": 2 * 1024 * 1024, "fetch_max_wait_ms": 50, "retry_backoff_ms": 500}
    consumer = AIOKafkaConsumer(
        **options,
        **fetch,
        group_id=kafka.group("score-api-project"),
        group_instance_id=settings.name,
        client_id=settings.name,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=10_000,
        heartbeat_interval_ms=2_000,
        rebalance_timeout_ms=10_000,
    )
    catalogue = AIOKafkaConsumer(**options, **fetch, enable_auto_commit=False)
    async with open_database(settings) as database:
        insights = InsightsService(InsightsRepository(database))
        service = ProjectionService(ProjectionRepository(database), insights, HistoryRepository(database))
        projector = Projector(
            consumer,
            producer,
            service,
            kafka,
            transient=TRANSIENT,
            bad_records_in_a_row=settings.bad_records_in_a_row,
        )
        follower = CatalogueFollower(catalogue, service, kafka.topic("control-catalogue"))
        stop_health = _health(settings, lambda: time.monotonic() - projector.turned_at, lambda: projector.is_ready)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, projector.stop)
        try:
            await _eventually("database", lambda: prepare(database), TRANSIENT)
            consumer.subscribe([kafka.topic("control-results"), kafka.topic("instance-status")])
            for client in (producer, consumer, catalogue):
                await _eventually("broker", client.start, (KafkaConnectionError,))
            await _together(projector, follower)
        finally:
            stop_health()
            for client in (consumer, catalogue, producer):
                with contextlib.suppress(KafkaError):
                    await client.stop()


async def _together(projector: Projector, follower: CatalogueFollower) -> None:
    """Run both; the first failure of either ends both."""
    tasks = [asyncio.create_task(projector.run()), asyncio.create_task(follower.run())]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


def _health(settings: Settings, age: Callable[[], float], is_ready: Callable[[], bool]) -> Callable[[], None]:
    if not settings.health_port:
        return lambda: None
    return serve_health(
        settings.health_host, settings.health_port, is_live=lambda: age() < STALLED_SECONDS, is_ready=is_ready
    )


# --- role: serve -----------------------------------------------------------------------------------------------------


def serve(settings: Settings, kafka: KafkaSettings) -> int:
    """Serve the API until a signal; the exit status."""
    logs.configure("score-api-serve", form=settings.log_format, level=settings.log_level)
    config = uvicorn.Config(
        create_app(settings, kafka),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=20,
    )
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else 1


def create_app(settings: Settings, kafka: KafkaSettings) -> FastAPI:
    """The application of the role `serve`."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        producer = _producer(kafka)
        stop_health = _health(settings, lambda: 0.0, lambda: True)
        try:
            async with open_database(settings) as database:
                await _eventually("database", lambda: prepare(database), TRANSIENT)
                await _eventually("broker", producer.start, (KafkaConnectionError,))
                app.state.services = build_services(database, _asking(producer, kafka))
                app.state.is_ready = lambda: _answers(database)
                yield
        except (KafkaError, PyMongoError, DatabaseSettingsError) as error:
            log.error("score API stops", problem=f"{type(error).__name__}: {error}", broker=kafka.kafka_bootstrap)
            raise
        finally:
            stop_health()
            with contextlib.suppress(KafkaError):
                await producer.stop()

    app = FastAPI(
        title="Plumbline score API",
        version="0.1.0",
        description="Secure Scores of Salesforce and ServiceNow, with recommendations and evidence.",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    for error in (PyMongoError, KafkaError):
        app.add_exception_handler(error, _on_dependency)
    app.middleware("http")(_guard)
    for routes in (score_routes, instance_routes, recommendation_routes):
        app.include_router(routes.router)
    _add_plain_routes(app)
    return app


def build_services(database: Database, ask: Callable[[CollectionRequest], Any]) -> Services:
    """Everything that the routes work with."""
    instances, insights = InstanceRepository(database), InsightsService(InsightsRepository(database))
    return Services(
        keys=KeyService(KeyRepository(database)),
        scores=ScoreService(instances, insights),
        instances=InstanceService(instances, insights, ask),
        recommendations=RecommendationService(RecommendationRepository(database), instances),
    )


def _asking(producer: AIOKafkaProducer, kafka: KafkaSettings) -> Callable[[CollectionRequest], Any]:
    async def ask(request: CollectionRequest) -> None:
        headers = envelope.headers(request, source="/score-api")
        topic = kafka.topic("collection-requests")
        try:
            async with asyncio.timeout(ASK_SECONDS):
                await producer.send_and_wait(topic, envelope.encode(request), key=request.key.encode(), headers=headers)
        except (TimeoutError, KafkaError) as error:
            raise UnavailableError("The broker does not answer; nothing was asked for. Try again.") from error

    return ask


async def _answers(database: Database) -> bool:
    try:
        await database.command("ping")
    except PyMongoError:
        return False
    return True


async def _on_dependency(_: Request, error: Exception) -> JSONResponse:
    log.error("dependency failed", problem=f"{type(error).__name__}: {error}")
    return problems.problem(503, "A dependency does not answer now; try again.")


async def _guard(request: Request, call_next: Callable[[Request], Any]) -> Response:
    """Bounds bodies, adds security headers, counts and times."""
    length = request.headers.get("content-length", "0")
    if (
        "chunked" in request.headers.get("transfer-encoding", "")
        or not length.isdigit()
        or int(length) > LARGEST_BODY_BYTES
    ):
        return problems.problem(413, f"Send at most {LARGEST_BODY_BYTES} bytes, with a Content-Length.")
    started = time.perf_counter()
    response: Response = await call_next(request)
    route = getattr(request.scope.get("route"), "path", "unmatched")
    REQUESTS.labels(route, response.status_code).inc()
    LATENCY.labels(route).observe(time.perf_counter() - started)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _add_plain_routes(app: FastAPI) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return PlainTextResponse("ok\n")

    @app.get("/readyz", include_in_schema=False)
    async def readyz(request: Request) -> Response:
        is_ready = await request.app.state.is_ready()
        return PlainTextResponse("ok\n" if is_ready else "the database does not answer\n", 200 if is_ready else 503)

    @app.get("/openapi.json", include_in_schema=False, dependencies=[Depends(caller)])
    async def openapi() -> Response:
        return JSONResponse(app.openapi())
