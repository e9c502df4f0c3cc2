"""The broker: waits for it at start, sends records with a deadline, stops the clients in time."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.structs import ConsumerRecord
from plumbline_contracts import envelope
from plumbline_contracts.events import CollectionRequest
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.provisioning import MissingTopicsError, require_topics
from plumbline_contracts.topics import dead_letter_name
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_delay,
    wait_fixed,
    wait_random_exponential,
)

from plumbline_score_api.problems import UnavailableError

log = structlog.get_logger(__name__)

TOPICS_SECONDS = 5.0
SEND_SECONDS = 60.0
ASK_SECONDS = 5.0
AGAIN_SECONDS = 5.0
STOP_SECONDS = 5.0

Client: TypeAlias = AIOKafkaConsumer | AIOKafkaProducer


class StartError(RuntimeError):
    """The service cannot begin its work; the message names the cause and the next step."""


class SilentBrokerError(RuntimeError):
    """The broker gave no answer in time. What was not acknowledged is read again after a restart."""


class Sender:
    """Sends records of the projector. The producer itself would wait for ever."""

    def __init__(self, producer: AIOKafkaProducer, kafka: KafkaSettings) -> None:
        self._producer, self._kafka = producer, kafka

    async def dead_letter(self, name: str, record: ConsumerRecord, error: Exception) -> None:
        """Bring a record of topic `name` to its dead letters, with its own key, bytes and headers before ours.

        Raises SilentBrokerError after a minute without an answer.
        """
        ours = envelope.dead_letter_headers(record.topic, record.partition, record.offset, error)
        headers = [*((key, value or b"") for key, value in record.headers), *ours]
        topic = self._kafka.topic(dead_letter_name(name))
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._producer.send_and_wait(topic, record.value or b"", key=record.key, headers=headers)
        except TimeoutError as late:
            raise SilentBrokerError(f"the broker took no record of {topic} within {SEND_SECONDS:.0f} s") from late


class Requester:
    """Sends collection requests. The API serves without a broker, only asking needs it."""

    def __init__(self, producer: AIOKafkaProducer, kafka: KafkaSettings) -> None:
        self._producer, self._kafka = producer, kafka
        self._is_connected = False

    async def connect(self) -> None:
        """Try until the broker and the topic are there."""
        while not self._is_connected:
            try:
                await start([self._producer], self._kafka, ["collection-requests"], ASK_SECONDS)
                self._is_connected = True
            except (StartError, KafkaError) as error:
                log.warning("nobody can ask for a collection yet", problem=str(error))
                await asyncio.sleep(AGAIN_SECONDS)

    async def ask(self, request: CollectionRequest) -> None:
        """Returns when the broker has the request. Raises UnavailableError within seconds otherwise."""
        if not self._is_connected:
            raise UnavailableError("The broker is not connected; nothing was asked for. Try again.")
        headers = envelope.headers(request, source="/score-api", event_id=request.request_id)
        topic = self._kafka.topic("collection-requests")
        try:
            async with asyncio.timeout(ASK_SECONDS):
                await self._producer.send_and_wait(
                    topic, envelope.encode(request), key=request.key.encode(), headers=headers
                )
        except (TimeoutError, KafkaError) as error:
            log.warning("collection request not acknowledged", problem=f"{type(error).__name__}: {error}")
            raise UnavailableError(
                "The broker did not answer in time. The request may still arrive; asking again does no harm."
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


async def _start_one(client: Client | AIOKafkaAdminClient, kafka: KafkaSettings, timeout_seconds: float) -> None:
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


async def stop(clients: Sequence[Client]) -> None:
    """Stop the clients within some seconds, whatever state they are in: one would wait for a broker that is away."""
    stopping = [asyncio.create_task(client.stop()) for client in clients]
    _, late = await asyncio.wait(stopping, timeout=STOP_SECONDS)
    for task in late:
        task.cancel()
    for result in await asyncio.gather(*stopping, return_exceptions=True):
        if isinstance(result, BaseException):
            log.warning("a client of the broker did not stop cleanly", problem=f"{type(result).__name__}: {result}")
