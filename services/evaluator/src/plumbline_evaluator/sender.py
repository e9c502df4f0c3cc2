"""Sends records with a deadline."""

import asyncio

from aiokafka import AIOKafkaProducer
from plumbline_contracts import envelope
from plumbline_contracts.kafka import KafkaSettings

SEND_SECONDS = 60.0


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
