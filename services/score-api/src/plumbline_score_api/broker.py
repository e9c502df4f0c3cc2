"""Sends records with a deadline: dead letters, collection requests, events of findings."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord
from plumbline_contracts import envelope, lifecycle, tracing
from plumbline_contracts.events import CollectionRequest
from plumbline_contracts.finding import FINDING_EVENT
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.lifecycle import StartError
from plumbline_contracts.topics import dead_letter_name

from plumbline_score_api.findings.feed import FindingEvent
from plumbline_score_api.findings.state import milliseconds, rfc3339
from plumbline_score_api.problems import UnavailableError

log = structlog.get_logger(__name__)

SEND_SECONDS = 60.0
ASK_SECONDS = 5.0
AGAIN_SECONDS = 5.0
FINDINGS = "compliance-findings"


class SilentBrokerError(RuntimeError):
    """The broker gave no answer in time. What was not acknowledged is read again after a restart."""


@asynccontextmanager
async def _taken(topic: str) -> AsyncIterator[None]:
    """The time that the broker has to take records of a topic. Raises SilentBrokerError."""
    try:
        async with asyncio.timeout(SEND_SECONDS):
            yield
    except TimeoutError as late:
        raise SilentBrokerError(f"the broker took no record of {topic} within {SEND_SECONDS:.0f} s") from late


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
        async with _taken(topic):
            await self._producer.send_and_wait(topic, record.value or b"", key=record.key, headers=headers)


class FindingSender:
    """Sends events of findings for SIEMs: to the topic of all, and to a tenant's own if it has one."""

    def __init__(self, producer: AIOKafkaProducer, kafka: KafkaSettings, tenants: Collection[str] = ()) -> None:
        self._producer, self._kafka, self._tenants = producer, kafka, frozenset(tenants)

    async def send(self, tenant: str, events: Sequence[FindingEvent]) -> None:
        """Send events in order; returns when the broker has them all.

        Raises SilentBrokerError after a minute without an answer.
        """
        topics = [self._kafka.topic(FINDINGS)]
        if tenant in self._tenants:
            topics.append(self._kafka.topic(f"{FINDINGS}.{tenant}"))
        async with _taken(topics[0]):
            sent = [await self._start(topic, each) for each in events for topic in topics]
            await asyncio.gather(*sent)

    async def _start(self, topic: str, event: FindingEvent) -> "asyncio.Future[Any]":
        at = milliseconds(event.telling.at)
        headers = _attributes(event)
        sending: asyncio.Future[Any] = await self._producer.send(
            topic, event.record, key=event.telling.finding.encode(), headers=headers, timestamp_ms=at
        )
        return sending

    async def refuse(self, event: FindingEvent, wrong: list[str]) -> None:
        """Bring an event that breaks the contract to the dead letters. Raises SilentBrokerError as `send` does."""
        topic = self._kafka.topic(dead_letter_name(FINDINGS))
        said = ("plumbline_message", "; ".join(wrong)[:2000].encode())
        headers = [*_attributes(event), said]
        key = event.telling.finding.encode()
        async with _taken(topic):
            await self._producer.send_and_wait(topic, event.record, key=key, headers=headers)


def _attributes(event: FindingEvent) -> envelope.Headers:
    attributes = {
        "ce_specversion": "1.0",
        "ce_id": event.telling.event_uid,
        "ce_source": f"/tenants/{event.tenant}/instances/{event.instance}",
        "ce_type": FINDING_EVENT,
        "ce_subject": event.control_id,
        "ce_time": rfc3339(event.telling.at),
        "content-type": "application/json",
    }
    if (trace := tracing.traceparent()) is not None:
        attributes["traceparent"] = trace
    return [(name, value.encode()) for name, value in attributes.items()]


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
