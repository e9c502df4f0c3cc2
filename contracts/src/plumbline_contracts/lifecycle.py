"""How every service starts and stops: signals, the broker and its topics, the probes."""

import asyncio
import contextlib
import signal
import ssl
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_delay,
    wait_fixed,
    wait_random_exponential,
)

from plumbline_contracts.health import serve_health
from plumbline_contracts.kafka import KafkaSettings, SecurityFileError, TokenError
from plumbline_contracts.provisioning import MissingTopicsError, require_topics

log = structlog.get_logger(__name__)

TOPICS_SECONDS = 5.0
STOP_SECONDS = 5.0
PROBE_MS = 5_000
LACKING_RIGHTS = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
)
REFUSALS = (
    ssl.SSLCertVerificationError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
    IllegalSaslStateError,
)

Client: TypeAlias = AIOKafkaConsumer | AIOKafkaProducer


class StartError(RuntimeError):
    """A service cannot begin its work; the message names the cause and the next step."""


def on_signal() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


async def before(stopping: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do `work` unless `stopping` is set first; whether it was done."""
    doing, signalled = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    await asyncio.wait([doing, signalled], return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()
    if doing.done():
        doing.result()
        return True
    doing.cancel()
    await asyncio.gather(doing, return_exceptions=True)
    return False


@contextlib.contextmanager
def probes(
    host: str,
    port: int,
    *,
    is_live: Callable[[], bool],
    is_ready: Callable[[], bool],
    variable: str,
    status: Callable[[], str] = str,
) -> Iterator[None]:
    """Serve `/healthz`, `/readyz` and `/metrics` meanwhile, unless the port is 0.

    `status` gives lines that stand below the answer; `variable` sets the port, and StartError names it when the port
    cannot be opened.
    """
    if not port:
        yield
        return
    try:
        stop = serve_health(host, port, is_live=is_live, is_ready=is_ready, status=status)
    except OSError as error:
        raise StartError(
            f"the health port {host}:{port} cannot be opened ({error.strerror}); set {variable}"
        ) from error
    try:
        yield
    finally:
        stop()


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments for any aiokafka client. Raises StartError when a file of the settings cannot be used."""
    try:
        return kafka.client_options()
    except SecurityFileError as error:
        raise StartError(str(error)) from error


def problem(error: Exception, kafka: KafkaSettings) -> str:
    """An error that ended a service, as its log tells it; with what to do when the login lacks a right."""
    told = f"{type(error).__name__}: {error}"
    if not isinstance(error, LACKING_RIGHTS):
        return told
    return f"{told}; {kafka.login} lacks a right: grant the service what `contracts acls` prints for it"


async def start_clients(
    clients: Iterable[Client], kafka: KafkaSettings, topics: Iterable[str], timeout_seconds: float
) -> None:
    """Start the clients, in order.

    Raises StartError when the broker lets the login not in, or when it or one of `topics` is not there.
    """
    admin = AIOKafkaAdminClient(**client_options(kafka))
    try:
        await _start(admin, kafka, timeout_seconds)
        await _require(admin, kafka, list(topics))
        for client in clients:
            await _start(client, kafka, timeout_seconds)
    except MissingTopicsError as error:
        raise StartError(str(error)) from error
    except KafkaConnectionError as error:
        raise StartError(
            f"the broker at {kafka.kafka_bootstrap} did not answer within {timeout_seconds:.0f} s; "
            "check that it runs, PLUMBLINE_KAFKA_BOOTSTRAP and the PLUMBLINE_KAFKA_ security settings"
        ) from error
    finally:
        await admin.close()


async def _require(admin: AIOKafkaAdminClient, kafka: KafkaSettings, topics: list[str]) -> None:
    """Require the topics, with some seconds of grace for those that are being created."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(MissingTopicsError),
        stop=stop_after_delay(TOPICS_SECONDS),
        wait=wait_fixed(0.5),
        reraise=True,
    )
    async for attempt in retrying:
        with attempt:
            await require_topics(admin, kafka, topics)


async def _start(client: Client | AIOKafkaAdminClient, kafka: KafkaSettings, timeout_seconds: float) -> None:
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
            try:
                await client.start()
            except KafkaConnectionError as error:
                await _require_login(kafka)
                raise error


async def _require_login(kafka: KafkaSettings) -> None:
    """Raises StartError when waiting will not help: the broker refuses the login, or its certificate is not trusted."""
    options = client_options(kafka)
    hosts = collect_hosts(options.pop("bootstrap_servers"), randomize=False)
    for host, port, _ in hosts:
        try:
            connection = await create_conn(host, port, request_timeout_ms=PROBE_MS, **options)
        except REFUSALS as error:
            reason = getattr(error, "verify_message", None) or str(error)
            raise StartError(
                f"the broker at {host}:{port} cannot be reached as {kafka.login} with "
                f"{kafka.kafka_security_protocol}: {type(error).__name__}: {reason}; "
                "check the PLUMBLINE_KAFKA_ security settings and the broker's listener"
            ) from error
        except TokenError as error:
            if not error.retriable:
                raise StartError(str(error)) from error
        except (OSError, KafkaError, TimeoutError):
            continue
        else:
            connection.close()


async def stop_clients(clients: Sequence[Client]) -> None:
    """Stop the clients within some seconds, whatever state they are in: one would wait for a broker that is away."""
    stopping = [asyncio.create_task(client.stop()) for client in clients]
    _, late = await asyncio.wait(stopping, timeout=STOP_SECONDS)
    for task in late:
        task.cancel()
    for result in await asyncio.gather(*stopping, return_exceptions=True):
        if isinstance(result, BaseException):
            log.warning("a client of the broker did not stop cleanly", problem=f"{type(result).__name__}: {result}")
