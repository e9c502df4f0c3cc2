"""Sends records with a deadline: dead letters and collection requests."""

import asyncio

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord
from plumbline_contracts import envelope, lifecycle
from plumbline_contracts.events import CollectionRequest
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.lifecycle import StartError
from plumbline_contracts.topics import dead_letter_name

from plumbline_score_api.problems import UnavailableError

log = structlog.get_logger(__name__)

SEND_SECONDS = 60.0
ASK_SECONDS = 5.0
AGAIN_SECONDS = 5.0


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
                await lifecycle.start_clients([self._producer], self._kafka, ["collection-requests"], ASK_SECONDS)
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
