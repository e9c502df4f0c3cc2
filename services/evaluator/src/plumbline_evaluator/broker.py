"""The broker at start and at stop: waits for it, requires the topics, starts and stops the clients."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError
from plumbline_contracts import envelope
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.provisioning import MissingTopicsError, require_topics
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_delay,
    wait_fixed,
    wait_random_exponential,
)

log = structlog.get_logger(__name__)

TOPICS_SECONDS = 5.0
SEND_SECONDS = 60.0
STOP_SECONDS = 5.0

Client: TypeAlias = AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient


class StartError(RuntimeError):
    """The evaluator cannot begin its work; the message names the cause and the next step."""


class SilentBrokerError(RuntimeError):
    """The broker gave no answer in time. What was not acknowledged is read again after a restart."""


class Sender:
    """Sends records and returns when the broker has acknowledged them. The producer itself would wait for ever."""

    def __init__(self, producer: AIOKafkaProducer, kafka: KafkaSettings) -> None:
        self._producer, self._kafka = producer, kafka

    async def send(self, topic: str, key: str | bytes | None, value: bytes | None, headers: envelope.Headers) -> None:
        """Send to a topic of the registry. Raises SilentBrokerError after a minute without an answer."""
        encoded = key.encode() if isinstance(key, str) else key
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._producer.send_and_wait(self._kafka.topic(topic), value, key=encoded, headers=headers)
        except TimeoutError as error:
            raise SilentBrokerError(
                f"the broker did not acknowledge a record of {self._kafka.topic(topic)} within {SEND_SECONDS:.0f} s"
            ) from error


async def start(clients: Iterable[Client], kafka: KafkaSettings, topics: Iterable[str], timeout_seconds: float) -> None:
    """Start the clients, in order. Raises StartError when the broker or one of `topics` is not there."""
    admin = AIOKafkaAdminClient(**kafka.client_options())
    try:
        await _start_one(admin, kafka, timeout_seconds)
        await _require(admin, kafka, list(topics))
        for client in clients:
            await _start_one(client, kafka, timeout_seconds)
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


async def _start_one(client: Client, kafka: KafkaSettings, timeout_seconds: float) -> None:
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


async def stop(clients: Sequence[AIOKafkaConsumer | AIOKafkaProducer]) -> None:
    """Stop the clients within some seconds, whatever state they are in: one would wait for a broker that is away."""
    stopping = [asyncio.create_task(client.stop()) for client in clients]
    _, late = await asyncio.wait(stopping, timeout=STOP_SECONDS)
    for task in late:
        task.cancel()
    for result in await asyncio.gather(*stopping, return_exceptions=True):
        if isinstance(result, BaseException):
            log.warning("a client of the broker did not stop cleanly", problem=f"{type(result).__name__}: {result}")
